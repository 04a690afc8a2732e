// What is generated for MySQL's and MariaDB's clients holds whatever a database user or name may contain, as PostgreSQL's does.
import { execFileSync } from "node:child_process";
import { connectionUrl, connectionVariables, otherUrls, programWords, type Target } from "@sallyport/cli/connection";
import { commandLine, exportLines } from "@sallyport/cli/shell";
import { secret } from "@sallyport/core/secret";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const nasty = [
  "$(id)",
  "`id`",
  "%0a",
  "'; id; '",
  '"; id; "',
  "a\nb",
  "a b",
  "\\",
  "-x",
  "--host=evil",
  "a&ssl-mode=DISABLED",
];
nasty.push("a?b", "a#b", "a/b", "u:p@evil.example.com", "[::1]", "%", "é", "\u202e");
const target = (over: Partial<Target> = {}): Target => ({
  ...{ protocol: "mysql", host: "db.example.com", port: 3306, user: "reader", name: "orders" },
  ...over,
});
const tls = { caFile: "/tmp/it's a 100% & more?/ca.pem" };
const shell = (script: string): string => execFileSync("/bin/sh", ["-c", script], { encoding: "utf8", env: {} });
const wireName = fc.string({ minLength: 1, maxLength: 60, unit: "binary" }).filter((text) => !text.includes("\0"));

describe("S-47 for MySQL's clients", () => {
  it.each(nasty)("S-47 %j is one word of a command, and no option of its own", (text) => {
    for (const program of ["mariadb", "mysql"]) {
      const words = programWords(target({ user: text, name: text, password: secret(text), tls }), program);
      const read = shell(`${program}() { printf '%s\\0' ${program} "$@"; }\n${commandLine(words)}`)
        .split("\0")
        .slice(0, -1);
      expect(read).toEqual([...words]);
      expect(read).toContain(`--user=${text}`);
      expect(read).toContain(`--database=${text}`);
      // the host is said once, and everything begins as an option of ours
      expect(read.filter((word) => word.startsWith("--host="))).toEqual(["--host=db.example.com"]);
      expect(read.slice(1).every((word) => word.startsWith("--"))).toBe(true);
    }
  });

  it("S-47 a URL means what it was made of, whatever that is, and verifies in full", () => {
    fc.assert(
      fc.property(fc.oneof(wireName, fc.constantFrom(...nasty)), wireName, wireName, (user, name, password) => {
        const url = new URL(connectionUrl(target({ user, name, password: secret(password), tls })));
        expect(url.host).toBe("db.example.com:3306");
        expect(decodeURIComponent(url.username)).toBe(user.toWellFormed());
        expect(decodeURIComponent(url.password)).toBe(password.toWellFormed());
        if (!/^\.{1,2}$/.test(name)) expect(decodeURIComponent(url.pathname.slice(1))).toBe(name.toWellFormed());
        expect([...url.searchParams.keys()]).toEqual(["ssl-mode", "ssl-ca", "ssl"]);
        expect([url.searchParams.get("ssl-mode"), url.searchParams.get("ssl-ca")]).toEqual([
          "VERIFY_IDENTITY",
          tls.caFile,
        ]);
        expect(url.hash).toBe("");
      }),
    );
  });

  it.each(nasty)("S-47 carries %j in JDBC", (text) => {
    const jdbc = new URL((otherUrls(target({ user: text, name: text, tls }))["jdbc"] ?? "").replace(/^jdbc:/, ""));
    expect([jdbc.host, jdbc.searchParams.getAll("user"), jdbc.searchParams.getAll("sslMode")]).toEqual([
      "db.example.com:3306",
      [text],
      ["verify-full"],
    ]);
    expect(decodeURIComponent(jdbc.pathname.slice(1))).toBe(text);
  });

  it.each(nasty)("S-47 exports %j as it is", (text) => {
    const made = connectionVariables(target({ user: text, name: text, password: secret(text), host: "127.0.0.1" }));
    const printed = Object.keys(made).map((name) => `printf '%s\\0' "$${name}"`);
    expect(
      shell([...exportLines(made), ...printed].join("\n"))
        .split("\0")
        .slice(0, -1),
    ).toEqual(Object.values(made));
  });
});
