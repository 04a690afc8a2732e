// S-49: what costs is bounded for those who are let in too, for each by themselves, and comes back with the next quarter of an hour.
import { keys } from "@sallyport/core/family";
import { discoveries, examinations, loginsOf, tokensOf } from "@sallyport/core/quota";
import type { Throttle } from "@sallyport/core/throttle";
import { expect, it } from "vitest";
import { makeRole, reader } from "../core/make.ts";
import { makeUser, openWorld } from "./world.ts";

const password = "correct horse battery";
const minute = 60_000;

const open = async () => {
  const world = openWorld();
  await world.addRoles(reader, makeRole("r", {}));
  await world.addDatabases({});
  await world.addProxy();
  const root = await world.loginAs(makeUser("root", ["admin"]));
  const ana = await world.loginAs(makeUser("ana", [reader.name]));
  const bob = await world.loginAs(makeUser("bob", [reader.name]));
  /** All but one of the turns are taken. */
  const nearly = async ({ who, most = 0, windowFor }: Throttle) => {
    const key = keys.loginAttempts(`${who}#${Math.floor(world.clock.now() / windowFor)}`);
    await world.put([key, { count: most - 1 }]);
  };
  return { ...world, root, ana, bob, nearly };
};

it("S-49 a flood of token requests ends for that user alone, refused ones counted too", async () => {
  const world = await open();
  await world.nearly(tokensOf("ana"));
  expect((await world.call("connect", { database: "nowhere" }, world.ana)).status).toBe(404);
  const over = await world.call("connect", { database: "orders" }, world.ana);
  expect(over.status).toBe(429);
  expect(over.body.error).toMatchObject({ code: "too_many", hint: expect.stringMatching(/try again in \d+ min/) });
  const denied = world.events("token.deny").length;
  await world.call("connect", { database: "nowhere" }, world.ana);
  expect(world.events("token.deny")).toHaveLength(denied);
  expect((await world.call("connect", { database: "orders" }, world.bob)).status).toBe(200);
  world.clock.pass(15 * minute);
  expect((await world.call("connect", { database: "orders" }, world.ana)).status).toBe(200);
});

it("S-49 right passwords make a hundred logins in a quarter of an hour, and no more", async () => {
  const world = await open();
  const { body } = await world.call("invite", { user: "eve", roles: [] }, world.root);
  await world.call("acceptInvite", { invite: body.invite, password });
  await world.nearly(loginsOf("eve"));
  const login = () => world.call("login", { user: "eve", password });
  expect((await login()).status).toBe(200);
  expect((await login()).status).toBe(429);
  world.clock.pass(15 * minute);
  expect((await login()).status).toBe(200);
});

it("S-49 discovery and looks at databases are started so often, by whomever", async () => {
  const world = await open();
  await world.nearly(discoveries);
  await world.nearly(examinations);
  const start = () => world.call("discover", {}, world.root);
  const first = await start();
  expect(first.status).not.toBe(429);
  expect((await start()).status).toBe(429);
  expect((await world.call("doctor", {}, world.root)).status).not.toBe(429);
  expect((await world.call("doctor", {}, world.root)).status).toBe(429);
});
