// A deployment under a hundred live sessions: two proxies are replaced as ECS and the balancer replace them. Nobody is cut before
// the drain limit; then those who are left are told so in their own protocol.
import type { Client } from "@sallyport/client/client";
import type { ProxyTask } from "@sallyport/local/fleet";
import { afterAll, beforeAll, expect, it } from "vitest";
import { doorOf, enter, eventually, type Session, within } from "./attack.ts";
import { openWorld, type World } from "./world.ts";

const many = 100;
/** Long enough to look at what happens before it. */
const drainFor = 30;

let world: World;
let ana: Client;
beforeAll(async () => {
  world = await openWorld({
    proxies: 2,
    settings: { max_connections: "300" },
    proxyEnv: { SALLYPORT_DRAIN_FOR_SECONDS: String(drainFor) },
  });
  ana = await world.person("ana", ["dev"]);
});
afterAll(() => world?.close());

/** Through the balancer, 20 a token, as many as a bearer token is good for. */
const crowd = async (count: number): Promise<Session[]> => {
  const sessions: Session[] = [];
  while (sessions.length < count) {
    const door = doorOf(world.laptop, await world.bearer(ana));
    const group = Math.min(20, count - sessions.length);
    sessions.push(...(await Promise.all(Array.from({ length: group }, () => enter(door)))));
  }
  return sessions;
};
const ask = (sessions: readonly Session[]): Promise<(readonly string[])[]> =>
  within(30_000, "an answer to everybody", Promise.all(sessions.map((session) => session.query("select 1"))));
const healthOf = async ({ ports }: ProxyTask): Promise<number> =>
  (await fetch(`http://127.0.0.1:${ports.health}/`)).status;
const liveAt = (task: ProxyTask): number =>
  Number(
    /"sessions":(\d+)/.exec(
      task
        .log()
        .split("\n")
        .findLast((line) => line.includes('"draining"')) ?? "",
    )?.[1],
  );

it(`replaces two proxies under ${many} live sessions and cuts none of them before the limit`, {
  timeout: 180_000,
}, async () => {
  const { laptop, proxies: old } = world;
  const sessions = await crowd(many);
  await eventually("both are protected", () => old.every(({ agent }) => agent.isProtected()));
  const busy = sessions.slice(0, 10).map((session) => session.query("select count(*) from pg_sleep(8)"));

  const { started, done } = await laptop.rollProxies({ SALLYPORT_DRAIN_FOR_SECONDS: String(drainFor) });
  expect(started.map(({ id }) => id)).not.toContain(old[0]?.id);
  await eventually(
    "the old ones say that they are leaving",
    async () => (await Promise.all(old.map(healthOf))).every((status) => status === 503),
    40_000,
  );
  const yieldedAt = performance.now();
  await eventually("nobody new is sent to them", async () => {
    const [one] = await crowd(1);
    one?.close();
    return started.some((task) => task.agent.isProtected());
  });
  expect((await ask(sessions.slice(10))).flat()).toEqual(Array.from({ length: many - 10 }, () => "1"));
  expect((await within(40_000, "what ran", Promise.all(busy))).flat()).toEqual(Array.from({ length: 10 }, () => "1"));
  expect(old.every(({ agent }) => agent.isProtected())).toBe(true);

  // half of them leave by themselves, the rest stays to the limit
  const staying = sessions.splice(0, many / 2);
  for (const session of sessions) session.close();
  const ends = await within(90_000, "the limit", Promise.all(staying.map((session) => session.ending())));
  expect(performance.now() - yieldedAt).toBeGreaterThan((drainFor - 8) * 1_000);
  expect(new Set(ends.map(({ code, message }) => `${code} ${message}`))).toEqual(
    new Set(["57P01 this proxy is going away"]),
  );
  await within(40_000, "the end of the deployment", done);
  expect(await Promise.all(old.map((task) => task.exited))).toEqual([0, 0]);
  expect(new Set(laptop.proxies().map(({ id }) => id))).toEqual(new Set(started.map(({ id }) => id)));
  // SIGTERM came when nobody was left
  expect(old.map(liveAt)).toEqual([0, 0]);
  const after = await crowd(4);
  await ask(after);
  for (const session of after) session.close();
});
