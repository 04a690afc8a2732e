// Whether somebody is there to go to, as far as the table can tell in one look.
import { keys } from "@sallyport/core/family";
import { heartbeatGrace } from "@sallyport/core/session";
import { expect, it } from "vitest";
import { now, reader } from "../core/make.ts";
import { makeUser, openWorld } from "./world.ts";

/** A database that ana's role reaches, and a proxy that is there. */
const open = async () => {
  const world = openWorld();
  await world.addRoles(reader);
  await world.addDatabases({});
  await world.addProxy();
  const token = await world.loginAs(makeUser("ana", [reader.name]));
  return { ...world, token };
};

it.each<[string, object]>([
  ["starting without any proxy", { network: "other" }],
  ["starting while its proxy drains", { draining: true }],
  ["starting when its proxy has left", { heartbeatAt: 0 }],
  ["starting when its proxy's heartbeat has not changed for long", { seenAt: now - heartbeatGrace }],
  ["starting when its proxy's heartbeat is of another time", { heartbeatAt: now - 6 * 60_000 }],
])("a connect token's answer is %s", async (_, proxy) => {
  const world = await open();
  await world.addProxy(proxy);
  const { body } = await world.call("connect", { database: "orders" }, world.token);
  expect([body.state, body.retryAfter]).toEqual(["starting", 5]);
});
it.each([5, -5])("S-50 it is ready where the proxy's clock is %i minutes off", async (minutes) => {
  const world = await open();
  await world.addProxy({ heartbeatAt: now + minutes * 60_000, seenAt: now - heartbeatGrace + 1 });
  expect((await world.call("connect", { database: "orders" }, world.token)).body.state).toBe("ready");
});
it("a connect token is not held up by a proxy's item that can't be read", async () => {
  const world = await open();
  await world.put([keys.proxy("odd"), { heartbeatAt: 1 }]);
  expect((await world.call("connect", { database: "orders" }, world.token)).body.state).toBe("ready");
});
