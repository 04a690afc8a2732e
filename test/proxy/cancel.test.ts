// Cancels: with our own keys, on whichever task they arrive, and nothing for those who guess.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { keys, toItem } from "@sallyport/core/family";
import { secret } from "@sallyport/core/secret";
import { encodeRequest, openRequests, peerWindow } from "@sallyport/proxy/peer";
import type { RunningProxy } from "@sallyport/proxy/proxy";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  arrive,
  dialTcp,
  enterGate,
  eventually,
  type House,
  logIn,
  makeClock,
  openHouse,
  type Talk,
  talk,
} from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

const enter = async (proxy = house.proxy): Promise<{ client: Talk; key: string }> => {
  const { token } = await house.issue();
  const { client, answer } = await logIn(proxy, token);
  expect(answer).toMatch(/^WELCOME/);
  return { client, key: answer.slice(8) };
};
/** Sends a cancel and waits for the end of its connection, as libpq does. */
const cancel = async (proxy: RunningProxy, key: string): Promise<void> => {
  const asking = await arrive(proxy);
  asking.say(`CANCEL ${key}`);
  expect(await asking.hear()).toBe("end");
};

describe("a cancel", () => {
  it("S-29 hits the session its key was given to, and is over when its connection ends", async () => {
    const { client, key } = await enter();
    const other = await enter();
    await cancel(house.proxy, key);
    expect(await client.hear()).toBe("CANCELLED");
    other.client.say("untouched");
    expect(await other.client.hear()).toBe("untouched");
    expect(house.sink.records.filter(({ event }) => event === "session.cancel")).toHaveLength(1);
    await eventually(() => house.store.items().some((item) => item["name"] === "session.cancel"));
  });

  it("S-29 finds a session on another task, through a peer", async () => {
    const beside = await house.beside();
    const { client, key } = await enter(house.proxy);
    await cancel(beside, key);
    expect(await client.hear()).toBe("CANCELLED");
  });

  it("comes through the gate as well", async () => {
    const { client, key } = await enter();
    const { socket } = await enterGate(house.proxy, await house.issueBound());
    const asking = talk(socket);
    asking.say(`CANCEL ${key}`);
    expect(await asking.hear()).toBe("end");
    expect(await client.hear()).toBe("CANCELLED");
    await eventually(() => house.proxy.counts().sessions === 1);
  });

  it("S-29 with an unknown, old or foreign key does nothing and leaves no trace", async () => {
    const beside = await house.beside();
    const { client, key } = await enter();
    client.socket.destroy();
    await eventually(() => house.proxy.counts().sessions === 0);
    const live = await enter();
    for (const one of [key, "", "0".repeat(16), live.key.toUpperCase().replace(/\d/g, "0"), "__proto__"]) {
      await cancel(house.proxy, one);
      await cancel(beside, one);
    }
    live.client.say("untouched");
    expect(await live.client.hear()).toBe("untouched");
    expect(house.log.filter(({ message }) => message !== "a session began")).toEqual([]);
    expect(house.sink.records.filter(({ event }) => event === "session.cancel")).toEqual([]);
  });

  it("S-29 S-40 keeps the key itself out of the table, the log and the audit", async () => {
    const beside = await house.beside();
    const { client, key } = await enter();
    await cancel(beside, key);
    await client.hear();
    expect(JSON.stringify([house.log, house.store.items(), house.sink.records])).not.toContain(key);
  });

  it("S-29 may be asked for only so often", async () => {
    const strict = await house.beside({
      limits: { cancels: { total: { burst: 100, perSecond: 0 }, each: { burst: 3, perSecond: 1 } } },
    });
    const { client, key } = await enter(strict);
    for (let at = 0; at < 3; at += 1) await cancel(strict, randomBytes(8).toString("hex"));
    await cancel(strict, key);
    client.say("untouched");
    expect(await client.hear()).toBe("untouched");
    house.steady.move(1_000);
    await cancel(strict, key);
    expect(await client.hear()).toBe("CANCELLED");
  });

  it("ends although a peer is dead, and reads the peers at most every 10 s", async () => {
    const dead = await dialTcp(house.proxy.ports["health"] ?? 0);
    const port = dead.localPort ?? 1;
    const closed = once(dead.resume(), "close");
    dead.destroy();
    await closed;
    const task = { id: "prx_dead", address: "127.0.0.1", peerPort: port, network: "default", version: "test" };
    const now = house.clock.now();
    const item = { ...task, startedAt: now, heartbeatAt: now, draining: false, sessions: 0 };
    await house.store.write({ put: toItem(keys.proxy("prx_dead"), item) });
    await cancel(house.proxy, "unknown");
    house.store.fault.break();
    await cancel(house.proxy, "unknown");
    house.store.fault.mend();
    expect(house.log).toEqual([]);
  });
});

describe("a peer's frame", () => {
  const key = secret("deployment-cancel-key");
  const now = 1_000_000_000;
  const frame = (over: { name?: string; at?: number; nonce?: string } = {}, by = key): Buffer =>
    encodeRequest(by, { name: "n", at: now, nonce: randomBytes(16).toString("hex"), ...over }).subarray(2);

  it("S-29 counts once, for a minute, and only with the deployment's key", () => {
    const clock = makeClock(now);
    const open = openRequests(key, clock);
    const good = frame();
    expect(open(good)).toBe("n");
    expect(open(good)).toBeUndefined();
    expect(open(frame({ at: now - peerWindow - 1 }))).toBeUndefined();
    expect(open(frame({ at: now + peerWindow + 1 }))).toBeUndefined();
    expect(open(frame({ at: now - peerWindow }))).toBe("n");
    expect(open(frame({}, secret("another")))).toBeUndefined();
    const bent = frame();
    bent[bent.length - 3] = (bent[bent.length - 3] ?? 0) ^ 1;
    expect(open(bent)).toBeUndefined();
    expect(open(Buffer.alloc(10))).toBeUndefined();
    // long after, its nonce may be forgotten: its time has passed as well
    clock.move(peerWindow * 3);
    expect(open(good)).toBeUndefined();
  });

  it("S-29 S-24 that is not ours is closed without a word, and a replayed one does nothing", async () => {
    const port = house.proxy.ports["peer"] ?? 0;
    const send = async (bytes: Buffer | string): Promise<string> => {
      const socket = talk(await dialTcp(port));
      socket.socket.write(bytes);
      return socket.hear();
    };
    expect(await send("GET / HTTP/1.1\r\n\r\n")).toBe("end");
    expect(await send(Buffer.from([0, 40, ...randomBytes(40)]))).toBe("end");
    expect(await send(Buffer.from([0xff, 0xff]))).toBe("end");
    expect(house.log).toEqual([]);
  });
});
