// The one login on the plain port, from every side it can go wrong.
import { Failure } from "@sallyport/core/failure";
import { keys } from "@sallyport/core/family";
import type { Change, Store } from "@sallyport/core/ports";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allow, arrive, dialTcp, dialTls, eventually, type House, logIn, openHouse, talk } from "./house.ts";

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house.close());

const itemsOf = (family: string) => house.store.items().filter((item) => item.pk.startsWith(`${family}#`));
const eventsNamed = (name: string) => itemsOf("event").filter((item) => item["name"] === name);

describe("a good login", () => {
  it("reaches the database, records what passes and ends cleanly", async () => {
    const { token } = await house.issue();
    const { client, answer } = await logIn(house.proxy, token);
    expect(answer).toMatch(/^WELCOME [0-9a-f]{16}$/);
    client.say("select 1");
    expect(await client.hear()).toBe("select 1");
    expect(house.proxy.counts()).toMatchObject({ sessions: 1, waiting: 0 });
    expect(itemsOf("session")).toMatchObject([
      { state: "live", user: "ana", database: "orders", dbUser: "reader", way: "plain", proxy: "prx_1" },
    ]);
    client.socket.end();
    await eventually(() => itemsOf("session")[0]?.["state"] === "ended");
    const session = itemsOf("session")[0];
    expect(house.sink.records.map(({ seq, event, text }) => [seq, event ?? text])).toEqual([
      [1, "session.start"],
      [2, "select 1"],
      [3, "session.end"],
    ]);
    expect(session).toMatchObject({ seq: 3, head: house.sink.records.at(-1)?.["hash"], reason: "client" });
    expect(eventsNamed("session.start")).toHaveLength(1);
    expect(eventsNamed("session.end")).toMatchObject([{ actor: "ana", details: { by: "client" } }]);
    await eventually(() => itemsOf("spend")[0]?.["live"] === 0);
    expect(itemsOf("spend")[0]).toMatchObject({ logins: 1, live: 0 });
    expect(house.proxy.counts()).toEqual({ sessions: 0, waiting: 0, owed: 0 });
  });

  it("works for a client that begins with TLS and names the protocol", async () => {
    const { token } = await house.issue();
    const client = talk(await dialTls(house.proxy.ports["postgres"] ?? 0, { alpn: "lines" }));
    client.say(`LOGIN reader orders ${token}`);
    expect(await client.hear()).toMatch(/^WELCOME/);
    client.socket.destroy();
  });

  it("refuses a client that begins with TLS and names none", async () => {
    // TLS 1.3 lets the client believe it is in before the server has looked
    const socket = await dialTls(house.proxy.ports["postgres"] ?? 0);
    const client = talk(socket);
    const { token } = await house.issue();
    client.say(`LOGIN reader orders ${token}`);
    expect(await client.hear()).toBe("end");
    expect(house.database.logins).toEqual([]);
  });

  it("lets a monitor come and go", async () => {
    const client = await arrive(house.proxy);
    client.say("PROBE");
    expect(await client.hear()).toBe("end");
    await eventually(() => house.proxy.counts().waiting === 0);
    expect(house.log).toEqual([]);
  });
});

describe("S-05 what the client names must be the token's", () => {
  it.each([
    ["another user", { user: "writer" }],
    ["another database", { name: "stock" }],
    ["another case", { user: "Reader" }],
  ])("S-05 %s is refused, and costs no login", async (_, ask) => {
    const { token } = await house.issue();
    const { answer } = await logIn(house.proxy, token, ask);
    expect(answer).toMatch(/^ERR denied this token opens postgres as user "reader" and database "orders" only/);
    expect(house.database.logins).toEqual([]);
    expect(itemsOf("spend")).toEqual([]);
    expect(eventsNamed("session.deny")).toHaveLength(1);
  });

  it("S-05 another name inside the session is decided", async () => {
    await house.setRole({ allow: { ...allow, db_names: ["orders"] } });
    const { token } = await house.issue();
    const { client } = await logIn(house.proxy, token);
    client.say("use stock");
    expect(await client.hear()).toBe("ERR denied");
    client.say("use orders");
    expect(await client.hear()).toBe("use orders");
    client.socket.destroy();
  });
});

describe("deciding again at login", () => {
  it.each([
    ["a disabled user", () => house.setUser({ state: "disabled" }), /^ERR denied user ana is disabled/],
    [
      "a role that no longer allows",
      () => house.setRole({ allow: { ...allow, db_users: [] } }),
      /^ERR denied role dev/,
    ],
    ["a lock", () => house.lock({ user: "ana" }), /^ERR denied user ana is locked: gone/],
    ["other labels", () => house.setDatabase({ labels: { env: "prod" } }), /^ERR denied role dev/],
    ["another network", () => house.setDatabase({ network: "west" }), /^ERR denied .* network west/],
    [
      "a stopped database",
      () => house.setDatabase({ status: "unavailable", reason: "it is stopped" }),
      /it is stopped/,
    ],
    [
      "an unsupported database",
      () => house.setDatabase({ status: "unsupported", reason: "no IAM" }),
      /unsupported .*no IAM/,
    ],
    [
      "a broken role",
      () => house.setRole({ allow: { db_labels: { env: "^(^$" } } }),
      /^ERR denied role dev can't be read/,
    ],
  ])("denies after %s, with the reason, at once", async (_, change, expected) => {
    const { token } = await house.issue();
    await change();
    const { answer } = await logIn(house.proxy, token);
    expect(answer).toMatch(expected);
    expect(house.database.logins).toEqual([]);
    expect(eventsNamed("session.deny")).toHaveLength(1);
    expect(house.proxy.counts().sessions).toBe(0);
  });

  it("denies when the table can't be read", async () => {
    const { token } = await house.issue();
    house.store.fault.break();
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR unavailable/);
    house.store.fault.mend();
    const { client, answer } = await logIn(house.proxy, token);
    expect(answer).toMatch(/^WELCOME/);
    client.socket.destroy();
  });

  it("denies when the session can't be written, and gives back what it took", async () => {
    await house.setRole({ allow, options: { max_connections: 3 } });
    const { token } = await house.issue();
    house.store.fault.breakWhen((change) => "put" in change && change.put.pk.startsWith("session#"));
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR unavailable/);
    expect(house.database.logins).toEqual([]);
    house.store.fault.mend();
    await eventually(() => itemsOf("spend")[0]?.["live"] === 0);
    await eventually(() => itemsOf("limit")[0]?.["live"] === 0);
    expect(house.proxy.counts().sessions).toBe(0);
    expect(house.sink.records.map(({ event }) => event)).toEqual(["session.start", "session.end"]);
  });
});

describe("limits", () => {
  it("counts connections across tasks and gives them back", async () => {
    const other = await house.beside();
    await house.setRole({ allow, options: { max_connections: 2 } });
    const { token } = await house.issue();
    const first = await logIn(house.proxy, token);
    const second = await logIn(other, token);
    expect(second.answer).toMatch(/^WELCOME/);
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR too_many you have 2 connections to orders already/);
    first.client.socket.destroy();
    await eventually(() => itemsOf("limit")[0]?.["live"] === 1);
    const third = await logIn(other, token);
    expect(third.answer).toMatch(/^WELCOME/);
    for (const { client } of [second, third]) client.socket.destroy();
    await eventually(() => itemsOf("limit")[0]?.["live"] === 0);
  });

  it("S-42 takes no new sessions while the spool is nearly full, and cuts one whose statement does not fit", async () => {
    const { token } = await house.issue();
    const { client } = await logIn(house.proxy, token);
    house.sink.fillTo(0.8);
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR audit_full/);
    client.say("select 1");
    expect(await client.hear()).toBe("select 1");
    house.sink.fillTo(1);
    client.say("select 2");
    expect(await client.hear()).toMatch(/^CUT audit_full/);
    expect(await client.hear()).toBe("end");
    await eventually(() => house.proxy.counts().sessions === 0);
    expect(itemsOf("session")[0]).toMatchObject({ state: "ended", reason: expect.stringMatching(/^audit_full/) });
  });

  it("S-42 lets no statement of a durable session pass that is not on the disk", async () => {
    await house.setRole({ allow, options: { audit: "durable" } });
    const { token } = await house.issue();
    const { client, answer } = await logIn(house.proxy, token);
    expect(answer).toMatch(/^WELCOME/);
    house.sink.breakDisk();
    client.say("select 1");
    expect(await client.hear()).toMatch(/^CUT audit_full/);
  });
});

describe("the database", () => {
  it("that refuses is told to the client, and the session's end says why", async () => {
    house.database.behave("refuse");
    const { token } = await house.issue();
    expect((await logIn(house.proxy, token)).answer).toMatch(/^ERR upstream_refused/);
    await eventually(() => itemsOf("session")[0]?.["state"] === "ended");
    expect(itemsOf("session")[0]?.["reason"]).toMatch(/^upstream_refused/);
    await eventually(() => itemsOf("spend")[0]?.["live"] === 0);
    const told = house.log.find(({ message }) => message === "a session did not reach its database");
    expect(told?.facts).toMatchObject({ database: "orders", code: "upstream_refused" });
  });

  it("S-37 that says nothing is given up on, and its connection with it", async () => {
    const patient = await house.beside({ limits: { upstreamMs: 100, graceMs: 100 } });
    house.database.behave("hang");
    const { token } = await house.issue();
    expect((await logIn(patient, token)).answer).toMatch(/^ERR timeout/);
    await eventually(() => patient.counts().sessions === 0);
    await eventually(() => house.database.connections() === 0);
  });
});

describe("S-37 a client that vanishes", () => {
  const settled = async (): Promise<void> => {
    await eventually(() => {
      const { sessions, waiting } = house.proxy.counts();
      return sessions === 0 && waiting === 0 && house.database.connections() === 0;
    });
  };
  const reset = (socket: { resetAndDestroy(): unknown }): void => void socket.resetAndDestroy();

  it("S-37 before its first byte, before TLS, in TLS and before its login leaves nothing", async () => {
    const port = house.proxy.ports["postgres"] ?? 0;
    reset(await dialTcp(port));
    const asking = await dialTcp(port);
    asking.write("STARTTLS\n");
    reset(asking);
    const shaking = talk(await dialTcp(port));
    shaking.say("STARTTLS");
    await shaking.hear();
    shaking.socket.write(Buffer.from("160301", "hex"));
    reset(shaking.socket);
    const secured = await arrive(house.proxy);
    secured.say("LOG");
    secured.socket.destroy();
    await settled();
    expect(house.log).toEqual([]);
  });

  it("S-37 while its token is read leaves nothing", async () => {
    const { token } = await house.issue();
    const { promise, resolve } = Promise.withResolvers<void>();
    const client = await arrive(house.proxy);
    house.store.fault.hold(promise);
    client.say(`LOGIN reader orders ${token}`);
    await eventually(() => house.proxy.counts().waiting === 1);
    client.socket.destroy();
    await client.closed;
    await eventually(() => house.proxy.counts().waiting === 0);
    resolve();
    // whatever was under way is over before a later login is in
    const later = await logIn(house.proxy, token);
    expect(later.answer).toMatch(/^WELCOME/);
    expect(house.proxy.counts().sessions).toBe(1);
    later.client.socket.destroy();
    await settled();
  });

  it("S-37 while the database is asked, and inside the session, leaves nothing", async () => {
    const { token } = await house.issue();
    house.database.behave("hang");
    const client = await arrive(house.proxy);
    client.say(`LOGIN reader orders ${token}`);
    await eventually(() => house.database.logins.length === 1);
    client.socket.destroy();
    await settled();
    house.database.behave("answer");
    const second = await logIn(house.proxy, token);
    expect(second.answer).toMatch(/^WELCOME/);
    second.client.socket.destroy();
    await settled();
    await eventually(() => itemsOf("spend")[0]?.["live"] === 0);
    expect(itemsOf("session").map((item) => item["state"])).toEqual(["ended", "ended"]);
  });
});

it("owes what it could not write at the end, and pays it", async () => {
  const { token, id } = await house.issue();
  const { client } = await logIn(house.proxy, token);
  house.store.fault.break();
  client.socket.destroy();
  await eventually(() => house.proxy.counts().owed === 1);
  house.store.fault.mend();
  await house.pass(5);
  await eventually(() => house.proxy.counts().owed === 0);
  expect(itemsOf("session")[0]).toMatchObject({ state: "ended" });
  expect(await house.store.get(keys.spend(id))).toMatchObject({ live: 0 });
});

it("gives counts back once when the table did it and its answer was lost", async () => {
  const { transact } = house.store;
  let lost = false;
  const store: Store = {
    ...house.store,
    transact: async (changes) => {
      await transact(changes);
      const ends = changes.some((change) => "update" in change && change.update.pk.startsWith("session#"));
      if (ends && !lost) {
        lost = true;
        throw new Failure("unavailable", "the answer was lost");
      }
    },
  };
  const beside = await house.beside({ store });
  const { token } = await house.issue();
  const { client } = await logIn(beside, token);
  client.socket.destroy();
  await eventually(() => beside.counts().owed === 1);
  await house.pass(5);
  await eventually(() => beside.counts().owed === 0);
  expect(itemsOf("spend")[0]).toMatchObject({ logins: 1, live: 0 });
});

it("S-43 a session whose beginning's answer was lost says how far its records go, as any that ended", async () => {
  const { transact } = house.store;
  const store: Store = {
    ...house.store,
    transact: async (changes) => {
      await transact(changes);
      throw new Failure("unavailable", "the answer was lost");
    },
  };
  const beside = await house.beside({ store });
  const { token } = await house.issue();
  await logIn(beside, token);
  await eventually(() => itemsOf("session")[0]?.["state"] === "ended");
  const said = house.sink.lines.map((line) => JSON.parse(line) as { seq: number; event?: string });
  expect(said.map(({ event }) => event)).toEqual(["session.start", "session.end"]);
  expect(itemsOf("session")[0]).toMatchObject({
    reason: "not begun",
    seq: 2,
    head: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

it("S-36 gives counts back once, whichever answer was lost and however long the table was away", async () => {
  await house.setRole({ allow, options: { max_connections: 2 } });
  const { write, transact } = house.store;
  let lost = 0;
  const losing =
    <A, T>(act: (asked: A) => Promise<T>, isEnd: (asked: A) => boolean) =>
    async (asked: A): Promise<T> => {
      const done = await act(asked);
      if (!isEnd(asked) || lost > 0) return done;
      lost += 1;
      house.store.fault.break();
      throw new Failure("unavailable", "the answer was lost");
    };
  const givesBack = (change: Change): boolean => "update" in change && (change.add?.["live"] ?? 0) < 0;
  const isClose = (change: Change): boolean => "update" in change && change.update.pk.startsWith("session#");
  const store: Store = {
    ...house.store,
    write: losing(write, givesBack),
    transact: losing(transact, (changes) => changes.some((one) => givesBack(one) || isClose(one))),
  };
  const beside = await house.beside({ store });
  const { token } = await house.issue();
  const { client } = await logIn(beside, token);
  client.socket.destroy();
  await eventually(() => beside.counts().owed === 1);
  house.clock.move(60_000);
  house.store.fault.mend();
  await house.pass(5);
  await eventually(() => beside.counts().owed === 0);
  expect(itemsOf("limit")[0]).toMatchObject({ live: 0 });
  expect(itemsOf("spend")[0]).toMatchObject({ live: 0 });
});

it("gives nothing back for a session that the sweeper closed", async () => {
  const { token, id } = await house.issue();
  const { client } = await logIn(house.proxy, token);
  const [session] = itemsOf("session");
  if (!session) throw new Error("no session");
  await house.store.write({ update: session, set: { state: "lost" } });
  await house.store.write({ update: keys.spend(id), add: { live: -1 } });
  client.socket.destroy();
  await house.proxy.drain(1_000);
  expect(house.proxy.counts()).toEqual({ waiting: 0, sessions: 0, owed: 0 });
  expect(itemsOf("session")[0]).toMatchObject({ state: "lost" });
  expect(await house.store.get(keys.spend(id))).toMatchObject({ live: 0 });
});
