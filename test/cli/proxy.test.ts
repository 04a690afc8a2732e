// The tunnel against the real proxy: its gate takes our proof, its words reach our user, a lock ends what is open.
import { connect } from "node:net";
import { keepPass } from "@sallyport/cli/pass";
import { openTunnel, type Tunnel } from "@sallyport/cli/tunnel";
import type { Failure } from "@sallyport/core/failure";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type House, openHouse, talk, testCertificate } from "../proxy/house.ts";
import { type Api, serveApi } from "./api.ts";
import { hour, makeAnswer, makeWorld, type World } from "./world.ts";

let house: House;
let world: World;
let api: Api;
let tunnel: Tunnel;
const failures: Failure[] = [];
const issued: string[] = [];
beforeEach(async () => {
  failures.length = 0;
  issued.length = 0;
  house = await openHouse();
  world = makeWorld();
  const { ca, pin } = await testCertificate();
  api = await serveApi({
    connect: async ({ key = "" }) => {
      const { token, id } = await house.issue({ way: { bound: key } });
      issued.push(id);
      const gate = { host: "127.0.0.1", port: house.proxy.ports["gate"] ?? 0, pins: [pin], ca };
      return makeAnswer({ gate, token, id, expiresAt: world.clock.now() + hour });
    },
  });
  world.loggedIn(api.url);
  const keeper = await keepPass({ ...world.context, exit: () => {} }, { database: "orders" });
  tunnel = await openTunnel(keeper, 0, (failure) => failures.push(failure));
});
afterEach(async () => {
  await tunnel.close();
  await api.close();
  world.close();
  await house.close();
});
const dial = () => talk(connect({ host: tunnel.host, port: tunnel.port }));

it("S-04b opens sessions with a token bound to its key, as often as it likes", async () => {
  for (let at = 0; at < 3; at += 1) {
    const client = dial();
    client.say("LOGIN reader orders any-password");
    expect(await client.hear()).toMatch(/^WELCOME/);
    client.say("hello");
    expect(await client.hear()).toBe("hello");
  }
  expect(issued).toHaveLength(1);
  expect(failures).toEqual([]);
});

it("asks for another token when the one it has was revoked", async () => {
  await house.revoke(issued[0] ?? "");
  const client = dial();
  client.say("LOGIN reader orders any-password");
  expect(await client.hear()).toMatch(/^WELCOME/);
  expect(issued).toHaveLength(2);
});

it("says in the gate's words why nothing opens any more", async () => {
  await house.lock({ user: "ana" });
  dial().say("LOGIN reader orders any-password");
  await expect.poll(() => failures.length).toBe(1);
  expect(failures[0]).toMatchObject({ code: "denied", message: expect.stringContaining("locked") });
});
