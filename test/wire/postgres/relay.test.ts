import { partSize } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { postgres } from "@sallyport/wire/postgres/postgres";
import { describe, expect, test } from "vitest";
import { errorOf, int32, type Link, link, message, session } from "../door.ts";
import { complete, query, ready, serverOn, stand, turn, turns } from "./stand.ts";

describe("relay", () => {
  test("passes the original bytes both ways and tells what was said", async () => {
    const { client, server, seen, done } = stand();
    const asked = Buffer.concat([
      ...[query("select 1"), message("P", "s\0select $1\0\0\0"), message("D", "Ss\0"), message("H")],
      ...[message("B", "\0s\0\0\0\0\x01", int32(1), "7\0\0"), message("E", "\0", int32(0)), message("S")],
    ]);
    const answered = Buffer.concat([
      ...[message("T", "\0\0"), message("D", "\0\0"), complete, ready, message("1"), message("2"), message("n")],
      ...[message("A", int32(1), "chan\0\0"), message("N", "Mhi\0\0"), message("S", "a\0b\0"), complete, ready],
    ]);
    client.theirs.write(asked);
    expect(await server.until((bytes) => bytes.length >= asked.length)).toEqual(asked);
    server.theirs.write(answered);
    expect(await client.until((bytes) => bytes.length >= answered.length)).toEqual(answered);
    client.theirs.end(message("X"));
    expect(await done).toEqual({ by: "client" });
    expect(server.received().subarray(-5)).toEqual(message("X"));
    expect(seen.lines().map(({ type }) => type)).toEqual(["query", "execute", "complete", "complete"]);
    expect(seen.touches()).toBeGreaterThan(2);
    expect([client.ours.destroyed, server.ours.destroyed]).toEqual([true, true]);
  });

  test("passes what was pipelined before it began", async () => {
    const [client, server, seen] = [link(), link(), session()];
    client.theirs.write(query("select 1"));
    server.theirs.write(ready);
    await turn();
    const done = postgres.relay({ socket: client.ours, minor: 0 }, serverOn(server), seen.live);
    expect(await server.until((bytes) => bytes.length > 0)).toEqual(query("select 1"));
    expect(await client.until((bytes) => bytes.length > 0)).toEqual(ready);
    client.theirs.end();
    await done;
  });

  test("passes a half-close and the answers that come after it", async () => {
    const { client, server, done } = stand();
    client.theirs.end(query("select 1"));
    server.theirs.removeAllListeners("end");
    await server.until((bytes) => bytes.length > 0);
    await turns();
    server.theirs.end(Buffer.concat([complete, ready]));
    expect(await client.ended()).toEqual(Buffer.concat([complete, ready]));
    expect(await done).toEqual({ by: "client" });
  });

  test("passes the server's own end", async () => {
    const { client, server, done } = stand();
    const error = message("E", "SFATAL\0C57P01\0Mterminating connection\0\0");
    server.theirs.end(error);
    expect(await client.ended()).toEqual(error);
    expect(await done).toEqual({ by: "server" });
  });

  test("says so when the server is gone without a word", async () => {
    const { client, server, done } = stand();
    server.ours.destroy(new Error("ECONNRESET"));
    expect(errorOf(await client.ended())).toMatchObject({ S: "FATAL", C: "08006" });
    expect(await done).toMatchObject({ by: "server", failure: { code: "upstream_unreachable" } });
  });

  test("says so when the server closes without a word, whatever it was doing", async () => {
    for (const [sent, whole] of [
      [Buffer.alloc(0), true],
      [ready, true],
      [complete.subarray(0, 3), true],
      [Buffer.concat([ready, message("D", "abcdef").subarray(0, 8)]), false],
    ] as const) {
      const { client, server, done } = stand();
      client.theirs.write(query("select pg_sleep(1)"));
      await server.until((bytes) => bytes.length > 0);
      server.theirs.end(sent);
      const heard = await client.ended();
      if (whole) expect(errorOf(heard.subarray(sent === ready ? ready.length : 0))).toMatchObject({ C: "08006" });
      else expect(heard).toEqual(sent);
      expect(await done).toMatchObject({ by: "server", failure: { code: "upstream_unreachable" } });
    }
  });

  test("takes the server's end for an answer to Terminate, though the client has not closed yet", async () => {
    const { client, server, done } = stand();
    client.theirs.write(message("X"));
    await server.until((bytes) => bytes.length > 0);
    server.theirs.end();
    expect(await client.ended()).toEqual(Buffer.alloc(0));
    expect(await done).toEqual({ by: "server" });
  });

  test("S-37 a client that is reset takes its upstream with it", async () => {
    const { client, server, done } = stand();
    client.ours.destroy(new Error("ECONNRESET"));
    expect(await done).toEqual({ by: "client" });
    expect(server.ours.destroyed).toBe(true);
  });

  test("counts what a COPY moves, and tells it with its end", async () => {
    const { client, server, seen, done } = stand();
    client.theirs.write(
      Buffer.concat([query("copy t from stdin"), message("d", "1234"), message("d", "56"), message("c")]),
    );
    await server.until((bytes) => bytes.length > 40);
    server.theirs.write(
      Buffer.concat([
        message("G", "\0\0\0"),
        message("C", "COPY 2\0"),
        ready,
        message("H", "\0\0\0"),
        message("d", "123"),
      ]),
    );
    await client.until((bytes) => bytes.length > 40);
    client.theirs.end();
    await done;
    expect(seen.lines().slice(1)).toEqual([
      { type: "complete", tag: "COPY 2", rows: 2, copied: 6 },
      { type: "copy", copied: 3 },
    ]);
  });
});

describe("S-36 backpressure", () => {
  const flood = async (from: Link, to: Link): Promise<number> => {
    to.theirs.pause();
    let written = 0;
    const chunk = message("d", Buffer.alloc(65_531));
    for (let round = 0; round < 200; round++) {
      if (from.theirs.writableNeedDrain) break;
      from.theirs.write(chunk);
      written += chunk.length;
      await turn();
    }
    return written;
  };

  test("S-36 a client that does not read stops the server, and goes on when it does", async () => {
    const { client, server, done } = stand();
    const written = await flood(server, client);
    expect(written).toBeLessThan(1_048_576);
    client.theirs.resume();
    expect((await client.until((bytes) => bytes.length >= written)).length).toBe(written);
    client.theirs.end();
    await done;
  });

  test("S-36 a server that does not read stops the client, and goes on when it does", async () => {
    const { client, server, done } = stand();
    const written = await flood(client, server);
    expect(written).toBeLessThan(1_048_576);
    server.theirs.resume();
    expect((await server.until((bytes) => bytes.length >= written)).length).toBe(written);
    client.theirs.end();
    await done;
  });
});

describe("records", () => {
  test("a statement waits until its record is durable, and keeps its place", async () => {
    const gates: (() => void)[] = [];
    const seen = session(() => new Promise((resolve) => void gates.push(resolve)));
    const { client, server, done } = stand(seen);
    client.theirs.write(query("select 1"));
    await turns();
    client.theirs.write(query("select 2"));
    client.theirs.end(message("X"));
    await turns();
    expect([seen.statements.length, server.received().length]).toEqual([1, 0]);
    gates.shift()?.();
    await server.until((bytes) => bytes.length > 0);
    await turns();
    expect(server.received()).toEqual(query("select 1"));
    gates.shift()?.();
    expect(await server.ended()).toEqual(Buffer.concat([query("select 1"), query("select 2"), message("X")]));
    await done;
  });

  test.each([
    [
      "at once",
      () => {
        throw new Failure("audit_full", "the audit is full");
      },
    ],
    ["later", () => Promise.reject(new Failure("audit_full", "the audit is full"))],
  ])("nothing passes that can't be recorded: %s", async (_name, record) => {
    const { client, server, done } = stand(session(record));
    client.theirs.write(query("drop table t"));
    expect(errorOf(await client.ended())).toMatchObject({ C: "53000", M: "the audit is full" });
    expect(await done).toMatchObject({ by: "cut", failure: { code: "audit_full" } });
    expect(server.received().length).toBe(0);
  });

  test("each part of a long statement is recorded before its bytes go on", async () => {
    const passed: number[] = [];
    const { client, server, seen, done } = stand(
      session(() => {
        passed.push(server.received().length);
        return undefined;
      }),
    );
    const long = query("x".repeat(3 * partSize));
    for (let at = 0; at < long.length; at += 10_000) {
      client.theirs.write(long.subarray(at, at + 10_000));
      await turn();
    }
    expect(await server.until((bytes) => bytes.length >= long.length)).toEqual(long);
    expect(passed.map((count, part) => count <= 5 + part * partSize)).toEqual([true, true, true, true]);
    expect(seen.statements.map(({ part, last }) => [part, last])).toEqual([
      [0, false],
      [1, false],
      [2, false],
      [3, true],
    ]);
    client.theirs.end();
    await done;
  });
});

describe("an end from outside", () => {
  const locked = new Failure("ended", "locked: incident 7", { hint: "ask the administrator" });

  test("is said between two messages, and both sides are closed", async () => {
    const { client, server, seen, done } = stand();
    server.theirs.write(ready);
    await client.until((bytes) => bytes.length > 0);
    seen.end(locked);
    const said = await client.ended();
    expect(said.subarray(0, ready.length)).toEqual(ready);
    expect(errorOf(said)).toEqual({
      S: "FATAL",
      V: "FATAL",
      C: "57P01",
      M: "locked: incident 7",
      H: "ask the administrator",
    });
    expect(await done).toEqual({ by: "cut", failure: locked });
    expect(server.ours.destroyed).toBe(true);
  });

  test("is said when it came before the relay began", async () => {
    const seen = session();
    seen.end(new Failure("draining", "this proxy is going away"));
    const { client, done } = stand(seen);
    expect(errorOf(await client.ended())["C"]).toBe("57P01");
    await done;
  });

  test("waits for the message under way and passes nothing behind it", async () => {
    const { client, server, seen, done } = stand();
    const row = message("D", "\0\x01", int32(4), "abcd");
    server.theirs.write(row.subarray(0, 9));
    await client.until((bytes) => bytes.length > 0);
    seen.end(locked);
    server.theirs.write(Buffer.concat([row.subarray(9), complete, ready]));
    const said = await client.ended();
    expect(said.subarray(0, row.length)).toEqual(row);
    expect(said[row.length]).toBe(0x45);
    expect(errorOf(said)["C"]).toBe("57P01");
    await done;
  });

  test("does not wait for ever for a message that does not end", async () => {
    const { client, server, seen, done } = stand();
    server.theirs.write(message("D", Buffer.alloc(100)).subarray(0, 50));
    await client.until((bytes) => bytes.length > 0);
    seen.end(locked);
    expect((await client.ended()).length).toBe(50);
    expect(await done).toEqual({ by: "cut", failure: locked });
  });

  test("passes nothing of the client's any more", async () => {
    const { client, server, seen, done } = stand();
    server.theirs.write(message("D", Buffer.alloc(100)).subarray(0, 50));
    await client.until((bytes) => bytes.length > 0);
    seen.end(locked);
    client.theirs.write(query("drop table t"));
    await done;
    expect([server.received().length, seen.statements.length]).toEqual([0, 0]);
  });
});

const header = (type: string, length: number): Buffer => Buffer.concat([Buffer.from(type, "latin1"), int32(length)]);

test.each([
  ["an unknown type", header("?", 4)],
  ["a startup packet", message("", int32(0x30000), "user\0admin\0\0")],
  ["a password", message("p", "x\0")],
  ["a length of 3", header("Q", 3)],
  ["a length of 0", header("Q", 0)],
  ["a negative length", header("Q", -1)],
  ["a length of 2 GiB", header("d", 0x7fff_ffff)],
  ["a length of 1 GiB", header("d", 0x4000_0000)],
  ["a Sync with a body", header("S", 5)],
  ["a Query without its end", message("Q", "select 1")],
  ["a query behind a broken one", Buffer.concat([query("select 1"), header("Q", -1), query("select 2")])],
])("S-30 %s ends the session and reaches nobody", async (_name, bytes) => {
  const { client, server, done } = stand();
  client.theirs.write(bytes);
  expect(errorOf(await client.ended())).toMatchObject({ S: "FATAL", C: "08P01" });
  expect(await done).toMatchObject({ by: "cut", failure: { code: "protocol" } });
  expect(server.received().length).toBe(0);
  expect(server.ours.destroyed).toBe(true);
});

test.each([
  ["an unknown type", header("?", 4)],
  ["a question for the password", message("R", int32(3))],
  ["a key", message("K", int32(1), int32(2))],
  ["a length of 3", header("D", 3)],
  ["a negative length", header("D", -1)],
  ["a length of 2 GiB", header("D", 0x7fff_ffff)],
  ["a long ReadyForQuery", message("Z", "II")],
])("S-33 a server that sends %s ends the session, what was whole before it arrives", async (_name, bytes) => {
  const { client, server, done } = stand();
  server.theirs.write(Buffer.concat([complete, bytes]));
  const said = await client.ended();
  expect(said.subarray(0, complete.length)).toEqual(complete);
  expect(errorOf(said)).toMatchObject({ S: "FATAL", C: "08P01" });
  expect(await done).toMatchObject({ failure: { code: "protocol" } });
});

test("S-33 a server's broken header in two pieces ends the session as it does in one", async () => {
  const { client, server, done } = stand();
  const broken = message("R", int32(0));
  server.theirs.write(Buffer.concat([ready, broken.subarray(0, 3)]));
  await client.until((bytes) => bytes.length === ready.length);
  server.theirs.write(broken.subarray(3));
  const said = await client.ended();
  expect(said.subarray(0, ready.length)).toEqual(ready);
  expect(errorOf(said)).toMatchObject({ S: "FATAL", C: "08P01" });
  expect(await done).toMatchObject({ by: "cut", failure: { code: "protocol" } });
});

test("S-23 a message of a gigabyte is not held in memory", async () => {
  const { client, server, done } = stand(session(), false);
  let passed = 0;
  server.theirs.on("data", (bytes: Buffer) => {
    passed += bytes.length;
  });
  const chunk = Buffer.alloc(1_048_576);
  const before = process.memoryUsage().rss;
  client.theirs.write(header("d", 0x3fff_ffff));
  for (let round = 0; round < 256; round++)
    if (!client.theirs.write(chunk)) await new Promise((resolve) => client.theirs.once("drain", resolve));
  await turns();
  expect(passed).toBe(5 + 256 * chunk.length);
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1_048_576);
  client.ours.destroy();
  await done;
});
