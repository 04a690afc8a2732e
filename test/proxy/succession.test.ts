// A newer revision beside an older one: who asks the balancer for nobody, when, and how it ends.
import { keys } from "@sallyport/core/family";
import type { Protection } from "@sallyport/proxy/protection";
import { afterEach, beforeEach, expect, it } from "vitest";
import { eventually, type House, logIn, openHouse } from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

const health = async (proxy: House["proxy"]): Promise<number> =>
  (await fetch(`http://127.0.0.1:${proxy.ports["health"]}/`)).status;

/** What was wanted last. */
const openWanted = () => {
  let wanted: boolean | undefined;
  const protection: Protection = {
    active: () => wanted ?? false,
    want: async (is) => {
      wanted = is;
    },
  };
  return { protection, wanted: () => wanted };
};

/** Both clocks on and each proxy's tick, as often as there are seconds. */
const pass = async (seconds: number, ...proxies: readonly House["proxy"][]): Promise<void> => {
  for (let second = 0; second < seconds; second += 1) {
    await house.pass(1);
    for (const proxy of proxies) await proxy.tick();
  }
};

it("an older task makes way, keeps its sessions, and is protected until they have ended", async () => {
  const { protection, wanted } = openWanted();
  const old = await house.beside({ revision: 9, protection });
  const { token } = await house.issue();
  const { client } = await logIn(old, token);
  await pass(30, old);
  expect(await health(old)).toBe(200);
  expect(wanted()).toBe(true);
  const next = await house.beside({ revision: 10 });
  await pass(25, old, next);
  expect(await health(old)).toBe(503);
  expect(await health(next)).toBe(200);
  expect(await house.store.get(keys.proxy(old.id))).toMatchObject({ draining: true, revision: 9, sessions: 1 });
  client.say("still served");
  expect(await client.hear()).toBe("still served");
  expect(wanted()).toBe(true);
  // whoever the balancer still sends is served too: it stops when it has noticed
  const late = await logIn(old, (await house.issue()).token);
  expect(late.answer).not.toContain("draining");
  expect(old.counts().sessions).toBe(2);
  for (const { socket } of [client, late.client]) socket.end();
  await eventually(() => old.counts().sessions === 0);
  await pass(1, old);
  expect(wanted()).toBe(false);
});

it("when their time is over, sessions end in their own words, and nobody new is let in", async () => {
  const { protection, wanted } = openWanted();
  const old = await house.beside({ revision: 1, drainForMs: 60_000, protection });
  const next = await house.beside({ revision: 2 });
  const { token } = await house.issue();
  const { client } = await logIn(old, token);
  await pass(60, old, next);
  expect(await health(old)).toBe(503);
  expect(old.counts().sessions).toBe(1);
  await pass(20, old, next);
  expect(await client.hear()).toBe("CUT draining this proxy is going away");
  await eventually(() => old.counts().sessions === 0);
  await pass(1, old);
  expect(wanted()).toBe(false);
  const { answer } = await logIn(old, token);
  expect(answer).toContain("draining");
});

it("a newer revision that does not stay moves nobody, and one that goes again is forgotten", async () => {
  const old = await house.beside({ revision: 1 });
  const brief = await house.beside({ revision: 2 });
  await pass(6, old, brief);
  await brief.drain(0);
  await pass(30, old);
  expect(await health(old)).toBe(200);
  const failing = await house.beside({ revision: 2 });
  await pass(20, old, failing);
  expect(await health(old)).toBe(503);
  await failing.drain(0);
  await pass(6, old);
  expect(await health(old)).toBe(200);
});

it.each([
  ["the same revision", { revision: 5 }],
  ["an older one, though its number begins with a higher digit", { revision: 4 }],
  ["one of another network", { revision: 6, network: "elsewhere" }],
  ["one that says none", {}],
])("no way is made for %s", async (_, over) => {
  const task = await house.beside({ revision: 5 });
  const other = await house.beside(over);
  await pass(30, task, other);
  expect(await health(task)).toBe(200);
});

it("what can't be read, or is of a version that is not known, changes nothing", async () => {
  const task = await house.beside({ revision: 5 });
  await house.store.write({ put: { ...keys.proxy("prx_x"), v: 99, revision: 6, heartbeatAt: house.clock.now() } });
  await pass(30, task);
  expect(await health(task)).toBe(200);
  house.store.fault.break();
  await pass(12, task);
  expect(await health(task)).toBe(200);
  house.store.fault.mend();
});

it.each([60, 5, -5, -60])("S-50 way is made for one whose clock is %i minutes off", async (minutes) => {
  const old = await house.beside({ revision: 9 });
  const next = await house.beside({ revision: 10, clock: { now: () => house.clock.now() + minutes * 60_000 } });
  await pass(25, old, next);
  expect(await health(old)).toBe(503);
  expect(await health(next)).toBe(200);
});

it("one that beat once and fell silent moves nobody", async () => {
  const task = await house.beside({ revision: 5 });
  const silent = { id: "prx_s", address: "127.0.0.1", peerPort: 1, network: "default", version: "test", revision: 6 };
  const item = { ...silent, startedAt: 0, heartbeatAt: house.clock.now(), draining: false, sessions: 0 };
  await house.store.write({ put: { ...keys.proxy("prx_s"), v: 1, ...item } });
  await pass(40, task);
  expect(await health(task)).toBe(200);
});
