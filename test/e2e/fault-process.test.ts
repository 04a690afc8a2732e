// What the processes themselves suffer: a table that can't be reached, a proxy that is killed outright, a drain under load.
// Each leaves a clean record: sessions ended or lost, counts given back, an audit without gaps.
import { performance } from "node:perf_hooks";
import type { Client } from "@sallyport/client/client";
import { heartbeatGrace } from "@sallyport/core/session";
import type { ProxyTask } from "@sallyport/local/fleet";
import { afterAll, beforeAll, expect, it } from "vitest";
import { chainOf, recordsOf } from "../contract/audit-sink.ts";
import { doorOf, enter, eventually, logIn, refused, type Session, within } from "./attack.ts";
import { lock, openOwnTable, roleOf, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let table: Table;
let strict: Client;
let best: Client;
beforeAll(async () => {
  world = await openWorld({ proxyEnv: { SALLYPORT_DRAIN_SECONDS: "2" } });
  table = openOwnTable(world.laptop);
  await world.put(roleOf("strict", { lock: "strict", max_connections: 50, bearer_logins: 100 }));
  await world.put(roleOf("best", { lock: "best_effort", max_connections: 50, bearer_logins: 100 }));
  strict = await world.person("strict", ["strict"]);
  best = await world.person("best", ["best"]);
});
afterAll(async () => {
  table?.close();
  await world?.close();
});

const lines = (proxy: string): Promise<readonly string[]> => world.laptop.trail(proxy);
/** Numbers without a gap, and runs that chain: what was written is all that was said. */
const expectWhole = (of: readonly string[], session: string): readonly Record<string, unknown>[] => {
  expect(chainOf(of, session).broken).toBeUndefined();
  return recordsOf(of).filter((line) => line.session === session);
};
const limitOf = async (user: string): Promise<number> => {
  const item = await table.store.get({ pk: `limit#${user}`, sk: "orders-rds-eu-west-1-111122223333" });
  return Number(item?.["live"] ?? 0);
};

it("a table that can't be reached: nobody new, strict sessions end within seconds, best-effort ones go on; then all is well again", async () => {
  const [tight, loose] = [await world.bearer(strict), await world.bearer(best)];
  const cut = await enter(doorOf(world.laptop, tight));
  const stays = await enter(doorOf(world.laptop, loose));
  const { fault } = world.laptop.aws;
  const since = performance.now();
  fault.fail({ service: "dynamodb", code: "InternalServerError", times: Number.POSITIVE_INFINITY });
  try {
    expect(await refused(doorOf(world.laptop, loose))).toEqual({
      code: "57P03",
      message: expect.stringMatching(/table/),
      hint: expect.stringMatching(/try again/),
    });
    expect(await within(15_000, "the cut", cut.ending())).toMatchObject({
      code: "57P03",
      message: "the session ended: whether it is still allowed can't be checked",
    });
    expect(performance.now() - since).toBeLessThan(12_000);
    expect(await stays.query("select 1")).toEqual(["1"]);
    await expect(best.call("status", {})).rejects.toMatchObject({ code: "unavailable" });
  } finally {
    fault.clear();
  }
  const again = await enter(doorOf(world.laptop, loose));
  expect(await stays.query("select 2")).toEqual(["2"]);
  // what could not be written while it lasted is written now
  await eventually("the debt", async () => (await table.spent(tight.id)).live === 0, 15_000);
  expect(await table.sessions(tight.id)).toMatchObject([
    { state: "ended", reason: expect.stringMatching(/^unavailable/) },
  ]);
  expect(await limitOf("strict")).toBe(0);
  // and the watch works again
  await lock(world, "best", { user: "best" });
  expect(await within(10_000, "the cut", Promise.all([stays.ending(), again.ending()]))).toMatchObject([
    { code: "57P01" },
    { code: "57P01" },
  ]);
  await world.admin.call("removeResource", { kind: "lock", name: "best" });
}, 60_000);

it("a table that hangs: a login is refused in its time, not kept waiting", async () => {
  const answer = await world.bearer(best);
  const held = Array.from({ length: 50 }, () => world.laptop.aws.fault.hold({ service: "dynamodb" }));
  const since = performance.now();
  try {
    expect(await refused(doorOf(world.laptop, answer))).toMatchObject({
      code: expect.stringMatching(/^(57P03|57014)$/),
    });
    expect(performance.now() - since).toBeLessThan(12_000);
  } finally {
    for (const one of held) one.release();
    world.laptop.aws.fault.clear();
  }
  (await enter(doorOf(world.laptop, answer))).close();
}, 40_000);

it("a proxy killed outright: its clients see a close, and the sweep gives back what it held", async () => {
  const doomed = await world.laptop.startProxy({ SALLYPORT_DRAIN_SECONDS: "2" });
  const answer = await world.bearer(best);
  const door = { ...doorOf(world.laptop, answer), port: doomed.ports.postgres };
  const sessions = await Promise.all(Array.from({ length: 5 }, () => enter(door)));
  for (const session of sessions) expect(await session.query("select 1")).toEqual(["1"]);
  const before = await limitOf("best");
  expect((await table.spent(answer.id)).live).toBe(5);
  await world.laptop.stopProxy(doomed, "SIGKILL");
  for (const session of sessions) expect((await within(3_000, "the close", session.ending())).code).toBe("closed");

  // within the grace it may come back
  expect(await world.laptop.runtime.invoke("sweep", {})).toMatchObject({ sessions: [] });
  await table.store.write({
    update: { pk: "proxy#", sk: doomed.id },
    set: { seenAt: Date.now() - heartbeatGrace - 1 },
  });
  expect(await world.laptop.runtime.invoke("sweep", {})).toMatchObject({
    proxies: [doomed.id],
    sessions: expect.arrayContaining([expect.stringMatching(/^ses_/)]),
    failures: [],
  });
  const items = await table.sessions(answer.id);
  expect(items).toHaveLength(5);
  for (const item of items) expect(item).toMatchObject({ state: "lost", reason: "its proxy is gone" });
  expect(await table.spent(answer.id)).toEqual({ logins: 5, live: 0 });
  expect(await limitOf("best")).toBe(before - 5);
  expect(await table.events("session.lost")).toHaveLength(5);
  // twice changes nothing
  expect(await world.laptop.runtime.invoke("sweep", {})).toMatchObject({ proxies: [], sessions: [] });
  expect(await limitOf("best")).toBe(before - 5);
  // what was on the disk is whole as far as it goes
  const written = await lines(doomed.id);
  for (const item of items) expectWhole(written, item.sk);
}, 40_000);

it("SIGTERM under load: new ones are refused, the rest end with 57P01, the process with 0, the audit without a gap", async () => {
  const leaving = await world.laptop.startProxy({ SALLYPORT_DRAIN_SECONDS: "2" });
  const answer = await world.bearer(best);
  const door = { ...doorOf(world.laptop, answer), port: leaving.ports.postgres };
  const sessions = await Promise.all(Array.from({ length: 20 }, () => enter(door)));
  const late = await world.bearer(best);
  const work = sessions.map((session, at) => toil(session, at));
  await eventually("all at work", () => work.every(({ count }) => count() > 3));
  const since = performance.now();
  const gone = world.laptop.stopProxy(leaving, "SIGTERM");
  // its door is shut at once; what comes by the balancer goes to the other
  await eventually("the door is shut", async () => {
    const how = await logIn({ ...door, password: late.token }).catch((thrown: { code?: string }) => thrown);
    return "code" in how && how.code === "ECONNREFUSED";
  });
  const other = await enter(doorOf(world.laptop, late));
  expect(await other.query("select 1")).toEqual(["1"]);
  other.close();
  const endings = await within(10_000, "the ends", Promise.all(work.map(({ done }) => done)));
  for (const ending of endings)
    expect(ending).toMatchObject({ code: "57P01", message: "this proxy is going away", hint: "connect again" });
  await within(10_000, "the exit", gone);
  expect(await leaving.exited).toBe(0);
  const took = performance.now() - since;
  // those who work are given their time, and no more
  expect(took).toBeGreaterThan(1_900);
  expect(took).toBeLessThan(10_000);

  const items = (await table.sessions(answer.id)).filter((item) => item["proxy"] === leaving.id);
  expect(items).toHaveLength(20);
  const written = await lines(leaving.id);
  let queries = 0;
  for (const item of items) {
    expect(item).toMatchObject({ state: "ended", reason: "draining: this proxy is going away" });
    const own = expectWhole(written, item.sk);
    expect(own.at(-1)).toMatchObject({ event: "session.end", seq: item["seq"] });
    expect(chainOf(written, item.sk).head).toBe(item["head"]);
    queries += own.filter((line) => line["type"] === "query").length;
  }
  // each answered statement was told, and at most one each that was not answered any more
  const answered = work.reduce((sum, { count }) => sum + count(), 0);
  expect(queries).toBeGreaterThanOrEqual(answered);
  expect(queries).toBeLessThanOrEqual(answered + 20);
  expect(await table.spent(answer.id)).toEqual({ logins: 20, live: 0 });
  expect(await limitOf("best")).toBe(0);
  expect(await table.store.get({ pk: "proxy#", sk: leaving.id })).toMatchObject({ heartbeatAt: 0 });
  expect(complaints(leaving)).toEqual([]);
}, 60_000);

/** Queries without a pause until it is told to end. */
const toil = (session: Session, at: number) => {
  let count = 0;
  const done = (async () => {
    for (;;)
      try {
        await session.query(`select ${at}, ${count}`);
        count += 1;
      } catch (thrown) {
        session.close();
        const { code, message, hint } = thrown as { code: string; message: string; hint: string };
        return { code, message, hint };
      }
  })();
  return { done, count: () => count };
};
const complaints = (task: ProxyTask): string[] =>
  task
    .log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line));

it("a client that only waits is told too, and one that leaves by itself shortens the wait", async () => {
  const leaving = await world.laptop.startProxy({ SALLYPORT_DRAIN_SECONDS: "30" });
  const door = { ...doorOf(world.laptop, await world.bearer(best)), port: leaving.ports.postgres };
  const session = await enter(door);
  const since = performance.now();
  const gone = world.laptop.stopProxy(leaving, "SIGTERM");
  session.close();
  await within(8_000, "the exit", gone);
  expect(await leaving.exited).toBe(0);
  expect(performance.now() - since).toBeLessThan(8_000);
});
