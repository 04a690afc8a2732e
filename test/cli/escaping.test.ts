// What is generated for shells, URLs and environments holds whatever a database user or name may contain (Teleport CVE-2022-36633).
import { execFileSync } from "node:child_process";
import {
  connectionUrl,
  connectionVariables,
  otherUrls,
  programEnvironment,
  type Target,
} from "@sallyport/cli/connection";
import { commandLine, exportLines, quote } from "@sallyport/cli/shell";
import { formatTable } from "@sallyport/cli/table";
import { secret } from "@sallyport/core/secret";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const target = (over: Partial<Target> = {}): Target => ({
  protocol: "postgres",
  host: "127.0.0.1",
  port: 5432,
  user: "reader",
  name: "orders",
  ...over,
});
/** What a wire protocol can carry: no NUL, at least one character. */
const wireName = fc.string({ minLength: 1, maxLength: 60, unit: "binary" }).filter((text) => !text.includes("\0"));
const nasty = [
  "$(id)",
  "`id`",
  "%0a",
  "'; id; '",
  '"; id; "',
  "a\nb",
  "a b",
  "\\",
  "!!",
  "~",
  "*",
  "-x",
  "a&sslmode=disable",
  "a?sslmode=disable",
  "a#b",
  "a/b",
  "u:p@evil.example.com",
  "@evil.example.com",
  "[::1]",
  "%",
  "é",
  "\u202e",
];
const shell = (script: string): string => execFileSync("/bin/sh", ["-c", script], { encoding: "utf8", env: {} });

describe("S-47 text for a shell", () => {
  it.each(nasty)("S-47 keeps %j one word", (text) => {
    expect(shell(`printf %s ${quote(text)}`)).toBe(text);
    expect(shell(`${commandLine(["printf", "%s|", "a", text, "b"])}`)).toBe(`a|${text}|b|`);
  });
  it("S-47 keeps any export what it was", () => {
    const names = fc.array(wireName, { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(names, (values) => {
        const script = values.flatMap((value) => [...exportLines({ X: value }), 'printf "%s|" "$X"']).join("\n");
        const wellFormed = values.map((value) => Buffer.from(value).toString());
        expect(shell(script)).toBe(wellFormed.map((value) => `${value}|`).join(""));
      }),
      { numRuns: 30 },
    );
  });
  it("leaves a plain word plain", () => {
    expect(commandLine(["psql", "--host=x.example.com", "a b"])).toBe("psql --host=x.example.com 'a b'");
    expect(quote("")).toBe("''");
  });
});

describe("S-47 a connection URL", () => {
  const file = "/tmp/it's a 100% & more?/ca.pem";
  it("S-47 means what it was made of, whatever that is", () => {
    fc.assert(
      fc.property(fc.oneof(wireName, fc.constantFrom(...nasty)), wireName, wireName, (user, name, password) => {
        const url = new URL(connectionUrl(target({ user, name, password: secret(password), tls: { caFile: file } })));
        expect(url.host).toBe("127.0.0.1:5432");
        expect(decodeURIComponent(url.username)).toBe(user.toWellFormed());
        expect(decodeURIComponent(url.password)).toBe(password.toWellFormed());
        // a URL parser takes . and .. for steps in a path; nothing else may change
        if (!/^\.{1,2}$/.test(name)) expect(decodeURIComponent(url.pathname.slice(1))).toBe(name.toWellFormed());
        expect([...url.searchParams]).toEqual([
          ["sslmode", "verify-full"],
          ["sslrootcert", file],
        ]);
        expect(url.hash).toBe("");
      }),
    );
  });
  it.each(nasty)("S-47 carries %j as user, name and in JDBC", (text) => {
    const made = target({ user: text, name: text });
    const url = new URL(connectionUrl(made));
    expect([decodeURIComponent(url.username), decodeURIComponent(url.pathname.slice(1))]).toEqual([text, text]);
    expect(connectionUrl(made)).toMatch(/^[\x21-\x7e]+$/);
    const jdbc = new URL((otherUrls(made)["jdbc"] ?? "").replace(/^jdbc:/, ""));
    expect([jdbc.host, jdbc.searchParams.get("user"), jdbc.searchParams.getAll("sslmode")]).toEqual([
      "127.0.0.1:5432",
      text,
      ["disable"],
    ]);
  });
  it("says verify-full to whatever is not on this machine, and brackets IPv6", () => {
    expect(connectionUrl(target({ host: "::1", tls: { caFile: "/ca.pem" } }))).toBe(
      "postgresql://reader@[::1]:5432/orders?sslmode=verify-full&sslrootcert=%2Fca.pem",
    );
    expect(connectionUrl(target())).toBe("postgresql://reader@127.0.0.1:5432/orders?sslmode=disable");
    expect(connectionUrl(target({ name: undefined }))).toBe("postgresql://reader@127.0.0.1:5432/?sslmode=disable");
  });
});

describe("a program's environment", () => {
  it("is the connection's, not what the user had set for another", () => {
    const env = { PATH: "/bin", PGHOSTADDR: "10.0.0.1", PGSERVICE: "x", PGPASSWORD: "real", PGSSLMODE: "require" };
    expect(programEnvironment(env, target())).toEqual({
      PATH: "/bin",
      PGHOST: "127.0.0.1",
      PGPORT: "5432",
      PGUSER: "reader",
      PGDATABASE: "orders",
      PGPASSWORD: "sallyport",
      PGSSLMODE: "disable",
      PGGSSENCMODE: "disable",
      DATABASE_URL: "postgresql://reader@127.0.0.1:5432/orders?sslmode=disable",
    });
  });
  it("verifies in full outside a tunnel", () => {
    const variables = connectionVariables(target({ password: secret("sly_c_x"), tls: { caFile: "/ca.pem" } }));
    expect(variables).toMatchObject({ PGPASSWORD: "sly_c_x", PGSSLMODE: "verify-full", PGSSLROOTCERT: "/ca.pem" });
  });
});

it("a table keeps its columns straight and its rows on one line", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 8 }),
      fc.integer({ min: 20, max: 120 }),
      (rows, width) => {
        const lines = formatTable(["One", "Two"], rows, width);
        expect(lines).toHaveLength(rows.length + 1);
        for (const line of lines) {
          expect([...line].length).toBeLessThanOrEqual(width);
          expect(line).not.toMatch(/[\n\r]/);
        }
      },
    ),
  );
});
