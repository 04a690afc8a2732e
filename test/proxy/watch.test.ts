// The watch over live sessions: what changes in the table reaches them within seconds; what time takes, time takes.
import { keys } from "@sallyport/core/family";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allow, eventually, type House, logIn, openHouse, type Talk } from "./house.ts";
import { lines } from "./lines.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

const enter = async (over: Parameters<House["issue"]>[0] = {}): Promise<{ client: Talk; id: string }> => {
  const { token, id } = await house.issue(over);
  const { client, answer } = await logIn(house.proxy, token, over.dbUser === undefined ? {} : { user: over.dbUser });
  expect(answer).toMatch(/^WELCOME/);
  return { client, id };
};
const isAlive = async (client: Talk): Promise<boolean> => {
  client.say("alive?");
  return (await client.hear()) === "alive?";
};
const sessionItems = () => house.store.items().filter((item) => item.pk.startsWith("session#"));

describe("S-08 a change cuts live sessions within 5 s", () => {
  it.each([
    ["a lock on the user", () => house.lock({ user: "ana" }), "user ana is locked: gone"],
    ["a lock on the role", () => house.lock({ role: "dev" }), "role dev is locked: gone"],
    ["a lock on the database", () => house.lock({ database: "orders" }), "database orders is locked: gone"],
    ["a role that allows less", () => house.setRole({ allow: { ...allow, db_names: ["stock"] } }), "role dev matches"],
    ["a role that denies", () => house.setRole({ allow, deny: { db_users: ["*"] } }), "role dev denies"],
    ["a role that is broken", () => house.setRole({ allow: { db_users: 7 } }), "role dev can't be read"],
    ["a user who lost the role", () => house.setUser({ roles: ["admin"] }), "holds no role"],
    ["a disabled user", () => house.setUser({ state: "disabled" }), "user ana is disabled"],
    ["a namesake who came later", () => house.setUser({ createdAt: house.clock.now() }), "user ana is gone"],
    ["other labels", () => house.setDatabase({ labels: {} }), "its labels do not match"],
    ["another database of that name", () => house.setDatabase({ resourceId: "db-OTHER" }), "was replaced"],
  ])("S-08 %s", async (_, change, reason) => {
    const { client } = await enter();
    await house.pass(3);
    expect(await isAlive(client)).toBe(true);
    await change();
    await house.pass(4);
    const words = await client.hear();
    expect(words).toMatch(/^CUT ended the session ended: /);
    expect(words).toContain(reason);
    expect(await client.hear()).toBe("end");
    await eventually(() => sessionItems()[0]?.["state"] === "ended");
    expect(sessionItems()[0]?.["reason"]).toContain(reason);
    expect(house.proxy.counts().sessions).toBe(0);
  });

  it("S-08 a token of somebody removed opens nothing for a namesake who came later", async () => {
    const { token } = await house.issue();
    await house.setUser({ createdAt: house.clock.now() + 1000 });
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR denied there is no user ana any more/);
  });

  it("S-08 what a session runs is cancelled when it is cut, and not when it ends by itself", async () => {
    const { client } = await enter();
    await house.lock({ user: "ana" });
    await house.pass(4);
    expect(await client.hear()).toMatch(/^CUT/);
    await eventually(() => house.database.cancels.length === 1);
    await eventually(() => house.database.live() === 0);
    expect(house.database.cancels).toEqual([String(house.database.logins.length)]);
  });

  it("S-08 a revoked token ends its sessions and no other's", async () => {
    const { client, id } = await enter();
    const other = await enter();
    await house.revoke(id);
    await house.pass(4);
    expect(await client.hear()).toBe("CUT ended the session ended: its token was revoked");
    expect(await isAlive(other.client)).toBe(true);
  });

  it("S-08 a lock on one session ends that one", async () => {
    const first = await enter();
    const other = await enter({ dbUser: "writer" });
    const id = sessionItems().find((item) => item["dbUser"] === "reader")?.sk ?? "";
    await house.lock({ session: id });
    await house.pass(4);
    expect(await first.client.hear()).toMatch(/^CUT ended .*locked/);
    expect(await isAlive(other.client)).toBe(true);
  });

  it("S-08 a change that came while a session was logging in is seen", async () => {
    const { token } = await house.issue();
    house.database.behave("hang");
    const pending = logIn(house.proxy, token);
    await eventually(() => house.database.logins.length === 1);
    await house.lock({ user: "ana" });
    await house.pass(4);
    expect((await pending).answer).toMatch(/^ERR ended the session ended: user ana is locked/);
    expect(house.proxy.counts().sessions).toBe(0);
  });

  it("leaves alone what is still allowed, with the new options", async () => {
    const { client } = await enter();
    await house.setRole({ allow, options: { client_idle_timeout: "10s" } });
    await house.pass(4);
    expect(await isAlive(client)).toBe(true);
    await house.pass(12);
    expect(await client.hear()).toBe("CUT ended the session was idle for 10s");
  });

  it("asks the table once for a change, and at most every two seconds when it never rests", async () => {
    const { getMany } = house.store;
    let reads = 0;
    const watched = await house.beside({
      store: {
        ...house.store,
        getMany: (wanted) => {
          reads += 1;
          return getMany(wanted);
        },
      },
    });
    const { token } = await house.issue();
    const { client } = await logIn(watched, token);
    await house.pass(3);
    reads = 0;
    await house.setUser({ traits: { team: ["shop"] } });
    await house.pass(10);
    expect(reads).toBe(1);
    for (let second = 0; second < 10; second += 1) {
      await house.setUser({ traits: { second: [String(second)] } });
      await house.pass(1);
    }
    expect(reads).toBeLessThanOrEqual(7);
    expect(await isAlive(client)).toBe(true);
  });

  it("a change nobody counted is seen within a minute", async () => {
    const { client } = await enter();
    const user = await house.store.get(keys.user("ana"));
    if (user) await house.store.write({ put: { ...user, state: "disabled" } });
    await house.pass(50);
    expect(await isAlive(client)).toBe(true);
    await house.pass(12);
    expect(await client.hear()).toMatch(/^CUT ended .*disabled/);
  });
});

describe("time", () => {
  it("ends a session when its grant ends, not when its token expires", async () => {
    await house.setRole({ allow, options: { max_session_ttl: "20m" } });
    const { client, id } = await enter();
    await house.pass(2);
    house.clock.move(16 * 60_000);
    house.steady.move(16 * 60_000);
    // the table has tidied the expired token away
    await house.store.write({ remove: keys.connectToken(id) });
    await house.pass(2);
    expect(await isAlive(client)).toBe(true);
    house.clock.move(4 * 60_000);
    house.steady.move(4 * 60_000);
    await house.pass(1);
    expect(await client.hear()).toMatch(/^CUT ended the session's time is over/);
  });

  it("ends a session whose token is gone before its time", async () => {
    const { client, id } = await enter();
    await house.store.transact([{ remove: keys.connectToken(id) }, { update: keys.epoch(), add: { epoch: 1 } }]);
    await house.pass(4);
    expect(await client.hear()).toMatch(/its token is gone/);
  });

  it("keeps a busy session and ends an idle one", async () => {
    await house.setRole({ allow, options: { client_idle_timeout: "10s" } });
    const { client } = await enter();
    for (let at = 0; at < 4; at += 1) {
      await house.pass(6);
      expect(await isAlive(client)).toBe(true);
    }
    await house.pass(12);
    expect(await client.hear()).toBe("CUT ended the session was idle for 10s");
  });

  it("S-50 a clock that jumps back does not lengthen a session, one that jumps ahead ends it early at worst", async () => {
    await house.setRole({ allow, options: { max_session_ttl: "10m" } });
    const back = await enter();
    house.clock.move(-5 * 60_000);
    await house.pass(1);
    expect(await isAlive(back.client)).toBe(true);
    house.steady.move(10 * 60_000);
    await house.pass(1);
    expect(await back.client.hear()).toMatch(/time is over/);
    const ahead = await enter();
    house.clock.move(11 * 60_000);
    await house.pass(1);
    expect(await ahead.client.hear()).toMatch(/time is over/);
  });

  it("S-50 a jump of five minutes neither ends idle sessions nor revives expired tokens", async () => {
    await house.setRole({ allow, options: { client_idle_timeout: "1m" } });
    const { client } = await enter();
    const { token } = await house.issue({ expiresAt: house.clock.now() + 60_000 });
    house.clock.move(300_000);
    await house.pass(1);
    expect(await isAlive(client)).toBe(true);
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR bad_token/);
    client.socket.destroy();
  });
});

describe("while the table can't be read", () => {
  it("S-42 strict sessions are cut after 5 s, best-effort ones go on", async () => {
    await house.setRole({ allow: { ...allow, db_users: ["reader"] }, options: { lock: "strict" } });
    const strict = await enter();
    await house.setRole({ allow });
    const easy = await enter();
    // the watch has not looked since: the first session still is what the role was
    house.store.fault.break();
    await house.pass(4);
    expect(await isAlive(strict.client)).toBe(true);
    await house.pass(4);
    expect(await strict.client.hear()).toMatch(/^CUT unavailable/);
    expect(await isAlive(easy.client)).toBe(true);
    house.store.fault.mend();
    await house.pass(3);
    expect(await isAlive(easy.client)).toBe(true);
    expect(house.log.map(({ message }) => message)).toContain("the table can be read again");
  });

  it("a table that hangs is a table that fails", async () => {
    const impatient = await house.beside({ limits: { patienceMs: 50 } });
    const { promise, resolve } = Promise.withResolvers<void>();
    const { token } = await house.issue();
    house.store.fault.hold(promise);
    expect((await logIn(impatient, token)).answer).toMatch(/^ERR (timeout|unavailable)/);
    resolve();
  });

  it("a lock that can't be read lets nobody in", async () => {
    await house.lock({ somebody: "ana" });
    const { token } = await house.issue();
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR unavailable/);
  });
});

it("S-08 ends both sockets of a session whose relay does not heed the cut", async () => {
  const deaf: typeof lines = {
    ...lines,
    cancel: async () => {},
    relay: (client, server) =>
      new Promise((resolve) => {
        client.socket.pipe(server.socket).pipe(client.socket);
        client.socket.once("close", () => resolve({ by: "client" }));
      }),
  };
  const stubborn = await house.beside({ protocols: { postgres: deaf }, limits: { graceMs: 50 } });
  const { token } = await house.issue();
  const { client } = await logIn(stubborn, token);
  expect(await isAlive(client)).toBe(true);
  await house.lock({ user: "ana" });
  await house.pass(4);
  expect(await client.hear()).toBe("end");
  await eventually(() => stubborn.counts().sessions === 0 && house.database.live() === 0);
  expect(sessionItems()[0]?.["reason"]).toMatch(/^ended: .*locked/);
});

it("decides inside a session by the roles of now", async () => {
  const { client } = await enter();
  client.say("use stock");
  expect(await client.hear()).toBe("use stock");
  await house.setRole({ allow: { ...allow, db_names: ["orders"] } });
  await house.pass(4);
  client.say("use stock");
  expect(await client.hear()).toBe("ERR denied");
});
