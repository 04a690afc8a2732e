import { Failure } from "@sallyport/core/failure";
import { binding, type Shape } from "@sallyport/wire/mysql/bind";
import { parseKill } from "@sallyport/wire/mysql/kill";
import { errorPayload, errors } from "@sallyport/wire/mysql/message";
import { openTeller } from "@sallyport/wire/mysql/parameters";
import { bytesMayHoldSecret, mayHoldSecret, redactor } from "@sallyport/wire/mysql/redaction";
import { shownValue } from "@sallyport/wire/mysql/value";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bits, counted, errorOf, lenenc, ok, packet, query, u16, u32, usual } from "./bytes.ts";
import { stand, turns } from "./stand.ts";

const secrets: readonly (readonly [string, string])[] = [
  ["create user a identified by 'canary'", "create user a identified by '[redacted]'"],
  [
    "CREATE USER 'a'@'%' IDENTIFIED WITH caching_sha2_password BY 'canary'",
    "CREATE USER 'a'@'%' IDENTIFIED WITH caching_sha2_password BY '[redacted]'",
  ],
  [
    "alter user a identified by 'canary' replace 'canary2'",
    "alter user a identified by '[redacted]' replace '[redacted]'",
  ],
  ["alter user a identified with x as '*canary'", "alter user a identified with x as '[redacted]'"],
  ["create user a identified with x as 0xcanary00", "create user a identified with x as '[redacted]'"],
  [
    "create user a identified via ed25519 using password('canary')",
    "create user a identified via ed25519 using password('[redacted]')",
  ],
  [
    "grant all on *.* to a identified by password '*canary'",
    "grant all on *.* to a identified by password '[redacted]'",
  ],
  ["set password = 'canary'", "set password = '[redacted]'"],
  ["SET PASSWORD FOR 'bob'@'%' = PASSWORD(\"canary\")", "SET PASSWORD FOR 'bob'@'%' = PASSWORD('[redacted]')"],
  [
    "change master to master_user='u', master_password='canary', master_port=1",
    "change master to master_user='u', master_password='[redacted]', master_port=1",
  ],
  [
    "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = /* here */ _utf8mb4 'canary'",
    "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = /* here */ '[redacted]'",
  ],
  ["start replica user='u' password='canary'", "start replica user='u' password='[redacted]'"],
  [
    "create server s foreign data wrapper mysql options (user 'u', password 'canary')",
    "create server s foreign data wrapper mysql options (user 'u', password '[redacted]')",
  ],
  [
    "call mysql.rds_set_external_master('h', 3306, 'u', 'canary', 'f', 1, 0)",
    "call mysql.rds_set_external_master('[redacted]', 3306, '[redacted]', '[redacted]', '[redacted]', 1, 0)",
  ],
  ["prepare s from 'alter user a identified by ''canary'''", "prepare s from 'alter user a [redacted]'"],
  ["create table t (a int) connection='mysql://u:canary@h/d'", "create table t (a int) connection='mysql[redacted]'"],
  ["/*!50000 create user a identified by 'canary' */", "/*!50000 create user a identified by '[redacted]' */"],
  ["create user a identified by 'it\\'s canary''s'", "create user a identified by '[redacted]'"],
  ["create user a identified by 'canary' 'canary'", "create user a identified by '[redacted]' '[redacted]'"],
  [
    "# identified\nselect 'x'; set password='canary' -- 'y'",
    "# identified\nselect 'x'; set password='[redacted]' -- 'y'",
  ],
];

const hidden = [
  ["two dashes and a control character", "select 1 --\u0001 password='\n; drop table t -- '"],
  ["a comment for a newer server", "select 1 /*!99999 password=' */; drop table t -- '"],
  ["a comment for MariaDB", "select 1 /*M! # */ 'x\n', password='; drop table t -- '"],
  ["a name in a comment for a newer server", "select 1 /*!99999 ` */, 'x` password='; drop table t -- '"],
] as const;
test.each(hidden)("S-32 %s takes nothing that runs out of the audit", (_name, text) => {
  expect(redactor()(text, true)).toContain("drop table t");
});

test("S-32 where backslashes are letters they hide nothing, as the server says", async () => {
  const { client, server, seen } = stand();
  const attack = packet(0, 3, "select password='\\'; drop table t; -- '");
  const plain = packet(0, 3, "set password='it\\'s canary'");
  client.theirs.write(packet(0, 3, "set sql_mode = no_backslash_escapes"));
  server.theirs.write(ok(1, { status: 0x202 }));
  await turns();
  client.theirs.write(attack);
  server.theirs.write(ok(1));
  await turns();
  client.theirs.write(plain);
  await turns();
  const texts = seen.lines().flatMap(({ text }) => (text === undefined ? [] : [text]));
  expect(texts[1]).toBe("select password='[redacted]'; drop table t; -- '");
  expect(texts[2]).toBe("set password='[redacted]'");
  client.ours.destroy();
});

describe("S-40 redaction", () => {
  test.each(secrets)("S-40 %s", (text, shown) => {
    expect(redactor()(text, true)).toBe(shown);
    expect([mayHoldSecret(text), bytesMayHoldSecret(Buffer.from(text), 0, Buffer.byteLength(text))]).toEqual([
      true,
      true,
    ]);
  });

  test.each([
    "select 'forgot your password?' from t where name = 'x'",
    "select `password` from t where a = 'b'",
    "insert into t values ('identified', 'by', 'hand')",
    "select 'a' -- password 'b'\n, 'c'",
    "select 1 /* set password = */ , 'x'",
  ])("leaves %s as it is", (text) => expect(redactor()(text, true)).toBe(text));

  test("S-40 a secret in a statement of many parts is taken out, wherever the parts end", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...secrets),
        fc.nat(3_000),
        fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1 }),
        ([text, shown], before, cuts) => {
          const pad = "/*".padEnd(before + 2, "x").concat("*/ ");
          const whole = pad + text + pad;
          const redact = redactor();
          let all = "";
          for (let at = 0, next = 0; at < whole.length; next++) {
            const end = Math.min(whole.length, at + (cuts[next % cuts.length] ?? 1));
            all += redact(whole.slice(at, end), end === whole.length);
            at = end;
          }
          expect(all).toBe(pad + shown + pad);
          expect(all).not.toContain("canary");
        },
      ),
    );
  });

  test("S-40 no secret is in a session's lines", async () => {
    const { client, seen } = stand();
    for (const [text] of secrets) client.theirs.write(query(text));
    await turns();
    expect(seen.lines().length).toBe(secrets.length);
    expect(JSON.stringify(seen.lines())).not.toContain("canary");
    client.ours.destroy();
  });
});

describe("values", () => {
  const bytes = (hex: string): Buffer => Buffer.from(hex, "hex");
  test.each([
    [1, 0, "ff", -1],
    [1, 0x80, "ff", 255],
    [3, 0, "feffffff", -2],
    [8, 0, "ffffffffffffffff", -1],
    [8, 0x80, "ffffffffffffffff", "18446744073709551615"],
    [4, 0, "0000c03f", 1.5],
    [5, 0, "000000000000f07f", "Infinity"],
    [10, 0, "ea070b15", "2026-11-21"],
    [12, 0, "ea070b150d0e0f", "2026-11-21 13:14:15"],
    [7, 0, "ea070b150d0e0f40e20100", "2026-11-21 13:14:15.123456"],
    [12, 0, "", "0000-00-00"],
    [11, 0, "010100000002030405000000", "-26:03:04.000005"],
    [0xfd, 0, "68c3a9", "hé"],
    [0xfc, 0, "ff00", { base64: "/wA=" }],
  ])("type %s with flags %s of %s is shown as it is", (type, flags, hex, shown) => {
    expect(shownValue(type, flags, bytes(hex))).toEqual(shown);
  });
});

describe("parameters", () => {
  const shape = (over: Partial<Shape> = {}): Shape => ({
    parameters: 2,
    types: undefined,
    long: undefined,
    named: false,
    ...over,
  });
  const tell = (body: Buffer, of: Shape, kind: "execute" | "bulk" = "execute") => {
    const teller = openTeller(kind, of, () => {});
    const said = teller.tell(body);
    return [said, teller.done()];
  };
  const head = Buffer.concat([u32(9), Buffer.of(0), u32(1)]);

  test("nulls, remembered types and data sent ahead have their places", () => {
    const types = Buffer.concat([u16(3), u16(0xfd), u16(1)]);
    const body = Buffer.concat([head, Buffer.of(0b001, 0), counted("text")]);
    expect(tell(body, shape({ parameters: 3, types, long: new Set([2]) }))).toEqual([
      { type: "execute", statement: 9, values: [null, "text", { long: true }] },
      true,
    ]);
  });

  test("attributes have names, with a query and with an EXECUTE", async () => {
    const named = Buffer.concat([u32(9), Buffer.of(8), u32(1), Buffer.of(3, 0, 1)]);
    const types = Buffer.concat([u16(3), counted(""), u16(0xfd), counted(""), u16(0xfd), counted("trace")]);
    const body = Buffer.concat([named, types, u32(7), counted("x"), counted("abc")]);
    expect(tell(body, shape({ named: true }))).toEqual([
      { type: "execute", statement: 9, values: [7, "x"], attributes: { trace: "abc" } },
      true,
    ]);
    const { client, seen } = stand({ agreed: { flags: usual | bits.queryAttributes } });
    client.theirs.write(packet(0, 3, 1, 1, 0, 1, u16(0xfd), counted("trace"), counted("abc"), "select 1"));
    client.theirs.write(packet(0, 3, 0, 1, "select 2"));
    await turns();
    expect(seen.lines()).toEqual([
      { type: "query", database: "orders", attributes: { trace: "abc" }, text: "select 1" },
      { type: "query", database: "orders", text: "select 2" },
    ]);
    client.ours.destroy();
  });

  test("a bulk EXECUTE has rows of values behind indicators", () => {
    const body = Buffer.concat([
      u32(9),
      u16(0x80),
      u16(3),
      u16(0xfd),
      Buffer.of(0),
      u32(1),
      Buffer.of(0),
      counted("a"),
      Buffer.of(0),
      u32(2),
      Buffer.of(1),
      Buffer.of(2, 3),
    ]);
    expect(tell(body, shape(), "bulk")).toEqual([
      {
        type: "bulk_execute",
        statement: 9,
        parameters: 2,
        values: [1, "a", 2, null, { default: true }, { ignore: true }],
      },
      true,
    ]);
  });

  test("in pieces, however they are cut, the same values are told", () => {
    const types = Buffer.concat([u16(0xfd), u16(8), u16(0xfd)]);
    const long = "é".repeat(40_000);
    const body = Buffer.concat([head, Buffer.of(0, 1), types, counted(long), u32(5), u32(0), counted("end")]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1 }), (cuts) => {
        const teller = openTeller("execute", shape({ parameters: 3 }), () => {});
        const told: Record<string, unknown>[] = [];
        for (let at = 0, next = 0; at < body.length; next++) {
          const end = Math.min(body.length, at + 20 + (cuts[next % cuts.length] ?? 1));
          told.push({ ...teller.tell(body.subarray(at, end)) });
          at = end;
        }
        expect(teller.done()).toBe(true);
        const whole: unknown[] = [];
        for (const { values, from, continues } of told) {
          const list = values as unknown[];
          if (continues && list.length > 0 && typeof whole[from as number] === "string") {
            whole[from as number] = `${whole[from as number]}${list[0]}`;
            whole.push(...list.slice(1));
          } else whole.push(...list);
        }
        expect(whole).toEqual([long, 5, "end"]);
      }),
      { numRuns: 30 },
    );
  });

  test("whatever an EXECUTE binds, its line has the values", async () => {
    const number = (value: bigint, size: number): Buffer => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt.asIntN(64, value));
      return bytes.subarray(0, size);
    };
    const int = (type: number, size: number, signed: boolean) =>
      fc
        .bigInt({
          min: signed ? -(2n ** BigInt(8 * size - 1)) : 0n,
          max: 2n ** BigInt(signed ? 8 * size - 1 : 8 * size) - 1n,
        })
        .map((value) => ({
          type: type | (signed ? 0 : 0x8000),
          bytes: number(value, size),
          shown: Number.isSafeInteger(Number(value)) ? Number(value) : value.toString(),
        }));
    const text = fc
      .oneof(fc.string({ maxLength: 300 }), fc.string({ unit: "grapheme", maxLength: 20 }))
      .map((value) => ({ type: 0xfd, bytes: counted(value), shown: value }));
    const value = fc.oneof(
      ...[
        int(1, 1, true),
        int(1, 1, false),
        int(2, 2, true),
        int(3, 4, true),
        int(3, 4, false),
        int(8, 8, true),
        int(8, 8, false),
        text,
      ],
      fc.constant({ type: 0xfd, bytes: undefined, shown: null }),
      fc.constant({ type: 5, bytes: Buffer.from("000000000000f83f", "hex"), shown: 1.5 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 70 }), async (all) => {
        const { client, server, seen } = stand();
        client.theirs.write(packet(0, 0x16, "x"));
        server.theirs.write(packet(1, 0, u32(5), u16(0), u16(all.length), 0, u16(0)));
        await turns(5);
        const nulls = Buffer.alloc((all.length + 7) >> 3);
        for (const [at, { bytes }] of all.entries())
          if (!bytes) nulls[at >> 3] = (nulls[at >> 3] ?? 0) | (1 << (at & 7));
        const values = Buffer.concat(all.map(({ bytes }) => bytes ?? Buffer.alloc(0)));
        const types = Buffer.concat(all.map(({ type }) => u16(type)));
        // with its types, and then as they are remembered
        client.theirs.write(packet(0, 0x17, u32(5), 0, u32(1), nulls, 1, types, values));
        client.theirs.write(packet(0, 0x17, u32(5), 0, u32(1), nulls, 0, values));
        await turns(5);
        const told = seen.lines().filter(({ type }) => type === "execute");
        const expected = { type: "execute", statement: 5, values: all.map(({ shown }) => shown) };
        expect(told).toEqual([expected, expected]);
        client.ours.destroy();
        server.ours.destroy();
      }),
      { numRuns: 60 },
    );
  });

  test.each([
    ["an unknown type", Buffer.concat([head, Buffer.of(0, 1), u16(0x60), u16(3)])],
    ["types that were never sent", Buffer.concat([head, Buffer.of(0, 0), u32(1), u32(2)])],
    ["a flag that can't be", Buffer.concat([head, Buffer.of(0, 7)])],
    ["a date of 200 bytes", Buffer.concat([head, Buffer.of(0, 1), u16(10), u16(10), Buffer.of(200)])],
    [
      "a length of 2^64",
      Buffer.concat([head, Buffer.of(0, 1), u16(0xfd), u16(3), Buffer.of(0xfe), Buffer.alloc(8, 0xff)]),
    ],
    ["a length that is none", Buffer.concat([head, Buffer.of(0, 1), u16(0xfd), u16(3), Buffer.of(0xff)])],
    ["bytes behind the last", Buffer.concat([head, Buffer.of(0, 1), u16(3), u16(3), u32(1), u32(2), Buffer.of(0)])],
    ["too few", Buffer.concat([head, Buffer.of(0, 1), u16(3), u16(3), u32(1)])],
  ])("S-23 %s is found out", (_name, body) => {
    const walk = binding("execute", shape());
    const read = (): boolean => {
      walk.step(body, 0, body.length);
      return walk.done();
    };
    try {
      expect(read()).toBe(false);
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: "protocol" });
    }
  });
});

test.each([
  ["KILL QUERY 7", { what: "query", connection: 7 }],
  ["kill connection 7 ; ", { what: "connection", connection: 7 }],
  ["KILL 7", { what: "connection", connection: 7 }],
  ["KILL SOFT QUERY 7", { what: "query", connection: 7 }],
  ["-- why\nkill/**/query/**/7", { what: "query", connection: 7 }],
  ["KILL QUERY ID 7", undefined],
  ["KILL USER a", undefined],
  ["KILL 7; drop table t", undefined],
  ["KILL connection_id()", undefined],
  ["KILLING 7", undefined],
])("%s is read as what it is", (text, kill) => expect(parseKill(text)).toEqual(kill));

test("every failure has a number and a SQLSTATE, and its hint is said; its cause is not", () => {
  for (const [code, [errno, state]] of Object.entries(errors)) {
    const failure = new Failure(code as keyof typeof errors, "it failed", {
      hint: "mend it",
      cause: new Error("canary"),
    });
    const said = errorOf(packet(3, errorPayload(failure)));
    expect(said).toEqual({ sequence: 3, errno, state, text: "it failed; hint: mend it" });
  }
  expect(lenenc(251).length).toBe(3);
});
