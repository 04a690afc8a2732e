// The gate: TLS 1.3, its ALPN, a token and the proof of its key, and then the same login as anywhere.
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  dialTcp,
  dialTls,
  enterGate,
  eventually,
  frameOf,
  type House,
  logIn,
  openHouse,
  proofFor,
  readAnswer,
  talk,
} from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

const gatePort = (): number => house.proxy.ports["gate"] ?? 0;
const uniform = {
  code: "bad_token",
  message: "this token is not valid here",
  hint: "ask for a new one: sally db login",
};
const empty = async (): Promise<void> =>
  eventually(() => house.proxy.counts().waiting === 0 && house.proxy.counts().sessions === 0);

describe("a proven token", () => {
  it("opens its session, as often as it likes, without any password", async () => {
    const bound = await house.issueBound();
    for (let at = 0; at < 3; at += 1) {
      const { socket, answer } = await enterGate(house.proxy, bound);
      expect(answer).toEqual({ ok: true });
      const client = talk(socket);
      client.say("LOGIN reader orders whatever");
      expect(await client.hear()).toMatch(/^WELCOME/);
      client.say("hello");
      expect(await client.hear()).toBe("hello");
      socket.destroy();
    }
    await empty();
    const sessions = house.store.items().filter((item) => item.pk.startsWith("session#"));
    expect(sessions).toHaveLength(3);
    expect(sessions[0]).toMatchObject({ way: "gate" });
    expect(house.store.items().filter((item) => item.pk.startsWith("spend#"))).toEqual([]);
  });

  it("may be followed at once by what the client has to say", async () => {
    const bound = await house.issueBound();
    const socket = await dialTls(gatePort(), { alpn: "sallyport/1" });
    const proof = proofFor(socket, bound.token, bound.key);
    const hello = frameOf({ token: bound.token, key: bound.der.toString("base64"), proof });
    const heard: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => void heard.push(chunk));
    socket.write(Buffer.concat([hello, Buffer.from("LOGIN reader orders x\n")]));
    await eventually(() => Buffer.concat(heard).toString().includes("WELCOME"));
    socket.destroy();
  });

  it("works with Ed25519 too", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const der = publicKey.export({ type: "spki", format: "der" });
    const issued = await house.issue({ way: { bound: der.toString("base64") } });
    const { socket, answer } = await enterGate(house.proxy, { ...issued, key: privateKey, der });
    expect(answer).toEqual({ ok: true });
    socket.destroy();
  });

  it("S-05 opens nothing but what it says", async () => {
    const bound = await house.issueBound();
    for (const line of ["LOGIN writer orders x", "LOGIN reader stock x"]) {
      const { socket } = await enterGate(house.proxy, bound);
      const client = talk(socket);
      client.say(line);
      expect(await client.hear()).toMatch(/^ERR denied/);
      socket.destroy();
    }
    await empty();
    expect(house.database.logins).toEqual([]);
  });

  it("is denied with the reason and a hint", async () => {
    const bound = await house.issueBound();
    await house.lock({ database: "orders" });
    const { answer } = await enterGate(house.proxy, bound);
    expect(answer).toMatchObject({
      code: "denied",
      message: "database orders is locked: gone",
      hint: expect.any(String),
    });
  });

  it("S-08 is cut between the gate and the login when a lock comes", async () => {
    const bound = await house.issueBound();
    const { socket, answer } = await enterGate(house.proxy, bound);
    expect(answer).toEqual({ ok: true });
    await house.lock({ user: "ana" });
    await house.pass(3);
    const client = talk(socket);
    client.say("LOGIN reader orders x");
    expect(await client.hear()).not.toMatch(/^WELCOME/);
    await empty();
    expect(house.database.logins).toEqual([]);
  });

  it("is told when the table can't be read", async () => {
    const bound = await house.issueBound();
    house.store.fault.break();
    expect((await enterGate(house.proxy, bound)).answer).toMatchObject({ code: "unavailable" });
  });
});

describe("S-04b a bound token", () => {
  it("S-04b is refused without its key, with another key, and with a proof that is none", async () => {
    const bound = await house.issueBound();
    const thief = await house.issueBound();
    const cases = [
      { ...bound, der: Buffer.alloc(0) },
      // the thief's own key, honestly proven
      { ...bound, key: thief.key, der: thief.der },
      // the right key, the wrong signature
      { ...bound, key: thief.key },
    ];
    for (const one of cases) expect((await enterGate(house.proxy, one)).answer).toEqual(uniform);
    const garbled = await enterGate(house.proxy, bound, (hello) => ({ ...hello, proof: "AAAA" }));
    expect(garbled.answer).toEqual(uniform);
    expect(house.proxy.counts().sessions).toBe(0);
  });

  it("S-04b is refused with a proof made for another TLS session, or for another token", async () => {
    const bound = await house.issueBound();
    const elsewhere = await dialTls(gatePort(), { alpn: "sallyport/1" });
    const stolen = proofFor(elsewhere, bound.token, bound.key);
    const { answer } = await enterGate(house.proxy, bound, (hello) => ({ ...hello, proof: stolen }));
    expect(answer).toEqual(uniform);
    elsewhere.destroy();
    const second = await house.issue({ way: { bound: bound.der.toString("base64") } });
    const swapped = await enterGate(house.proxy, bound, (hello) => ({ ...hello, token: second.token }));
    expect(swapped.answer).toEqual(uniform);
  });

  it("S-04b is refused with a key of a kind that is not ours, even when it was bound to it", async () => {
    for (const { publicKey, privateKey } of [
      generateKeyPairSync("rsa", { modulusLength: 2048 }),
      generateKeyPairSync("ec", { namedCurve: "P-384" }),
    ]) {
      const der = publicKey.export({ type: "spki", format: "der" });
      const issued = await house.issue({ way: { bound: der.toString("base64") } });
      const { answer } = await enterGate(house.proxy, { ...issued, key: privateKey, der });
      expect(answer).toEqual(uniform);
    }
  });

  it("S-48 is refused in the same words when unknown, expired, revoked or a bearer", async () => {
    const expired = await house.issueBound({ expiresAt: house.clock.now() - 1 });
    const revoked = await house.issueBound({ revokedAt: house.clock.now() });
    const bound = await house.issueBound();
    const bearer = await house.issue();
    const unknown = { ...bound, token: `sly_c_${"A".repeat(43)}` };
    for (const one of [expired, revoked, unknown, { ...bound, token: bearer.token }])
      expect((await enterGate(house.proxy, one)).answer).toEqual(uniform);
  });
});

describe("S-24 whatever else comes to the gate", () => {
  const closes = async (bytes: Buffer | string): Promise<void> => {
    const socket = await dialTcp(gatePort());
    const closed = once(socket, "close");
    socket.resume();
    socket.write(bytes);
    await closed;
  };

  it("S-24 HTTP, SSH, PostgreSQL, Redis and noise are closed at once, and nothing is logged", async () => {
    const startup = Buffer.from("0000000804d2162f", "hex");
    for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", startup, "PING\r\n", Buffer.alloc(4096, 0xff)])
      await closes(bytes);
    await empty();
    expect(house.log).toEqual([]);
  });

  it.each([
    ["another ALPN", { alpn: "http/1.1" }],
    ["TLS 1.2", { alpn: "sallyport/1", max: "TLSv1.2" as const }],
  ])("S-24 %s is refused in the handshake", async (_, options) => {
    await expect(dialTls(gatePort(), options)).rejects.toThrow();
    await empty();
  });

  it("S-24 TLS without any ALPN is closed without an answer", async () => {
    const bound = await house.issueBound();
    const socket = await dialTls(gatePort());
    const answer = readAnswer(socket);
    socket.write(
      frameOf({
        token: bound.token,
        key: bound.der.toString("base64"),
        proof: proofFor(socket, bound.token, bound.key),
      }),
    );
    await expect(answer).rejects.toThrow("closed without an answer");
    await empty();
  });

  it("S-23 a frame that is too long, empty, no JSON or not what it should be is refused", async () => {
    const tooLong = Buffer.alloc(5_000, 0x20);
    for (const one of [tooLong, Buffer.alloc(0), Buffer.from("{"), Buffer.from("null"), Buffer.from('{"token":1}')]) {
      const socket = await dialTls(gatePort(), { alpn: "sallyport/1" });
      const closed = once(socket, "close");
      socket.on("error", () => {});
      const answer = readAnswer(socket).catch(() => ({ code: "protocol" }));
      socket.write(frameOf(one));
      expect((await answer)["code"]).toBe("protocol");
      await closed;
    }
    await empty();
  });
});

describe("S-22 who dawdles", () => {
  it("S-22 at TCP, in the TLS handshake, in the frame or in the login is dropped, and others are served meanwhile", async () => {
    const quick = await house.beside({ limits: { frameMs: 150, loginMs: 150, graceMs: 50 } });
    const port = quick.ports["gate"] ?? 0;
    const slow = [await dialTcp(port), await dialTcp(port), await dialTls(port, { alpn: "sallyport/1" })];
    slow[1]?.write(Buffer.from("1603010200010001fc0303", "hex"));
    slow[2]?.write(Buffer.from([0]));
    const plainSilent = await dialTcp(quick.ports["postgres"] ?? 0);
    const plainAsking = await dialTcp(quick.ports["postgres"] ?? 0);
    plainAsking.write("STARTTLS\n");
    const closed = [...slow, plainSilent, plainAsking].map((socket) => {
      socket.on("error", () => {});
      socket.resume();
      return once(socket, "close");
    });
    await eventually(() => quick.counts().waiting === 5);
    const { token } = await house.issue();
    const { client, answer } = await logIn(quick, token);
    expect(answer).toMatch(/^WELCOME/);
    const bound = await house.issueBound();
    const { socket } = await enterGate(quick, bound);
    // through the gate, and then silent: it holds nothing for long
    const dawdling = once(socket.resume(), "close");
    await Promise.all([...closed, dawdling]);
    await eventually(() => quick.counts().waiting === 0 && quick.counts().sessions === 1);
    client.say("still here");
    expect(await client.hear()).toBe("still here");
    client.socket.destroy();
  });

  it("S-13 S-22 beyond the caps a connection is closed, per address and in all, and room comes back", async () => {
    const small = await house.beside({ limits: { waiting: { total: 3, each: 2 } } });
    const port = small.ports["postgres"] ?? 0;
    const first = await dialTcp(port);
    const second = await dialTcp(port);
    await eventually(() => small.counts().waiting === 2);
    // reset before or after the client has noticed that it was connected
    await dialTcp(port).then(
      (third) => once(third.resume(), "close"),
      () => "reset",
    );
    expect(small.counts().waiting).toBe(2);
    first.destroy();
    await eventually(() => small.counts().waiting === 1);
    const { token } = await house.issue();
    const { client, answer } = await logIn(small, token);
    expect(answer).toMatch(/^WELCOME/);
    // one that has logged in does not count
    await eventually(() => small.counts().waiting === 1);
    for (const socket of [second, client.socket]) socket.destroy();
  });
});
