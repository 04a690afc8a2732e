import type { Denial } from "@sallyport/core/access";
import { Failure } from "@sallyport/core/failure";
import { openCursors } from "@sallyport/wire/mongodb/cursor";
import { type Document, Long } from "bson";
import { describe, expect, test } from "vitest";
import { ask, bits, body, checked, crc, documents, messages, msg, query, reply, sequence } from "./bytes.ts";
import { find, type StandOptions, standing, told, turns } from "./stand.ts";

const denied: Denial = { denied: true, reasons: [{ code: "no_allow", text: "not in your role" }] };
const only = (...names: readonly string[]): Pick<StandOptions, "live"> => ({
  live: { guard: (access) => ("name" in access && names.includes(access.name) ? undefined : denied) },
});
test("the bytes of a command and of its answer pass as they are, and both are told", async () => {
  const all = standing();
  const asks = find(7, "orders", { filter: { n: 1 }, lsid: { id: 1 } });
  const answers = reply(7, { cursor: { firstBatch: [{ a: 1 }, { a: 2 }], id: Long.ZERO, ns: "orders.items" }, ok: 1 });
  all.client.theirs.write(asks);
  await turns();
  all.server.theirs.write(answers);
  await turns();
  expect(all.server.received()).toEqual(asks);
  expect(all.client.received()).toEqual(answers);
  expect(all.seen.lines()).toEqual([
    {
      ...{ type: "command", command: "find", db: "orders", collection: "items" },
      document: { find: "items", filter: { n: 1 }, lsid: { id: 1 }, $db: "orders" },
    },
    { type: "complete", command: "find", rows: 2 },
  ]);
});

test("sections of documents pass as they come and are told in parts", async () => {
  const all = standing();
  const made = Array.from({ length: 300 }, (_, n) => ({ n, text: "x".repeat(500) }));
  const asks = msg({ id: 3 }, body({ insert: "items", $db: "orders" }), sequence("documents", ...made));
  all.client.theirs.write(asks.subarray(0, 90_000));
  await turns();
  // what is whole has passed already
  expect(all.server.received().length).toBeGreaterThan(80_000);
  all.client.theirs.write(asks.subarray(90_000));
  await turns();
  expect(all.server.received()).toEqual(asks);
  all.server.theirs.write(reply(3, { n: 300, ok: 1 }));
  await turns();
  const lines = all.seen.lines();
  expect(lines[0]).toMatchObject({ type: "command", command: "insert" });
  const said = lines.flatMap((line) => (line["documents"] as Document[] | undefined) ?? []);
  expect(said).toEqual(made);
  const parts = all.seen.statements.slice(0, -1).map(({ part, last }) => ({ part, last }));
  expect(parts).toEqual(parts.map((_, at) => ({ part: at, last: at === parts.length - 1 })));
  expect(lines.at(-1)).toEqual({ type: "complete", command: "insert", rows: 300 });
});

test("a body that is too long for one line is told whole, in parts of its text", async () => {
  const all = standing();
  const document = {
    insert: "items",
    documents: Array.from({ length: 40 }, (_, n) => ({ n, text: `ü"${"y".repeat(5_000)}` })),
    $db: "orders",
  };
  all.client.theirs.write(ask(3, document));
  await turns();
  const text = all.seen
    .lines()
    .map((line) => line["text"])
    .join("");
  expect(JSON.parse(text)).toEqual(document);
  expect(all.seen.lines()[0]).toMatchObject({ type: "command", command: "insert", db: "orders", collection: "items" });
  expect(all.seen.statements.at(-1)).toMatchObject({ last: true });
  for (const { size } of all.seen.statements) expect(size).toBeLessThan(70_000);
});

describe("$db", () => {
  test("S-05 S-28 is ruled on with every command: another than the role's is refused, and the session goes on", async () => {
    const all = standing(only("orders"));
    const { answers, heard } = await told(all, Buffer.concat([find(1, "stock"), find(2)]));
    expect(answers).toEqual([expect.objectContaining({ ok: 0, code: 13, codeName: "Unauthorized" })]);
    expect(String(answers[0]?.["errmsg"])).toContain("not in your role");
    expect(heard).toEqual(find(2));
    expect(all.seen.lines()[0]).toMatchObject({ type: "refused", command: "find", db: "stock" });
  });

  test("what drivers send to admin passes whatever database is in use, and nothing else does", async () => {
    const all = standing(only("orders"));
    const passing = [
      "ping",
      "buildInfo",
      "connectionStatus",
      "endSessions",
      "refreshSessions",
      "commitTransaction",
      "abortTransaction",
    ];
    const sent = Buffer.concat(passing.map((name, at) => ask(at, { [name]: 1, $db: "admin" })));
    expect((await told(all, sent)).heard).toEqual(sent);
    for (const [at] of passing.entries()) all.server.theirs.write(reply(at, { ok: 1 }));
    await turns();
    const before = all.client.received().length;
    for (const name of ["listDatabases", "currentOp", "dropDatabase"])
      await told(all, ask(50, { [name]: 1, $db: "admin" }));
    const refused = documents(all.client.received().subarray(before));
    expect(refused.map(({ code }) => Number(code))).toEqual([13, 13, 13]);
    expect(all.server.received()).toEqual(sent);
    // the same words elsewhere are a command like any other
    await told(all, ask(60, { ping: 1, $db: "stock" }));
    expect(all.server.received()).toEqual(sent);
  });

  test.each([
    ["none", { find: "items" }],
    ["an empty one", { find: "items", $db: "" }],
    ["one that is no text", { find: "items", $db: 1 }],
  ])("a command with %s ends the session", async (_, document) => {
    const all = standing();
    const { answers, heard } = await told(all, ask(1, document));
    expect(answers).toEqual([expect.objectContaining({ ok: 0, code: 17 })]);
    expect(heard.length).toBe(0);
    expect((await all.done).failure?.code).toBe("protocol");
  });

  test("a refused command that waits for no answer gets none, and its documents go nowhere", async () => {
    const all = standing(only("orders"));
    const silent = msg(
      { id: 1, flags: bits.more },
      body({ insert: "a", $db: "stock" }),
      sequence("documents", { a: 1 }),
    );
    const { answers, heard } = await told(all, Buffer.concat([silent, find(2)]));
    expect(answers).toEqual([]);
    expect(heard).toEqual(find(2));
  });
});

describe("after the login", () => {
  test.each([["authenticate"], ["saslStart"], ["saslContinue"], ["logout"], ["SASLSTART"]])(
    "S-05 S-28 %s is refused and never told",
    async (name) => {
      const all = standing();
      const { answers, heard } = await told(all, ask(1, { [name]: 1, payload: "canary", $db: "$external" }));
      expect(answers).toEqual([expect.objectContaining({ ok: 0, code: 13 })]);
      expect(heard.length).toBe(0);
      expect(JSON.stringify(all.seen.lines())).not.toContain("canary");
      await told(all, find(2));
      expect(all.server.received()).toEqual(find(2));
    },
  );

  test.each(["hello", "isMaster", "ismaster"])(
    "%s is answered as a router would, with the target's limits",
    async (name) => {
      const all = standing();
      const { answers, heard } = await told(
        all,
        ask(9, { [name]: 1, helloOk: true, compression: ["zlib"], $db: "admin" }),
      );
      expect(heard.length).toBe(0);
      expect(answers[0]).toMatchObject({ msg: "isdbgrid", ok: 1, maxWireVersion: 21 });
      for (const hidden of ["compression", "hosts", "me", "setName", "topologyVersion"])
        expect(answers[0]).not.toHaveProperty(hidden);
      expect(messages(all.client.received())[0]).toMatchObject({ to: 9, opcode: 2013 });
    },
  );

  test("an old hello is answered in its own form", async () => {
    const all = standing();
    await told(all, query(5, { isMaster: 1 }));
    expect(messages(all.client.received())[0]).toMatchObject({ to: 5, opcode: 1, document: { msg: "isdbgrid" } });
  });

  test("what is answered here comes after what was asked before it", async () => {
    const all = standing();
    await told(all, Buffer.concat([find(1), ask(2, { hello: 1, $db: "admin" }), find(3)]));
    expect(all.client.received().length).toBe(0);
    expect(all.server.received()).toEqual(find(1));
    all.server.theirs.write(reply(1, { ok: 1 }));
    await turns();
    expect(messages(all.client.received()).map(({ to }) => to)).toEqual([1, 2]);
    expect(all.server.received()).toEqual(Buffer.concat([find(1), find(3)]));
  });

  test("S-40 the secrets of users are taken out of what is told, and out of that only", async () => {
    const all = standing();
    const made = ask(1, { createUser: "grace", pwd: "canary-1", roles: [], $db: "orders" });
    const changed = ask(2, { updateUser: "grace", pwd: "canary-2", $db: "orders" });
    const { heard } = await told(all, Buffer.concat([made, changed]));
    expect(heard).toEqual(Buffer.concat([made, changed]));
    expect(JSON.stringify(all.seen.lines())).not.toContain("canary");
    expect(all.seen.lines()[0]).toMatchObject({ document: { createUser: "grace", pwd: "[redacted]" } });
  });
});

describe("cursors", () => {
  const more = (id: number, cursor: number | Long): Buffer =>
    ask(id, { getMore: Long.fromValue(cursor), collection: "items", $db: "orders" });

  test("of another user are unknown, those of one's own other sessions are not", async () => {
    const ownedBy = openCursors();
    const ada = standing({ cursors: ownedBy("orders", "ada") });
    ada.client.theirs.write(find(1));
    await turns();
    ada.server.theirs.write(
      reply(1, { cursor: { firstBatch: [], id: Long.fromNumber(77), ns: "orders.items" }, ok: 1 }),
    );
    await turns();
    const grace = standing({ cursors: ownedBy("orders", "grace") });
    const refused = await told(grace, more(1, 77));
    expect(refused.answers).toEqual([expect.objectContaining({ ok: 0, code: 43, codeName: "CursorNotFound" })]);
    const killed = await told(
      grace,
      ask(2, { killCursors: "items", cursors: [Long.fromNumber(5), Long.fromNumber(77)], $db: "orders" }),
    );
    expect(killed.answers.at(-1)).toMatchObject({ ok: 0, code: 43 });
    expect(killed.heard.length).toBe(0);
    const other = standing({ cursors: ownedBy("orders", "ada") });
    expect((await told(other, more(3, 77))).heard).toEqual(more(3, 77));
  });

  test("that go on by themselves pass when they were asked for, and are counted as one answer", async () => {
    const all = standing();
    await told(all, ask(1, { getMore: Long.fromNumber(9), collection: "items", $db: "orders" }, bits.exhaust));
    const batch = (id: number): Document => ({
      cursor: { nextBatch: [{ a: 1 }, { a: 2 }], id: Long.fromNumber(id), ns: "x" },
      ok: 1,
    });
    const answers = Buffer.concat([
      reply(1, batch(9), { id: 50, flags: bits.more }),
      reply(50, batch(9), { id: 51, flags: bits.more }),
      reply(51, batch(0), { id: 52 }),
    ]);
    all.server.theirs.write(answers);
    await turns();
    expect(all.client.received()).toEqual(answers);
    expect(all.seen.lines().at(-1)).toEqual({ type: "complete", command: "getMore", rows: 6 });
  });

  test("S-33 that go on by themselves unasked end the session", async () => {
    const all = standing();
    await told(all, find(1));
    all.server.theirs.write(reply(1, { ok: 1 }, { id: 50, flags: bits.more }));
    expect((await all.done).failure?.code).toBe("protocol");
  });
});

test("checksums pass, both ways", async () => {
  const all = standing();
  const asks = checked({ id: 1 }, body({ insert: "items", $db: "orders" }), sequence("documents", { a: 1 }));
  await told(all, Buffer.concat([asks, find(2)]));
  expect(all.server.received()).toEqual(Buffer.concat([asks, find(2)]));
  const answers = Buffer.concat([checked({ to: 1 }, body({ n: 1, ok: 1 })), reply(2, { ok: 1 })]);
  all.server.theirs.write(answers);
  await turns();
  expect(all.client.received()).toEqual(answers);
  expect(crc(Buffer.from("123456789"))).toBe(0xe306_9283);
});

test("sections before the body wait for it, and are judged with it", async () => {
  const all = standing(only("orders"));
  const wrong = msg({ id: 1 }, sequence("documents", { a: 1 }), body({ insert: "items", $db: "stock" }));
  const right = msg({ id: 2 }, sequence("documents", { a: 1 }, { a: 2 }), body({ insert: "items", $db: "orders" }));
  const { heard, answers } = await told(all, Buffer.concat([wrong, right]));
  expect(answers).toEqual([expect.objectContaining({ ok: 0, code: 13 })]);
  expect(heard).toEqual(right);
  expect(all.seen.lines().slice(1)).toEqual([
    expect.objectContaining({ type: "command", command: "insert" }),
    { sequence: "documents", documents: [{ a: 1 }, { a: 2 }] },
  ]);
});

test("errors of the server pass and are told with their code", async () => {
  const all = standing();
  await told(all, find(1));
  const answer = reply(1, { ok: 0, errmsg: "no such\u2028thing", code: 59, codeName: "CommandNotFound" });
  all.server.theirs.write(answer);
  await turns();
  expect(all.client.received()).toEqual(answer);
  expect(all.seen.lines().at(-1)).toEqual({
    ...{ type: "error", command: "find", code: 59, codeName: "CommandNotFound", message: "no such\u2028thing" },
  });
});

describe("a session that is cut", () => {
  const why = new Failure("ended", "the session ended: it was revoked");
  test("says why to the command that waits", async () => {
    const all = standing();
    await told(all, find(4));
    all.seen.end(why);
    const { by, failure } = await all.done;
    expect({ by, failure }).toEqual({ by: "cut", failure: why });
    expect(messages(all.client.received())).toEqual([
      expect.objectContaining({
        to: 4,
        document: expect.objectContaining({ ok: 0, code: 11_601, errmsg: why.message }),
      }),
    ]);
  });

  test("says why to the next command when none waits, and sends it nowhere", async () => {
    const all = standing();
    all.seen.end(why);
    await turns();
    all.client.theirs.write(find(5));
    await all.done;
    expect(messages(all.client.received())).toEqual([expect.objectContaining({ to: 5 })]);
    expect(all.server.received().length).toBe(0);
  });

  test("in the middle of an answer waits for the rest of it", async () => {
    const all = standing();
    await told(all, Buffer.concat([find(1), find(2)]));
    const answer = reply(1, { ok: 1, text: "x".repeat(100) });
    all.server.theirs.write(answer.subarray(0, 40));
    await turns();
    all.seen.end(why);
    await turns();
    all.server.theirs.write(answer.subarray(40));
    await all.done;
    const heard = messages(all.client.received());
    expect(heard[0]?.raw).toEqual(answer);
    expect(heard[1]).toMatchObject({ to: 2, document: { ok: 0 } });
  });
});

test("S-42 a command passes when its record is durable, not before", async () => {
  const { promise, resolve: durable } = Promise.withResolvers<void>();
  const all = standing({ live: { record: () => promise } });
  await told(all, find(1));
  expect(all.server.received().length).toBe(0);
  durable();
  await turns();
  expect(all.server.received()).toEqual(find(1));
});
