// Cancels: with our own keys, on whichever task they arrive, and nothing for those who guess.
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { keys, toItem } from "@sallyport/core/family";
import { secret } from "@sallyport/core/secret";
import { heartbeatGrace } from "@sallyport/core/session";
import { readFrame, sendFrame } from "@sallyport/proxy/frame";
import { encodeRequest, readRequest } from "@sallyport/proxy/peer";
import type { RunningProxy } from "@sallyport/proxy/proxy";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { arrive, dialTcp, enterGate, eventually, type House, logIn, openHouse, type Talk, talk } from "./house.ts";

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

describe("peers", () => {
  it.each([4, -4])("S-50 S-29 cancel for each other with a clock that is %i minutes off", async (minutes) => {
    const beside = await house.beside({ clock: { now: () => house.clock.now() + minutes * 60_000 } });
    for (const [own, other] of [
      [house.proxy, beside],
      [beside, house.proxy],
    ] as const) {
      const { client, key } = await enter(own);
      await cancel(other, key);
      expect(await client.hear()).toBe("CANCELLED");
    }
  });

  it("S-50 are asked while their heartbeat changes, by whatever clock, and no more when it has stopped", async () => {
    let asked = 0;
    const peer = createServer((socket) => {
      asked += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => void peer.listen(0, "127.0.0.1", resolve));
    const { port } = peer.address() as { port: number };
    const task = { id: "prx_odd", address: "127.0.0.1", peerPort: port, network: "default", version: "test" };
    const beat = (heartbeatAt: number) => {
      const item = { ...task, startedAt: 0, heartbeatAt, draining: false, sessions: 0 };
      return house.store.write({ put: toItem(keys.proxy(task.id), item) });
    };
    try {
      await beat(1);
      await cancel(house.proxy, "one");
      house.steady.move(heartbeatGrace);
      await beat(2);
      await cancel(house.proxy, "two");
      expect(asked).toBe(2);
      house.steady.move(heartbeatGrace);
      await cancel(house.proxy, "three");
      expect(asked).toBe(2);
      await beat(3);
      house.steady.move(heartbeatGrace);
      await cancel(house.proxy, "four");
      expect(asked).toBe(3);
    } finally {
      peer.close();
    }
  });
});

describe("a peer's frame", () => {
  const key = secret("deployment-cancel-key");
  it("S-29 is good for the number it was made for alone, and only with the deployment's key", () => {
    const [one, other] = [randomBytes(32), randomBytes(32)];
    const good = encodeRequest(key, one, "n");
    expect(readRequest(key, one, good)).toBe("n");
    expect(readRequest(key, other, good)).toBeUndefined();
    expect(readRequest(secret("another"), one, good)).toBeUndefined();
    for (let at = 0; at < good.length; at += 1) {
      const bent = Buffer.from(good);
      bent[at] = (bent[at] ?? 0) ^ 1;
      expect(readRequest(key, one, bent)).toBeUndefined();
    }
    expect(readRequest(key, one, Buffer.alloc(10))).toBeUndefined();
  });

  it("S-29 S-24 that is not ours is closed without a word, and a replayed one does nothing", async () => {
    const port = house.proxy.ports["peer"] ?? 0;
    const send = async (bytes: Buffer | string): Promise<string> => {
      const socket = await dialTcp(port);
      await readFrame(socket, 32);
      const talking = talk(socket);
      socket.write(bytes);
      return talking.hear();
    };
    expect(await send("GET / HTTP/1.1\r\n\r\n")).toBe("end");
    expect(await send(Buffer.from([0, 40, ...randomBytes(40)]))).toBe("end");
    expect(await send(Buffer.from([0xff, 0xff]))).toBe("end");
    expect(house.log).toEqual([]);
  });

  it("S-29 that cancelled once does nothing when it comes again", async () => {
    const { client, key: cancelKey } = await enter();
    const name = createHmac("sha256", key.reveal()).update(`cancel\0postgres\0${cancelKey}`).digest("base64url");
    const dial = async (): Promise<{ socket: Socket; number: Buffer }> => {
      const socket = await dialTcp(house.proxy.ports["peer"] ?? 0);
      return { socket, number: await readFrame(socket, 32) };
    };
    const send = async (socket: Socket, frame: Buffer): Promise<void> => {
      const closed = once(socket.resume(), "close");
      sendFrame(socket, frame);
      await closed;
    };
    const first = await dial();
    const frame = encodeRequest(key, first.number, name);
    await send(first.socket, frame);
    expect(await client.hear()).toBe("CANCELLED");
    await send((await dial()).socket, frame);
    client.say("untouched");
    expect(await client.hear()).toBe("untouched");
  });
});
