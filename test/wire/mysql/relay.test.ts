import { partSize } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { describe, expect, test } from "vitest";
import { session } from "../door.ts";
import {
  bits,
  column,
  counted,
  eof,
  err,
  errorOf,
  lenenc,
  ok,
  packet,
  packets,
  query,
  result,
  u16,
  u32,
  usual,
} from "./bytes.ts";
import { stand, turn, turns } from "./stand.ts";

const quit = packet(0, 1);

describe("relay", () => {
  test("passes the original bytes both ways and tells what was said", async () => {
    const { client, server, seen, done } = stand();
    client.theirs.write(query("select 'a'"));
    await server.until((bytes) => bytes.length >= query("select 'a'").length);
    const answer = result(["one", "two"]);
    server.theirs.write(answer);
    expect(await client.until((bytes) => bytes.length >= answer.length)).toEqual(answer);
    client.theirs.write(query("delete from t"));
    server.theirs.write(ok(1, { affected: 300 }));
    await client.until((bytes) => bytes.length > answer.length);
    client.theirs.end(quit);
    await server.ended();
    server.theirs.end();
    expect(await done).toEqual({ by: "client" });
    expect(server.received()).toEqual(Buffer.concat([query("select 'a'"), query("delete from t"), quit]));
    expect(seen.lines()).toEqual([
      { type: "query", database: "orders", text: "select 'a'" },
      { type: "complete", rows: 2 },
      { type: "query", database: "orders", text: "delete from t" },
      { type: "complete", affected: 300 },
    ]);
    expect([client.ours.destroyed, server.ours.destroyed]).toEqual([true, true]);
  });

  test("knows an answer's end with and without EOF, in several results and in an error", async () => {
    for (const flags of [usual, usual | bits.noEof]) {
      const { client, server, seen } = stand({ agreed: { flags } });
      const terminator = (sequence: number, status: number): Buffer =>
        flags & bits.noEof ? packet(sequence, 0xfe, 0, 0, u16(status), u16(3)) : eof(sequence, status);
      const head =
        flags & bits.noEof
          ? [packet(1, 2), column(2, "a"), column(3, "b")]
          : [packet(1, 2), column(2, "a"), column(3, "b"), eof(4)];
      client.theirs.write(Buffer.concat([query("select 1; select 2"), query("select 3")]));
      server.theirs.write(
        Buffer.concat([
          ...head,
          packet(5, counted("x"), 0xfb),
          terminator(6, 2 | 8),
          ok(7, { affected: 4 }),
          err(1, 1064, "42000", "no"),
        ]),
      );
      await client.until((bytes) => errorOf(bytes)?.errno === 1064);
      expect(seen.lines().slice(2)).toEqual([
        { type: "complete", rows: 1, ...(flags & bits.noEof ? { warnings: 3 } : {}) },
        { type: "complete", affected: 4 },
        { type: "error", errno: 1064, sqlState: "42000", message: "no" },
      ]);
      client.ours.destroy();
    }
  });

  test("follows cursors: an EXECUTE that opens one has no rows, its FETCHes do", async () => {
    const { client, server, seen } = stand();
    client.theirs.write(packet(0, 0x16, "select ?"));
    server.theirs.write(
      Buffer.concat([packet(1, 0, u32(5), u16(1), u16(1), 0, u16(0)), column(2, "?"), eof(3), column(4, "a"), eof(5)]),
    );
    await turns();
    client.theirs.write(packet(0, 0x17, u32(5), 1, u32(1), 0, 1, u16(3), u32(7)));
    server.theirs.write(Buffer.concat([packet(1, 1), column(2, "a"), eof(3, 2 | 0x40)]));
    await turns();
    client.theirs.write(packet(0, 0x1c, u32(5), u32(10)));
    server.theirs.write(Buffer.concat([packet(1, 0, 0, u32(1)), packet(2, 0, 0, u32(2)), eof(3, 2 | 0x80)]));
    await turns();
    client.theirs.write(Buffer.concat([packet(0, 0x1a, u32(5)), packet(0, 0x19, u32(5)), query("do 1")]));
    server.theirs.write(Buffer.concat([ok(1), ok(1)]));
    await turns();
    expect(seen.lines()).toEqual([
      { type: "prepare", database: "orders", text: "select ?" },
      { type: "prepared", statement: 5, parameters: 1 },
      { type: "execute", statement: 5, values: [7] },
      { type: "complete", rows: 0 },
      { type: "fetch", statement: 5, rows: 10 },
      { type: "complete", rows: 2 },
      { type: "query", database: "orders", text: "do 1" },
      { type: "complete", affected: 0 },
      { type: "complete", affected: 0 },
    ]);
    client.ours.destroy();
  });

  test("a statement sent ahead of its prepare's answer is executed, and its types are remembered", async () => {
    const { client, server, seen } = stand();
    const executed = packet(0, 0x17, u32(0xffff_ffff), 0, u32(1), 0, 1, u16(3), u32(7));
    client.theirs.write(Buffer.concat([packet(0, 0x16, "select ?"), executed]));
    await turns();
    server.theirs.write(
      Buffer.concat([packet(1, 0, u32(5), u16(0), u16(1), 0, u16(0)), column(2, "?"), eof(3), ok(1)]),
    );
    await turns();
    client.theirs.write(packet(0, 0x17, u32(5), 0, u32(1), 0, 0, u32(8)));
    await turns();
    const told = seen.lines().filter(({ type }) => type === "execute");
    expect(told).toEqual([
      { type: "execute", statement: 0xffff_ffff, base64: executed.subarray(5).toString("base64") },
      { type: "execute", statement: 5, values: [8] },
    ]);
    client.ours.destroy();
    expect(server.received().length).toBeGreaterThan(0);
  });

  test("the database that an answer names is the one that the next line shows", async () => {
    const { client, server, seen } = stand({ agreed: { flags: usual | bits.track } });
    client.theirs.write(query("/* hidden */ use stock"));
    server.theirs.write(ok(1, { status: 0x4002, state: Buffer.concat([Buffer.of(1), counted(counted("stock"))]) }));
    await turns();
    client.theirs.write(packet(0, 2, "other"));
    server.theirs.write(err(1, 1049, "42000", "unknown database"));
    await turns();
    client.theirs.write(query("select 1"));
    await turns();
    expect(seen.lines().map(({ database }) => database)).toEqual(["orders", undefined, undefined, undefined, "stock"]);
    client.ours.destroy();
  });

  test.each([" use stock", "/* a */ USE `stock`;", "-- a\nuse stock", "use`stock`"])(
    "the database of %j is the one that the next line shows",
    async (text) => {
      const { client, server, seen } = stand();
      client.theirs.write(query(text));
      server.theirs.write(ok(1));
      await turns();
      client.theirs.write(query("select 1"));
      await turns();
      expect(seen.lines().at(-1)).toMatchObject({ database: "stock" });
      client.ours.destroy();
    },
  );

  test("MariaDB's progress reports end nothing, and its cached metadata leaves columns out", async () => {
    const { client, server, seen } = stand({ agreed: { flags: usual & ~1, extended: 0x1 | 0x10 } });
    client.theirs.write(query("alter table t"));
    server.theirs.write(Buffer.concat([packet(1, 0xff, u16(0xffff), 1, 1, 1, "abc"), ok(2)]));
    await turns();
    client.theirs.write(query("select"));
    server.theirs.write(Buffer.concat([packet(1, lenenc(9), 0), eof(2), packet(3, "row"), eof(4)]));
    await turns();
    expect(seen.lines().filter(({ type }) => type !== "query")).toEqual([
      { type: "complete", affected: 0 },
      { type: "complete", rows: 1 },
    ]);
    client.ours.destroy();
  });

  test("says so when the server is gone without a word, whatever it was doing", async () => {
    for (const [sent, whole] of [
      [Buffer.alloc(0), true],
      [ok(1).subarray(0, 3), true],
      [result(["a"]).subarray(0, 12), false],
    ] as const) {
      const { client, server, done } = stand();
      client.theirs.write(query("select 1"));
      await server.until((bytes) => bytes.length > 0);
      server.theirs.end(sent);
      const heard = await client.ended();
      if (whole) expect(errorOf(heard)).toMatchObject({ errno: 2013 });
      else expect(heard).toEqual(sent);
      expect(await done).toMatchObject({ by: "server", failure: { code: "upstream_unreachable" } });
    }
  });

  test("passes the server's last words, though nobody asked", async () => {
    const { client, server, done } = stand();
    const words = err(0, 1927, "70100", "Connection was killed");
    server.theirs.end(words);
    expect(await client.ended()).toEqual(words);
    expect(await done).toEqual({ by: "server" });
  });
});

test.each([
  ["a number that jumps", packet(1, 3, "select 1")],
  ["an empty command", packet(0)],
  ["a continuation that jumps", Buffer.concat([packet(0, Buffer.alloc(0xff_ffff, 3)), packet(7, "x")])],
  ["a PING with a body of many packets", packets(0, Buffer.concat([Buffer.of(0x0e), Buffer.alloc(0xff_ffff)]))],
  ["a FETCH that is too short", packet(0, 0x1c, u32(1))],
  ["an EXECUTE that is too short", packet(0, 0x17, "ab")],
  ["long data without a place", packet(0, 0x18, u32(1))],
  ["a CLOSE that is too short, which a server answers", packet(0, 0x19, 1)],
])("S-26 S-30 %s ends the session with an error", async (_name, bytes) => {
  const { client, server, done } = stand();
  client.theirs.write(bytes);
  expect(errorOf(await client.ended())).toMatchObject({ errno: 1043, state: "08S01" });
  expect(await done).toMatchObject({ by: "cut", failure: { code: "protocol" } });
  expect(server.ours.destroyed).toBe(true);
});

test("S-26 a stray packet behind a command is found when that is answered, as by a server", async () => {
  for (const stray of [packet(1), packet(0), packet(5, 3, "drop table t")]) {
    const { client, server, done } = stand();
    client.theirs.write(Buffer.concat([query("select 1"), stray, query("drop table t")]));
    await server.until((bytes) => bytes.length >= query("select 1").length);
    await turns();
    const answer = result(["a"]);
    server.theirs.write(answer);
    const heard = await client.ended();
    expect(heard.subarray(0, answer.length)).toEqual(answer);
    expect(errorOf(heard)).toMatchObject({ errno: 1043 });
    expect(server.received()).toEqual(query("select 1"));
    expect(await done).toMatchObject({ by: "cut", failure: { code: "protocol" } });
  }
});

test("S-30 an EXECUTE whose parameters can't be read ends the session, and does not reach the server", async () => {
  const { client, server, done } = stand();
  client.theirs.write(packet(0, 0x16, "select ?"));
  server.theirs.write(Buffer.concat([packet(1, 0, u32(5), u16(0), u16(1), 0, u16(0)), column(2, "?"), eof(3)]));
  await turns();
  const before = server.received().length;
  client.theirs.write(packet(0, 0x17, u32(5), 0, u32(1), 0, 1, u16(0xfd), 200, "short"));
  expect(errorOf(await client.ended())?.errno).toBe(1043);
  expect(server.received().length).toBe(before);
  await done;
});

test.each([
  ["an answer that nobody asked for", undefined, ok(0)],
  ["rows to a PING", packet(0, 0x0e), result(["a"])],
  ["a result to a PREPARE", packet(0, 0x16, "x"), result(["a"])],
  ["too many columns", query("x"), packet(1, lenenc(70_000))],
  ["a count with bytes behind it", query("x"), packet(1, 1, 2, 3)],
  ["columns without an end", query("x"), Buffer.concat([packet(1, 1), column(2, "a"), packet(3, counted("row"))])],
  ["an OK cut off", query("x"), packet(1, 0, 0)],
  ["an empty packet", query("x"), packet(1, Buffer.alloc(0), "")],
  ["a PREPARE cut off", packet(0, 0x16, "x"), packet(1, 0, u32(1))],
])("S-33 a server that sends %s ends the session", async (_name, command, bytes) => {
  const { client, server, done } = stand();
  if (command) {
    client.theirs.write(command);
    await server.until((heard) => heard.length > 0);
  }
  // an empty packet is told from the next one's first byte
  server.theirs.write(Buffer.concat([bytes, bytes]));
  expect(errorOf(await client.ended())).toMatchObject({ errno: 1043 });
  expect(await done).toMatchObject({ failure: { code: "protocol" } });
});

describe("an end from outside", () => {
  const locked = new Failure("ended", "locked: incident 7", { hint: "ask the administrator" });

  test.each([
    ["while nothing is asked", Buffer.alloc(0), Buffer.alloc(0), 1],
    ["while an answer is awaited", query("select 1"), Buffer.alloc(0), 1],
    ["among rows", query("select 1"), result(["a"]).subarray(0, -9), 5],
  ])("is said %s, with the number that the client waits for", async (_name, asks, answers, sequence) => {
    const { client, server, seen, done } = stand();
    if (asks.length > 0) client.theirs.write(asks);
    await turns();
    if (answers.length > 0) server.theirs.write(answers);
    await turns();
    seen.end(locked);
    const said = errorOf(await client.ended());
    expect(said).toEqual({
      sequence,
      errno: 1927,
      state: "70100",
      text: "locked: incident 7; hint: ask the administrator",
    });
    expect(await done).toEqual({ by: "cut", failure: locked });
    expect(server.ours.destroyed).toBe(true);
  });

  test("waits for the packet under way and passes nothing behind it", async () => {
    const { client, server, seen, done } = stand();
    client.theirs.write(query("select 1"));
    await server.until((bytes) => bytes.length > 0);
    const answer = result(["abcdefgh", "second"]);
    server.theirs.write(answer.subarray(0, 40));
    await turns();
    seen.end(locked);
    server.theirs.write(answer.subarray(40));
    const said = await client.ended();
    expect(errorOf(said)?.errno).toBe(1927);
    expect(said.includes("second")).toBe(false);
    await done;
  });

  test("passes nothing of the client's any more", async () => {
    const { client, server, seen, done } = stand();
    seen.end(locked);
    client.theirs.write(query("drop table t"));
    await done;
    expect([server.received().length, seen.statements.length]).toEqual([0, 0]);
  });
});

describe("records", () => {
  test("a statement waits until its record is durable, and keeps its place", async () => {
    const gates: (() => void)[] = [];
    const seen = session(() => new Promise((resolve) => void gates.push(resolve)));
    const { client, server, done } = stand({ seen });
    client.theirs.write(query("select 1"));
    await turns();
    client.theirs.write(query("select 2"));
    client.theirs.end(quit);
    await turns();
    expect([seen.statements.length, server.received().length]).toEqual([1, 0]);
    gates.shift()?.();
    await server.until((bytes) => bytes.length > 0);
    await turns();
    expect(server.received()).toEqual(query("select 1"));
    gates.shift()?.();
    expect(await server.ended()).toEqual(Buffer.concat([query("select 1"), query("select 2"), quit]));
    await done;
  });

  test("nothing passes that can't be recorded", async () => {
    const full = (): never => {
      throw new Failure("audit_full", "the audit is full");
    };
    const { client, server, done } = stand({ seen: session(full) });
    client.theirs.write(query("drop table t"));
    expect(errorOf(await client.ended())).toMatchObject({ errno: 1041, text: "the audit is full" });
    expect(await done).toMatchObject({ by: "cut", failure: { code: "audit_full" } });
    expect(server.received().length).toBe(0);
  });

  test("each part of a long statement is recorded before its bytes go on", async () => {
    const passed: number[] = [];
    const box: { received?: () => Buffer } = {};
    const seen = session(() => {
      passed.push(box.received?.().length ?? 0);
      return undefined;
    });
    const { client, server, done } = stand({ seen });
    box.received = server.received;
    const long = query("x".repeat(3 * partSize));
    for (let at = 0; at < long.length; at += 10_000) {
      client.theirs.write(long.subarray(at, at + 10_000));
      await turn();
    }
    expect(await server.until((bytes) => bytes.length >= long.length)).toEqual(long);
    expect(passed.map((count, part) => count <= 4 + part * partSize)).toEqual([true, true, true, true]);
    expect(seen.statements.map(({ part, last }) => [part, last])).toEqual([
      [0, false],
      [1, false],
      [2, false],
      [3, true],
    ]);
    expect(
      seen
        .lines()
        .map(({ text }) => text)
        .join(""),
    ).toBe("x".repeat(3 * partSize));
    client.theirs.end();
    await done;
  });
});

test("S-23 a payload of many packets is not held in memory", async () => {
  const { client, server, done } = stand({ gather: false, live: { record: () => undefined } });
  let passed = 0;
  server.theirs.on("data", (bytes: Buffer) => {
    passed += bytes.length;
  });
  const whole = packet(0, Buffer.alloc(0xff_ffff, 3));
  const before = process.memoryUsage().rss;
  for (let round = 0; round < 12; round++) {
    whole[3] = round;
    if (!client.theirs.write(Buffer.from(whole))) await new Promise((resolve) => client.theirs.once("drain", resolve));
  }
  await turns(200);
  expect(passed).toBeGreaterThan(11 * 0xff_ffff);
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1_048_576);
  client.ours.destroy();
  await done;
});
