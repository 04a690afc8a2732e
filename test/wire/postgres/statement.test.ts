import { partSize } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { frames } from "@sallyport/wire/postgres/frame";
import { fromClient } from "@sallyport/wire/postgres/message";
import { redactor } from "@sallyport/wire/postgres/redaction";
import { observeClient } from "@sallyport/wire/postgres/statement";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { int32, message } from "../door.ts";
import { bind, int16, told } from "./told.ts";

describe("an audit line", () => {
  test.each([
    ["a Query", message("Q", "select 'é'\0"), { type: "query", text: "select 'é'" }],
    ["an empty Query", message("Q", "\0"), { type: "query", text: "" }],
    [
      "a Query that is not UTF-8, byte by byte",
      message("Q", Buffer.from("73656c65637420ff00", "hex")),
      { type: "query", text: "select \u00ff", encoding: "latin1" },
    ],
    ["a Parse", message("P", "s1\0select $1\0", int16(1), int32(23)), { type: "parse", name: "s1", text: "select $1" }],
    ["an Execute", message("E", "p1\0", int32(10)), { type: "execute", portal: "p1", rows: 10 }],
    ["an Execute of everything", message("E", "\0", int32(0)), { type: "execute", portal: "" }],
    ["a FunctionCall", message("F", int32(955), int16(0), int16(0), int16(0)), { type: "function", oid: 955 }],
    [
      "a Bind in text",
      bind("p1", "s1", [], ["a", null, "", Buffer.from("ff", "hex")], [1]),
      { type: "bind", portal: "p1", statement: "s1", values: ["a", null, "", { base64: "/w==" }] },
    ],
    [
      "a Bind, all binary",
      bind("", "", [1], ["ab", ""]),
      { type: "bind", portal: "", statement: "", values: [{ base64: "YWI=" }, { base64: "" }] },
    ],
    [
      "a Bind, each as it says",
      bind("", "", [0, 1], ["ab", "ab"]),
      { type: "bind", portal: "", statement: "", values: ["ab", { base64: "YWI=" }] },
    ],
  ])("tells %s", (_name, bytes, line) => {
    expect(told(bytes)).toEqual([line]);
  });

  test.each([
    ["a tag and its rows", message("C", "INSERT 0 5\0"), { type: "complete", tag: "INSERT 0 5", rows: 5 }],
    ["a tag without rows", message("C", "CREATE TABLE\0"), { type: "complete", tag: "CREATE TABLE" }],
    ["an error", message("E", "SERROR\0C42601\0Mno\0\0"), { type: "error", sqlState: "42601", message: "no" }],
    ["S-33 an error without an SQLSTATE", message("E", "Mno\0\0"), { type: "error", sqlState: "", message: "no" }],
    ["S-33 an error without an end", message("E", "SERROR\0Mno"), { type: "error", sqlState: "", message: "no" }],
  ])("tells %s", (_name, bytes, line) => {
    expect(told(bytes, "server")).toEqual([line]);
  });
});

describe("a statement over 64 KiB", () => {
  test("is told in parts that add up to it", () => {
    const text = `select '${"é".repeat(100_000)}'`;
    const lines = told(message("Q", `${text}\0`));
    expect(lines.map(({ text: part }) => part).join("")).toBe(text);
    expect(lines.map(({ part, last }) => [part, last])).toEqual([
      [0, false],
      [1, false],
      [2, false],
      [3, true],
    ]);
  });

  test("is told in parts of at most 64 KiB, whole bytes and no more", () => {
    const sizes: number[] = [];
    const followed = frames(
      fromClient,
      observeClient(({ size }) => void sizes.push(size)),
    );
    const bytes = message("Q", `${"x".repeat(3 * partSize)}\0`);
    for (let at = 0; at < bytes.length; ) at += followed.scan(bytes.subarray(at));
    expect(sizes.map((size) => size <= partSize + 128)).toEqual([true, true, true, true]);
  });

  test("is told by its name, and the types behind a Parse are not", () => {
    const text = `select '${"x".repeat(partSize)}'`;
    const types = Array.from({ length: 30_000 }, () => int32(23));
    const lines = told(message("P", `s1\0${text}\0`, int16(types.length), ...types));
    expect(lines.map(({ text: part }) => part).join("")).toBe(text);
    expect(lines.every(({ name }) => name === undefined || name === "s1")).toBe(true);
    expect(lines.at(-1)).toMatchObject({ last: true });
  });

  test("tells the values of a Bind, each going on where the part before stopped", () => {
    const long = "é".repeat(60_000);
    const lines = told(bind("p", "s", [], ["first", long, null, "last"]));
    expect(lines.map(({ from, continues }) => [from, continues])).toEqual([
      [undefined, undefined],
      [1, true],
    ]);
    const [before, after] = lines.map(({ values }) => values as string[]);
    expect([before?.[0], `${before?.[1]}${after?.[0]}`, ...(after ?? []).slice(1)]).toEqual([
      "first",
      long,
      null,
      "last",
    ]);
  });

  test("S-42 a Bind of any values and any size is told whole", () => {
    const value = fc.option(
      fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(80_000).map((size) => new Uint8Array(size).fill(0xe9)),
      ),
      { nil: null },
    );
    fc.assert(
      fc.property(fc.array(value, { maxLength: 6 }), (values) => {
        const lines = told(
          bind(
            "",
            "",
            [1],
            values.map((bytes) => (bytes ? Buffer.from(bytes) : null)),
          ),
        );
        const whole: (Buffer | null)[] = [];
        for (const line of lines)
          (line["values"] as ({ base64: string } | null)[]).forEach((piece, at) => {
            const bytes = piece && Buffer.from(piece.base64, "base64");
            const before = whole.at(-1);
            if (at === 0 && line["continues"] && before && bytes)
              whole[whole.length - 1] = Buffer.concat([before, bytes]);
            else whole.push(bytes);
          });
        expect(whole).toEqual(values.map((bytes) => (bytes ? Buffer.from(bytes) : null)));
      }),
      { numRuns: 60 },
    );
  });
});

test.each([
  ["a Query without an end", message("Q", "select 1")],
  ["a Query with an end inside", message("Q", "select 1\0; drop table t\0")],
  ["a Query of nothing", message("Q")],
  ["a Parse without a text", message("P", "s1\0")],
  ["a Parse with bytes behind it", message("P", "\0select 1\0", int16(0), "x")],
  ["a Parse with fewer types than it says", message("P", "\0select 1\0", int16(2), int32(23))],
  ["a Bind that ends early", bind("", "", [], ["abc"]).fill(9, 4, 5).subarray(0, -3)],
  ["a Bind with a length below -1", message("B", "\0\0", int16(0), int16(1), int32(-2), int16(0))],
  ["a Bind with a length beyond its end", message("B", "\0\0", int16(0), int16(1), int32(0x7fff_ffff), int16(0))],
  ["a Bind with bytes behind it", message("B", "\0\0", int16(0), int16(0), int16(0), "x")],
  ["an Execute without a name's end", message("E", "p1", int32(0))],
  ["an Execute with two ends", message("E", "p\0\0", int32(0))],
  ["a FunctionCall of nothing", message("F", "x")],
])("S-30 %s is undecodable", (_name, bytes) => {
  bytes.writeInt32BE(bytes.length - 1, 1);
  expect(() => told(bytes)).toThrow(Failure);
});

describe("S-40 redaction", () => {
  const canary = "c4n4ry";
  const statements = [
    `ALTER USER bob PASSWORD '${canary}'`,
    `alter role bob with login encrypted password '${canary}' valid until '2030-01-01'`,
    `CREATE ROLE bob LOGIN PASSWORD E'a\\'${canary}'`,
    `CREATE USER bob PASSWORD U&'${canary}'`,
    `CREATE USER bob PASSWORD $$${canary}$$`,
    `CREATE USER bob PASSWORD $q$${canary}$$ ${canary}$q$ LOGIN`,
    `CREATE GROUP bob PASSWORD/* c /* nested */ */ -- and more\n '${canary}'`,
    `ALTER USER bob PASSWORD 'x''${canary}' \n '${canary}'`,
    `ALTER USER "password" PASSWORD '${canary}'`,
    `CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'u', password '${canary}')`,
    `CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'u', "password" '${canary}')`,
    `CREATE SUBSCRIPTION s CONNECTION 'host=h password=${canary} dbname=d' PUBLICATION p`,
    `CREATE SUBSCRIPTION s CONNECTION 'host=h password = ''${canary} x''' PUBLICATION p`,
    `CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:${canary}@h/d' PUBLICATION p`,
    `select dblink_connect('host=h password=${canary}')`,
    `DO $body$ begin ALTER USER bob PASSWORD '${canary}'; end $body$`,
    `DO $body$ begin execute 'ALTER USER bob PASSWORD ''${canary}'''; end $body$`,
    `select 1; ALTER USER bob PASSWORD '${canary}'; select 'kept'`,
  ];

  test.each(statements)("S-40 takes the password out of %s", (text) => {
    const shown = redactor()(text, true);
    expect(shown).not.toContain(canary);
    expect(shown).toContain("[redacted]");
    expect(shown.startsWith(text.slice(0, 9))).toBe(true);
  });

  test.each([
    "select password, 'x' from users where password = 'y'",
    "select 1 -- it's\n; select 'don''t'",
    "select $$it's$$, E'\\'', \"a'b\"",
    "insert into t (password) values ('x')",
    "CREATE TABLE user_password (a text default 'x')",
    "ALTER USER bob PASSWORD NULL; select 'x'",
  ])("leaves %s as it is", (text) => {
    expect(redactor()(text, true)).toBe(text);
    expect(redactor()(`/* password */${text}`, true)).toBe(`/* password */${text}`);
  });

  test("S-40 knows a quoted name wherever a part ends", () => {
    const text = `CREATE USER MAPPING FOR b SERVER s OPTIONS (user 'u', "password" '${canary}')`;
    const whole = `${text};${" ".repeat(2_000)}`;
    const begins = text.indexOf('"');
    for (let at = begins; at < begins + 12; at++) {
      const redact = redactor();
      // a part ends 1,024 characters after what is dealt with
      const shown = redact(whole.slice(0, at + 1_024), false) + redact(whole.slice(at + 1_024), true);
      expect(shown).not.toContain(canary);
    }
  });

  test("S-40 shows the same whatever parts the statement comes in", () => {
    const padding = fc.constantFrom(
      "",
      " ".repeat(900),
      "/* x */ ".repeat(200),
      "-- y\n".repeat(300),
      `select '${"z''".repeat(500)}';`,
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...statements),
        padding,
        padding,
        fc.array(fc.nat(4000), { maxLength: 6 }),
        (text, before, after, cuts) => {
          const whole = `${before}${text};${after}`;
          const at = [...new Set(cuts.filter((cut) => cut < whole.length))].sort((a, b) => a - b);
          const redact = redactor();
          const parts = [0, ...at].map((from, index) => redact(whole.slice(from, at[index]), index === at.length));
          expect(parts.join("")).toBe(redactor()(whole, true));
          expect(parts.join("")).not.toContain(canary);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("S-40 a password in a statement of many parts is not told", () => {
    const text = `${"-- x\n".repeat(13_105)}ALTER USER bob PASSWORD '${canary}'${" ".repeat(70_000)}`;
    const lines = told(message("Q", `${text}\0`));
    expect(lines.length).toBe(3);
    expect(lines.map(({ text: part }) => part).join("")).toBe(text.replace(canary, "[redacted]"));
  });

  test("takes time in proportion to the text", () => {
    const started = performance.now();
    const hostile = [
      "'".repeat(500_000),
      "/*".repeat(250_000),
      "password ".repeat(60_000),
      "$a".repeat(200_000),
      `'${"password=".repeat(60_000)}`,
    ];
    for (const text of hostile) redactor()(`password ${text}`, true);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
