// 100,000 messages through accept, login and relay on streams in memory: whole ones, broken ones, cut ones. Nothing may crash,
// reject unseen, hang, reach a database before the login, or pass a relay changed. SEED=… repeats a run.

import type { Credential } from "@sallyport/core/credential";
import { Failure } from "@sallyport/core/failure";
import { mongodb } from "@sallyport/wire/mongodb/mongodb";
import type { Gate } from "@sallyport/wire/protocol";
import { Binary, type Document, Long, serialize } from "bson";
import { expect, test } from "vitest";
import { grantFor, link, session, upstreamTo } from "../wire/door.ts";
import * as mongo from "../wire/mongodb/bytes.ts";
import { serverOn } from "../wire/mongodb/stand.ts";
import { type Chance, chanceOf } from "./knock.ts";
import { noise, seed, timely, turn, unseen } from "./siege.ts";

const lengths = [0, 1, 3, 16, 20, 21, 25, -1, -0x8000_0000, 0x7fff_ffff, 48_000_001];

/** A message turned into another: a byte, a length, its opcode, its end. */
const broken = (by: Chance, whole: Buffer): Buffer => {
  const copy = Buffer.from(whole);
  const how = copy.length < 20 ? 3 : by.below(6);
  if (how === 0) copy[by.below(copy.length)] = by.below(256);
  else if (how === 1) copy.writeInt32LE(by.pick([...lengths, by.below(400)]), 0);
  else if (how === 2) copy.writeInt32LE(by.pick([1, 2001, 2004, 2010, 2012, 2013, by.below(3_000)]), 12);
  else if (how === 3) return copy.subarray(0, by.below(copy.length + 1));
  else if (how === 4 && copy.length > 30)
    copy.writeInt32LE(by.pick([...lengths, by.below(400)]), by.below(copy.length - 4));
  else copy.writeInt32LE(by.below(8) | (by.below(3) << 16), 16);
  return copy;
};
const nested = (depth: number): Document => {
  let inner: Document = {};
  for (let left = depth; left > 0; left--) inner = { a: inner };
  return inner;
};

const gate: Gate = {
  secure: async (socket) => {
    socket.read(1);
    return socket;
  },
  deadline: { start: () => {}, stop: () => {} },
};
const early = (by: Chance, id: number): Buffer => {
  const payload = by.pick([new Binary(Buffer.from("\0reader\0token")), new Binary(noise(by)), "text", 7]);
  const whole = by.pick([
    () => mongo.query(id, { isMaster: 1, helloOk: true, client: { application: { name: "x" } } }),
    () => mongo.ask(id, { [by.pick(["hello", "ismaster", "ping", "buildInfo"])]: 1, $db: "admin" }),
    () =>
      mongo.ask(id, { saslStart: 1, mechanism: by.pick(["PLAIN", "PLAIN", "PLAIN", "X"]), payload, $db: "$external" }),
    () => mongo.ask(id, { saslStart: 1, mechanism: "PLAIN", payload, $db: by.pick(["$external", "admin"]) }),
    () => mongo.ask(id, { find: "items", $db: "orders" }),
    () => mongo.packet(2013, { id }, noise(by)),
    () => noise(by),
  ])();
  return by.below(3) === 0 ? broken(by, whole) : whole;
};

test("accept survives 30,000 messages, and only a whole login asks to log in", async () => {
  const by = chanceOf(seed);
  let messages = 0;
  let asked = 0;
  while (messages < 30_000) {
    const { ours, theirs } = link();
    const arrival = timely("accept", mongodb.accept(ours, gate)).catch((thrown: unknown) => thrown);
    theirs.write(Buffer.of(by.below(30) > 0 ? 0x16 : by.below(256)));
    const count = 1 + by.below(4);
    messages += count;
    for (let at = 0; at < count && theirs.writable; at++) {
      theirs.write(early(by, at + 1));
      if (by.below(4) > 0) await turn();
    }
    theirs.end();
    const found = await arrival;
    if (found instanceof Failure) expect(found.code, `${found.message}, seed ${seed}`).not.toBe("internal");
    else if (typeof found === "object" && found !== null && "ask" in found) asked++;
    else expect(found).toMatchObject({ probe: true });
    ours.destroy();
  }
  expect(asked).toBeGreaterThan(0);
  await turn();
  expect(unseen).toEqual([]);
});

test("login survives 20,000 messages of a hostile server, and signs for nobody but STS", async () => {
  const by = chanceOf(seed + 1);
  const hosts = [
    "sts.amazonaws.com",
    "sts.eu-west-1.amazonaws.com",
    "sts.evil.example",
    "evil",
    "sts.amazonaws.com.evil.example",
  ];
  let signed = 0;
  for (let messages = 0; messages < 20_000; ) {
    const nonces: Buffer[] = [];
    const credential: Credential = {
      as: "aws",
      user: "arn:aws:iam::123456789012:role/reader",
      sign: async (nonce, host) => {
        signed++;
        expect(["sts.amazonaws.com", "sts.eu-west-1.amazonaws.com"]).toContain(host);
        expect(nonce.length).toBe(64);
        expect(nonces.some((one) => one.equals(nonce.subarray(0, 32)))).toBe(true);
        return { authorization: "a", date: "d" };
      },
    };
    const stage = upstreamTo(({ theirs, received }) => {
      let steps = 0;
      theirs.on("data", () => {
        const heard = mongo.messages(received()).at(-1);
        if (!heard || ++steps > 4) return void theirs.destroy();
        messages++;
        const { document, id } = heard;
        let said: Document = { ok: by.pick([1, 1, 1, 0]), errmsg: "no", conversationId: 1 };
        if ("saslStart" in document) {
          const payload = (document["payload"] as Binary).buffer;
          // the nonce lies behind the head of its element
          const at = Buffer.from(payload).indexOf("r\0") + 7;
          const nonce = Buffer.from(payload).subarray(at, at + 32);
          nonces.push(nonce);
          const s = new Binary(
            by.pick([Buffer.concat([nonce, by.bytes(32)]), Buffer.concat([nonce, by.bytes(32)]), by.bytes(64)]),
          );
          said = {
            ...said,
            done: by.pick([false, false, false, true]),
            payload: by.pick([new Binary(serialize({ s, h: by.pick(hosts) })), new Binary(noise(by))]),
          };
        } else if ("saslContinue" in document) said = { ...said, done: by.pick([true, false]) };
        const whole =
          by.below(8) > 0
            ? mongo.reply(id, said)
            : mongo.packet(1, { to: id }, Buffer.alloc(16), mongo.i32(1), mongo.doc(said));
        theirs.write(by.below(8) === 0 ? broken(by, whole) : whole);
      });
    }, credential);
    const login = mongodb.login(stage.upstream, grantFor()).catch((thrown: unknown) => thrown);
    for (let left = 8; left > 0; left--) await turn();
    // a server that says nothing more is the caller's deadline to end
    const deadline = setTimeout(() => stage.dialled[0]?.ours.destroy(), 5);
    const found = await timely("login", login);
    clearTimeout(deadline);
    if (found instanceof Failure) expect(found.code, `${found.message}, seed ${seed}`).not.toBe("internal");
    else expect(found).toMatchObject({ limits: {} });
    stage.dialled[0]?.ours.destroy();
  }
  expect(signed).toBeGreaterThan(0);
  await turn();
  expect(unseen).toEqual([]);
});

const command = (by: Chance, id: number): Buffer =>
  by.pick([
    () => mongo.ask(id, { find: "items", filter: { a: noise(by) }, $db: by.pick(["orders", "orders", "stock"]) }),
    () =>
      mongo.msg(
        { id },
        mongo.body({ insert: "items", $db: "orders" }),
        mongo.sequence("documents", { a: 1 }, { b: noise(by) }),
      ),
    () => mongo.checked({ id }, mongo.body({ insert: "items", $db: "orders" }), mongo.sequence("documents", { a: 1 })),
    () =>
      mongo.msg(
        { id },
        mongo.sequence("documents", { a: 1 }),
        mongo.body({ insert: "items", $db: by.pick(["orders", "stock"]) }),
      ),
    () => mongo.msg({ id, flags: mongo.bits.more }, mongo.body({ insert: "items", $db: "orders" })),
    () => mongo.ask(id, { find: "items", $db: "orders" }, mongo.bits.exhaust),
    () => mongo.ask(id, { getMore: Long.fromNumber(by.below(4)), collection: "items", $db: "orders" }),
    () => mongo.ask(id, { killCursors: "items", cursors: [Long.fromNumber(by.below(4))], $db: "orders" }),
    () => mongo.ask(id, { [by.pick(["hello", "saslStart", "logout", "ping"])]: 1, $db: "admin" }),
    () => mongo.query(id, { [by.pick(["isMaster", "find"])]: 1 }),
    () => mongo.ask(id, { find: "items", filter: nested(by.pick([3, 190, 210])), $db: "orders" }),
    () => mongo.packet(2013, { id }, noise(by)),
  ])();
const answer = (by: Chance, to: number): Buffer =>
  by.pick([
    () =>
      mongo.reply(to, {
        cursor: { firstBatch: [{ a: noise(by) }, {}], id: Long.fromNumber(by.below(4)), ns: "x" },
        ok: 1,
      }),
    () => mongo.reply(to, { n: by.below(300), nModified: 1, writeErrors: [{ code: 1 }], ok: 1 }),
    () => mongo.reply(to, { ok: 0, errmsg: noise(by).toString("latin1"), code: by.below(300), codeName: "X" }),
    () => mongo.reply(to, { ok: 1 }, { id: to, flags: mongo.bits.more }),
    () => mongo.checked({ to }, mongo.body({ ok: 1 })),
    () => mongo.packet(2013, { to }, noise(by)),
  ])();

test("relay survives 50,000 messages from both sides at once and passes only what it was given, in order", async () => {
  const by = chanceOf(seed + 2);
  let count = 0;
  let passedBytes = 0;
  while (count < 50_000) {
    const [client, server, seen] = [link(), link(), session()];
    const denied = { denied: true as const, reasons: [{ code: "no_allow" as const, text: "no" }] };
    const live = { ...seen.live, guard: (one: object) => ("name" in one && one.name === "stock" ? denied : undefined) };
    const done = timely(
      "relay",
      mongodb.relay({ socket: client.ours, pending: undefined, sasl: false }, serverOn(server), live),
    );
    const sent: Buffer[] = [];
    const reckless = by.below(3) === 0;
    for (let id = 1, left = 2 + by.below(30); left > 0; left--, id++) {
      const made = command(by, id);
      const packet = reckless && by.below(6) === 0 ? broken(by, made) : made;
      const cut = by.below(packet.length + 1);
      count++;
      if (client.theirs.writable) {
        sent.push(packet);
        client.theirs.write(packet.subarray(0, cut));
        if (by.below(3) === 0) await turn();
        client.theirs.write(packet.subarray(cut));
      }
      if (by.below(2) === 0) await turn();
      const asked = mongo.messages(server.received()).at(-1)?.id ?? id;
      const said = answer(by, by.below(20) > 0 ? asked : by.below(9));
      count++;
      if (by.below(3) > 0 && server.theirs.writable)
        server.theirs.write(reckless && by.below(6) === 0 ? broken(by, said) : said);
      if (by.below(3) === 0) await turn();
    }
    await turn();
    client.theirs.end();
    server.theirs.end();
    const { failure } = await done;
    // what the database heard is what was said, in order, less what stayed here
    let at = 0;
    for (let heard = server.received(); heard.length > 0; ) {
      const found = sent
        .slice(at)
        .findIndex((one) => one.length > 0 && heard.subarray(0, one.length).equals(one.subarray(0, heard.length)));
      if (found < 0) {
        // a broken message ends where another one begins: then all of it is a part of what was said
        expect(Buffer.concat(sent).includes(heard), `seed ${seed}`).toBe(true);
        break;
      }
      at += found + 1;
      heard = heard.subarray(sent[at - 1]?.length ?? 0);
    }
    for (const { document } of reckless ? [] : mongo.messages(server.received()))
      expect(document["$db"]).not.toBe("stock");
    passedBytes += server.received().length;
    if (failure)
      expect(
        ["protocol", "denied", "unsupported", "upstream_unreachable", "too_large"],
        `${failure.message}, seed ${seed}`,
      ).toContain(failure.code);
    for (const line of seen.lines()) JSON.stringify(line);
    client.ours.destroy();
    server.ours.destroy();
  }
  expect(passedBytes).toBeGreaterThan(50_000);
  expect(unseen).toEqual([]);
});
