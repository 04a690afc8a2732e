// What the one login does for a protocol whose server speaks first: a database dialled before anybody asked to log in, and keys
// that are no secret, as MySQL's connection ids are.
import { changeAccess } from "@sallyport/core/epoch";
import { keys, toItem } from "@sallyport/core/family";
import type { AnyProtocol } from "@sallyport/proxy/login";
import { afterEach, beforeEach, expect, it } from "vitest";
import { arrive, enterGate, eventually, type House, logIn, openHouse, talk } from "./house.ts";
import { lines } from "./lines.ts";

let house: House;
/** Lines, whose gate dials first, and whose sessions can be named by the order they came in. */
const speaksFirst = (): AnyProtocol => {
  let count = 0;
  return {
    ...lines,
    accept: async (socket, gate) => {
      if (gate.arrived) await gate.arrived.upstream.tcp();
      return lines.accept(socket, gate);
    },
    welcome: async (client, server, own) => {
      const number = ++count;
      own.register(`cancel-${number}`, { from: "self" });
      own.register(`end-${number}`, { from: "self", ends: true });
      await lines.welcome(client, server as never, own);
    },
    relay: (client, server, live) => {
      client.socket.on("data", (chunk: Buffer) => {
        const [verb, key = ""] = chunk.toString().trimEnd().split(/ (.*)/);
        if (verb === "use-key") void live.cancel(key);
      });
      return lines.relay(client, server as never, live);
    },
  } as AnyProtocol;
};
beforeEach(async () => {
  house = await openHouse({ protocols: { postgres: speaksFirst() } });
});
afterEach(() => house.close());

it("a database that was dialled for a client that never logs in is let go with it", async () => {
  const { socket, answer } = await enterGate(house.proxy, await house.issueBound());
  expect(answer).toEqual({ ok: true });
  await eventually(() => house.database.connections() === 1);
  expect(house.database.logins).toEqual([]);
  socket.destroy();
  await eventually(() => house.database.connections() === 0);
  await eventually(() => house.proxy.counts().sessions === 0);
});

it("a database that was dialled early is let go at the session's end, whatever the protocol did with it", async () => {
  const { socket } = await enterGate(house.proxy, await house.issueBound());
  const client = talk(socket);
  client.say("LOGIN reader orders");
  expect(await client.hear()).toMatch(/^WELCOME/);
  await eventually(() => house.database.connections() === 2);
  socket.destroy();
  await eventually(() => house.database.connections() === 0);
});

it("S-29 a key that is no secret cancels, or ends, a session of the same user on the same database", async () => {
  const first = await logIn(house.proxy, (await house.issue()).token);
  const second = await logIn(house.proxy, (await house.issue()).token);
  second.client.say("use-key cancel-1");
  expect(await first.client.hear()).toBe("CANCELLED");
  second.client.say("use-key end-1");
  expect(await first.client.hear()).toBe("CUT ended the session was ended by its own user");
});

it("S-29 another user's session is not touched by it, nor by whoever says the bare key at the door", async () => {
  const eve = {
    name: "eve",
    roles: ["dev"],
    traits: {},
    state: "active",
    createdAt: 0,
    createdBy: "root",
    revision: 1,
  };
  await changeAccess(house.store, { put: toItem(keys.user("eve"), eve) });
  const first = await logIn(house.proxy, (await house.issue()).token);
  // the same database user on the same database, and another person
  const second = await logIn(house.proxy, (await house.issue({ user: "eve" })).token);
  expect(second.answer).toMatch(/^WELCOME/);
  second.client.say("use-key cancel-1");
  expect(await second.client.hear()).toBe("use-key cancel-1");
  second.client.say("use-key end-1");
  expect(await second.client.hear()).toBe("use-key end-1");
  const outside = await arrive(house.proxy);
  outside.say("CANCEL cancel-1");
  expect(await outside.hear()).toBe("end");
  first.client.say("still here");
  expect(await first.client.hear()).toBe("still here");
  expect(house.database.cancels).toEqual([]);
});
