import { Failure } from "@sallyport/core/failure";
import { mongodb } from "@sallyport/wire/mongodb/mongodb";
import type { Arrival, Gate } from "@sallyport/wire/protocol";
import { Binary, type Document } from "bson";
import { afterEach, describe, expect, test, vi } from "vitest";
import { failed, gateTo, grantFor, type Link, link, upstreamTo } from "../door.ts";
import { ask, body, checked, documents, i32, messages, msg, packet, query } from "./bytes.ts";
import { serverOn, turns } from "./stand.ts";

const token = `sct_${"a1B2".repeat(11)}`;
const plain = (id: number, over: Document = {}): Buffer =>
  ask(id, {
    ...{ saslStart: 1, mechanism: "PLAIN", payload: new Binary(Buffer.from(`\0reader\0${token}`)) },
    ...{ autoAuthorize: 1, $db: "$external", ...over },
  });

interface Steps {
  readonly gate: Gate;
  readonly log: string[];
}
/** A gate whose TLS is one byte, which it takes. */
const gate = (): Steps => {
  const log: string[] = [];
  return {
    log,
    gate: {
      secure: async (socket) => {
        expect(socket.read(1)).toEqual(Buffer.of(0x16));
        log.push("secure");
        return socket;
      },
      deadline: { start: () => void log.push("start"), stop: () => void log.push("stop") },
    },
  };
};
const through = (touch = (): void => {}): Gate => {
  const stage = upstreamTo(() => {});
  return gateTo([], { ask: { user: "reader", name: "orders" }, grant: grantFor(), upstream: stage.upstream, touch });
};
const links: Link[] = [];
const arrive = (via: Gate = gate().gate): { near: Link; arrival: Promise<Arrival> } => {
  const near = link();
  links.push(near);
  if (!via.arrived) near.theirs.write(Buffer.of(0x16));
  const arrival = mongodb.accept(near.ours, via);
  arrival.catch(() => {});
  return { near, arrival };
};
afterEach(() => {
  vi.useRealTimers();
  for (const { ours, theirs } of links.splice(0)) {
    ours.destroy();
    theirs.destroy();
  }
});
const hello = (id: number, over: Document = {}): Buffer => ask(id, { hello: 1, helloOk: true, ...over, $db: "admin" });

describe("plain", () => {
  test("hello by both opcodes, then PLAIN carries the token, and the welcome answers it", async () => {
    const { near, arrival } = arrive();
    near.theirs.write(query(1, { isMaster: 1, helloOk: true, client: { application: { name: "the app" } } }));
    near.theirs.write(hello(2));
    near.theirs.write(plain(3));
    const arrived = await arrival;
    if (!("ask" in arrived)) throw new Error("it did not ask");
    expect(arrived.ask).toMatchObject({ user: "reader" });
    expect(arrived.ask).not.toHaveProperty("name");
    expect(arrived.ask.token?.reveal()).toBe(token);
    expect(arrived.wanted).toEqual({ application: "the app" });
    const server = serverOn(link());
    await mongodb.welcome(arrived.client as Parameters<typeof mongodb.welcome>[0], server);
    await turns();
    const heard = messages(near.received());
    expect(heard.map(({ to, opcode }) => [to, opcode])).toEqual([
      [1, 1],
      [2, 2013],
      [3, 2013],
    ]);
    expect(heard[0]?.document).toMatchObject({ ismaster: true, helloOk: true, msg: "isdbgrid", maxWireVersion: 13 });
    expect(heard[1]?.document).toMatchObject({ isWritablePrimary: true, msg: "isdbgrid" });
    expect(heard[2]?.document).toMatchObject({ done: true, ok: 1, conversationId: 1 });
  });

  test("what hello asks about logging in ahead, compression and mechanisms stays unanswered", async () => {
    const { near } = arrive();
    near.theirs.write(
      hello(1, { speculativeAuthenticate: { saslStart: 1 }, compression: ["zstd"], saslSupportedMechs: "admin.x" }),
    );
    const [answer] = documents(await near.until((bytes) => bytes.length > 0));
    for (const name of ["speculativeAuthenticate", "compression", "saslSupportedMechs", "hosts", "me", "setName"])
      expect(answer).not.toHaveProperty(name);
  });

  test("S-22 a monitor may stay: the deadline stops with its hello and runs while a message comes", async () => {
    const { gate: via, log } = gate();
    const { near, arrival } = arrive(via);
    near.theirs.write(hello(1));
    await near.until((bytes) => bytes.length > 0);
    await turns();
    expect(log).toEqual(["secure", "start", "stop"]);
    near.theirs.write(hello(2).subarray(0, 1));
    await turns();
    expect(log.at(-1)).toBe("start");
    near.theirs.write(hello(2).subarray(1));
    await turns();
    expect(log.at(-1)).toBe("stop");
    near.theirs.end();
    expect(await arrival).toEqual({ probe: true });
  });

  test("S-22 who sends nothing inside TLS has the deadline running", async () => {
    const { gate: via, log } = gate();
    arrive(via);
    await turns();
    expect(log).toEqual(["secure"]);
  });

  test("S-22 there are too many who stay: it is said, and over", async () => {
    const steps = gate();
    const stop = (): void => {
      throw new Failure("too_many", "too many connections that have not logged in");
    };
    const { near, arrival } = arrive({ ...steps.gate, deadline: { start: () => {}, stop } });
    near.theirs.write(hello(1));
    expect((await failed(arrival)).code).toBe("too_many");
  });

  test("S-22 a monitor in a hurry is answered once a second", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const { near } = arrive();
    for (let id = 1; id <= 12; id++) near.theirs.write(hello(id));
    await near.until((bytes) => messages(bytes).length >= 6);
    await turns();
    expect(messages(near.received()).length).toBe(6);
  });

  test("ping and buildInfo are a monitor's too", async () => {
    const { near } = arrive();
    near.theirs.write(Buffer.concat([ask(1, { ping: 1, $db: "admin" }), ask(2, { buildInfo: 1, $db: "admin" })]));
    const answers = documents(await near.until((bytes) => messages(bytes).length === 2));
    expect(answers).toEqual([{ ok: 1 }, expect.objectContaining({ version: "5.0.0", ok: 1 })]);
  });

  test.each([
    ["S-24 HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "protocol"],
    ["S-24 SSH", Buffer.from("SSH-2.0-OpenSSH_9.9\r\n padding"), "protocol"],
    ["S-23 a length of -1", packet(2013, { length: -1 }, i32(0)), "protocol"],
    ["S-23 a length of 3", packet(2013, { length: 3 }, i32(0)), "protocol"],
    ["S-23 a length of 2^31-1", packet(2013, { length: 0x7fff_ffff }, i32(0)), "too_large"],
    ["S-23 more than 16 KiB", ask(1, { hello: 1, text: "x".repeat(16_384), $db: "admin" }), "too_large"],
    ["S-28 OP_COMPRESSED", packet(2012, {}, i32(2013), i32(9), 2, "compressed"), "unsupported"],
    ["S-28 OP_QUERY of a collection", query(1, { isMaster: 1 }, "orders.items"), "unsupported"],
    [
      "S-28 a key twice",
      Buffer.from(ask(1, { hello: 1, $db: "admin", $dc: "a" }).toString("latin1").replace("$dc", "$db"), "latin1"),
      "protocol",
    ],
    ["S-28 a command", ask(1, { find: "items", $db: "orders" }), "not_logged_in"],
    ["S-28 a command by OP_QUERY", query(1, { listDatabases: 1 }), "not_logged_in"],
    ["S-28 saslContinue first", ask(1, { saslContinue: 1, $db: "$external" }), "not_logged_in"],
    ["another mechanism", plain(1, { mechanism: "SCRAM-SHA-256" }), "unsupported"],
    ["S-05 another source of users", plain(1, { $db: "admin" }), "denied"],
    ["S-05 acting as another", plain(1, { payload: new Binary(Buffer.from(`root\0reader\0${token}`)) }), "protocol"],
    ["a login without a token", plain(1, { payload: new Binary(Buffer.from("\0reader\0")) }), "bad_token"],
    ["a login of one part", plain(1, { payload: new Binary(Buffer.from("reader")) }), "protocol"],
  ])("%s before the login is refused", async (_, bytes, code) => {
    const { near, arrival } = arrive();
    near.theirs.write(bytes);
    expect((await failed(arrival)).code).toBe(code);
    const answers = documents(await near.ended());
    if (code === "not_logged_in" || code === "denied") expect(answers).toEqual([expect.objectContaining({ ok: 0 })]);
    for (const answer of answers) expect(answer).toMatchObject({ ok: 0, code: expect.any(Number) });
  });

  test("S-20 bytes before TLS are for TLS alone to judge", async () => {
    const near = link();
    links.push(near);
    const seen: unknown[] = [];
    const secure: Gate["secure"] = async (socket) => {
      seen.push(socket.read());
      throw new Failure("protocol", "the TLS handshake failed");
    };
    const arrival = mongodb.accept(near.ours, { ...gateTo(), secure });
    near.theirs.write(Buffer.concat([Buffer.of(0x16, 3, 1), plain(1)]));
    expect((await failed(arrival)).code).toBe("protocol");
    expect(seen).toEqual([Buffer.concat([Buffer.of(0x16, 3, 1), plain(1)])]);
    expect(near.received().length).toBe(0);
  });

  test("S-21 without TLS nothing is read as a login; it is said in the protocol's words", async () => {
    const near = link();
    links.push(near);
    const log: string[] = [];
    const arrival = mongodb.accept(near.ours, gateTo(log));
    near.theirs.write(plain(4));
    expect((await failed(arrival)).code).toBe("tls_required");
    const [answer] = messages(await near.ended());
    expect(answer).toMatchObject({ to: 4, document: { ok: 0, code: 140 } });
    expect(String(answer?.document["errmsg"])).toContain("tls=true");
    expect(log).toEqual([]);
  });

  test("a refusal answers the login", async () => {
    const { near, arrival } = arrive();
    near.theirs.write(plain(8));
    const arrived = await arrival;
    if (!("ask" in arrived)) throw new Error("it did not ask");
    await mongodb.refuse(
      arrived.client as Parameters<typeof mongodb.refuse>[0],
      new Failure("denied", "not in your role", { hint: "ask for it" }),
    );
    expect(messages(near.received())[0]).toMatchObject({
      ...{ to: 8, document: { ok: 0, code: 18, errmsg: "not in your role; hint: ask for it" } },
    });
  });
});

describe("through the gate", () => {
  test.each<[string, Buffer]>([
    ["a command", ask(3, { find: "items", $db: "orders" })],
    ["a ping", ask(3, { ping: 1, $db: "admin" })],
    ["a long one", msg({ id: 3 }, body({ insert: "a", documents: [{ text: "x".repeat(100_000) }], $db: "orders" }))],
    ["one that can't be read", msg({ id: 3 }, Buffer.of(9, 9, 9, 9, 9, 9, 9))],
    ["one with a checksum", checked({ id: 3 }, body({ find: "items", $db: "orders" }))],
  ])("%s begins the session and is left to it whole", async (_, bytes) => {
    const { near, arrival } = arrive(through());
    near.theirs.write(hello(1));
    await near.until((heard) => heard.length > 0);
    near.theirs.write(bytes);
    const arrived = await arrival;
    expect(arrived).toMatchObject({
      ask: { user: "reader", name: "orders" },
      client: { sasl: false, pending: { requestId: 3 } },
    });
    const left: Buffer[] = [];
    near.ours.on("data", (chunk: Buffer) => left.push(chunk));
    await turns(50);
    expect(Buffer.concat(left)).toEqual(bytes);
  });

  test("hello keeps the session from being idle", async () => {
    const touch = vi.fn();
    const { near } = arrive(through(touch));
    near.theirs.write(hello(1));
    await near.until((heard) => heard.length > 0);
    expect(touch).toHaveBeenCalledOnce();
  });

  test("a login by PLAIN is taken unseen; by another mechanism it is told how", async () => {
    const first = arrive(through());
    first.near.theirs.write(plain(1, { payload: new Binary(Buffer.from("\0any\0thing")), $db: "admin" }));
    expect(await first.arrival).toMatchObject({ ask: { user: "reader" }, client: { sasl: true } });
    const second = arrive(through());
    second.near.theirs.write(plain(1, { mechanism: "SCRAM-SHA-256" }));
    expect((await failed(second.arrival)).hint).toContain("PLAIN");
  });
});
