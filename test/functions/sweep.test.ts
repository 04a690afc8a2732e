import { keys } from "@sallyport/core/family";
import { heartbeatEvery, heartbeatGrace, type Session } from "@sallyport/core/session";
import { expect, it } from "vitest";
import { context, openWorld } from "./world.ts";

const live = (id: string, over: Partial<Session> = {}): Session => ({
  id,
  proxy: "prx_1",
  user: "ana",
  database: "orders",
  protocol: "postgres",
  dbUser: "reader",
  dbName: "orders",
  token: "t1",
  way: "plain",
  client: "192.0.2.7:5000",
  state: "live",
  startedAt: 1,
  seq: 7,
  head: "abc",
  ...over,
});
/** A proxy whose last heartbeat an earlier run saw long enough ago, with these sessions. */
const open = async (...sessions: Session[]) => {
  const world = openWorld();
  await world.addProxy({ seenAt: world.clock.now() - heartbeatGrace });
  await world.put([keys.spend("t1"), { logins: 5, live: 3 }], [keys.limit("ana", "orders"), { live: 3 }]);
  for (const session of sessions) await world.put([keys.session(session.proxy, session.id), session]);
  return world;
};
type World = Awaited<ReturnType<typeof open>>;
const session = (world: World, id: string, proxy = "prx_1") => world.table.get(keys.session(proxy, id));
const counts = async (world: World) => [
  (await world.table.get(keys.spend("t1")))?.["live"],
  (await world.table.get(keys.limit("ana", "orders")))?.["live"],
];

it("the sessions of a silent proxy are closed as lost, with an event that says how far their audit came", async () => {
  const world = await open(live("s1"), live("s2", { state: "ended", endedAt: 2 }));
  expect(await world.sweep({}, context)).toEqual({ proxies: ["prx_1"], sessions: ["s1"], failures: [] });
  expect(await session(world, "s1")).toMatchObject({ state: "lost", endedAt: world.clock.now() });
  expect(await session(world, "s2")).toMatchObject({ state: "ended", endedAt: 2 });
  expect(world.events("session.lost")).toHaveLength(1);
  expect(world.events("session.lost")[0]?.["details"]).toMatchObject({
    session: "s1",
    seq: 7,
    head: "abc",
    user: "ana",
  });
  expect(await world.table.get(keys.proxy("prx_1"))).toBeUndefined();
});

it("what they were counted by is given back: a bearer's live count, a counted connection, once", async () => {
  const world = await open(
    live("bearer"),
    live("counted", { counted: true }),
    live("bound", { way: "gate" }),
    live("both", { way: "gate", counted: true }),
  );
  await Promise.all([world.sweep({}, context), world.sweep({}, context)]);
  await world.sweep({}, context);
  expect(await counts(world)).toEqual([1, 1]);
  expect(world.events("session.lost")).toHaveLength(4);
});

it("a proxy that is alive keeps its sessions, and one of another proxy stays its own", async () => {
  const world = await open();
  await world.addProxy({ seenAt: world.clock.now() - heartbeatGrace + 1 });
  await world.addProxy({ id: "prx_2", heartbeatAt: 0 });
  await world.put([keys.session("prx_1", "s1"), live("s1")]);
  expect(await world.sweep({}, context)).toMatchObject({ proxies: ["prx_2"], sessions: [] });
  expect((await session(world, "s1"))?.["state"]).toBe("live");
});

it("a proxy that comes back meanwhile is not forgotten", async () => {
  const world = await open(live("s1"));
  let back = false;
  world.table.fault.breakWhen((touched) => {
    if (!("remove" in touched) || back) return false;
    back = true;
    return true;
  });
  expect(await world.sweep({}, context)).toMatchObject({ proxies: [], failures: [expect.stringContaining("table")] });
  await world.addProxy();
  await world.sweep({}, context);
  expect(await world.table.get(keys.proxy("prx_1"))).toBeDefined();
});

const minute = 60_000;
const closed = async (world: World) => ((await world.sweep({}, context)) as { sessions: string[] }).sessions;

it.each([-60, -5, -1, 1, 5, 60])(
  "S-50 a proxy whose clock is %i minutes off keeps its sessions while it beats, and loses them when it has stopped",
  async (minutes) => {
    const world = await open();
    const beat = () => world.addProxy({ heartbeatAt: world.clock.now() + minutes * minute });
    await world.put([keys.session("prx_1", "s1"), live("s1")]);
    for (let run = 0; run < 70; run += 1) {
      await beat();
      expect(await closed(world)).toEqual([]);
      world.clock.pass(minute);
    }
    expect(await closed(world)).toEqual(["s1"]);
    expect(await counts(world)).toEqual([2, 3]);
  },
);

it("S-50 a function whose own clock is wrong from run to run closes nothing of a proxy that beats", async () => {
  const world = await open();
  await world.put([keys.session("prx_1", "s1"), live("s1")]);
  for (const off of [5, -5, 0, -5, 5, 0, 5, 5, -5]) {
    await world.addProxy();
    world.clock.pass(off * minute);
    expect(await closed(world)).toEqual([]);
    world.clock.pass(minute - off * minute);
  }
});

it("S-50 a run that comes twice, or again at once, has seen nothing stop", async () => {
  const world = await open();
  await world.addProxy({ heartbeatAt: world.clock.now() - 10 * minute });
  await world.put([keys.session("prx_1", "s1"), live("s1")]);
  for (let run = 0; run < 5; run += 1) {
    expect((await Promise.all([closed(world), closed(world)])).flat()).toEqual([]);
    world.clock.pass(heartbeatEvery);
  }
});

it("what can't be closed is said and left for the next sweep, the others are closed", async () => {
  const world = await open(live("s1"), live("s3"));
  await world.put([keys.session("prx_1", "s2"), { state: "live" }]);
  expect(await world.sweep({}, context)).toMatchObject({ proxies: [], sessions: ["s1", "s3"] });
  expect(world.logged.join()).toContain("session s2 can't be read");
  expect(await world.table.get(keys.proxy("prx_1"))).toBeDefined();
});

it("hundreds of sessions are closed, page after page", async () => {
  const world = await open(...Array.from({ length: 1100 }, (_, at) => live(`s${at}`, { way: "gate" })));
  const { sessions } = (await world.sweep({}, context)) as { sessions: string[] };
  expect(sessions).toHaveLength(1100);
});

it.each([
  undefined,
  {},
  { version: "0", id: "1", source: "aws.scheduler", "detail-type": "Scheduled Event", detail: "{}", resources: [] },
  { version: "0", id: "1", source: "aws.events", "detail-type": "Scheduled Event", detail: {}, resources: [] },
])("S-45 the schedule's own event starts it: %j", async (event) => {
  const world = await open();
  await expect(world.sweep(event, context)).resolves.toMatchObject({ proxies: ["prx_1"] });
});

it.each([{ source: "me", "detail-type": "Scheduled Event" }, { source: "aws.events" }, { proxy: "prx_1" }, [], "x", 1])(
  "S-45 a hand-made event does not: %j",
  async (event) => {
    const world = await open();
    await expect(world.sweep(event, context)).rejects.toMatchObject({ code: "invalid" });
    expect(await world.table.get(keys.proxy("prx_1"))).toBeDefined();
  },
);

it("a table that can't be reached fails the run, without its cause in what Lambda sends on", async () => {
  const world = await open();
  world.table.fault.break();
  const thrown: unknown = await world.sweep({}, context).catch((failure: unknown) => failure);
  expect(thrown).toMatchObject({ code: "unavailable" });
  expect(thrown).not.toHaveProperty("cause");
  expect(world.logged.join()).toContain('"level":"error"');
});
