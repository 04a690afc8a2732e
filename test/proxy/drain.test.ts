// Coming and going: the heartbeat, the balancer's question, and a drain that tells everybody.
import { get } from "node:http";
import { keys, readAll } from "@sallyport/core/family";
import { isAlive, ProxyTask } from "@sallyport/core/session";
import { afterEach, beforeEach, expect, it } from "vitest";
import { dialTcp, eventually, type House, logIn, openHouse } from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

const health = (port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    }).on("error", reject);
  });
const tasks = (): Promise<ProxyTask[]> => readAll(house.store, ProxyTask, "proxy#");

it("says every five seconds that it lives, and with how many sessions", async () => {
  expect(await tasks()).toMatchObject([
    { id: "prx_1", draining: false, sessions: 0, peerPort: house.proxy.ports["peer"] },
  ]);
  const { token } = await house.issue();
  const { client } = await logIn(house.proxy, token);
  await house.pass(60);
  const [task] = await tasks();
  expect(task).toMatchObject({ sessions: 1 });
  expect(task && isAlive(task, house.clock.now())).toBe(true);
  client.socket.destroy();
});

it("does not start when the table can't be read", async () => {
  house.store.fault.break();
  await expect(house.beside()).rejects.toMatchObject({ code: "unavailable" });
});

it("is healthy while it serves, and not when nothing new can be recorded", async () => {
  const port = house.proxy.ports["health"] ?? 0;
  expect(await health(port)).toBe(200);
  house.sink.fillTo(0.9);
  expect(await health(port)).toBe(503);
  house.sink.fillTo(0);
  expect(await health(port)).toBe(200);
});

it("draining takes nobody new, waits for sessions, and ends the rest in their own words", async () => {
  const leaving = await house.beside();
  const { token } = await house.issue();
  const quick = await logIn(leaving, token);
  const lasting = await logIn(leaving, token);
  const waiting = await dialTcp(leaving.ports["postgres"] ?? 0);
  const drained = leaving.drain(300);
  expect(await health(leaving.ports["health"] ?? 0)).toBe(503);
  await expect(dialTcp(leaving.ports["postgres"] ?? 0)).rejects.toThrow("ECONNREFUSED");
  await expect(dialTcp(leaving.ports["gate"] ?? 0)).rejects.toThrow("ECONNREFUSED");
  quick.client.say("still served");
  expect(await quick.client.hear()).toBe("still served");
  quick.client.socket.end();
  expect(await lasting.client.hear()).toBe("CUT draining this proxy is going away");
  waiting.destroy();
  await drained;
  const sessions = house.store.items().filter((item) => item.pk === "session#prx_2");
  expect(sessions.map((item) => [item["state"], item["reason"]]).sort()).toEqual([
    ["ended", "client"],
    ["ended", "draining: this proxy is going away"],
  ]);
  const gone = await house.store.get(keys.proxy("prx_2"));
  expect(gone).toMatchObject({ draining: true, sessions: 0, heartbeatAt: 0 });
  await expect(dialTcp(leaving.ports["health"] ?? 0)).rejects.toThrow("ECONNREFUSED");
  expect(leaving.counts()).toEqual({ waiting: 0, sessions: 0, owed: 0 });
});

it("drains at once when nobody is there, although the table is gone", async () => {
  const leaving = await house.beside();
  house.store.fault.break();
  await leaving.drain(60_000);
  expect(house.log.map(({ message }) => message)).toContain("the heartbeat can't be written");
});

it("S-42 goes with its audit although the table stands still: the sink is not kept waiting for it", async () => {
  const closed = Promise.withResolvers<void>();
  const sink = {
    ...house.sink,
    close: async (): Promise<void> => {
      await house.sink.close();
      closed.resolve();
    },
  };
  const leaving = await house.beside({ sink });
  const table = Promise.withResolvers<void>();
  house.store.fault.hold(table.promise);
  const drained = leaving.drain(0);
  await closed.promise;
  table.resolve();
  await drained;
});

it("ends a session whose client takes no words", async () => {
  const leaving = await house.beside();
  const { token } = await house.issue();
  const { client } = await logIn(leaving, token);
  client.socket.pause();
  client.socket.removeAllListeners("data");
  await leaving.drain(0);
  expect(leaving.counts()).toEqual({ waiting: 0, sessions: 0, owed: 0 });
  await eventually(() => house.database.live() === 0);
  client.socket.destroy();
});
