// Cancel across two proxies and a reader endpoint that alternates between two servers: a client's request comes on a
// connection of its own, which the balancer brings to the other proxy half of the time.
import type { Postgres } from "@sallyport/local/postgres/server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isOnPath, start } from "./clients/program.ts";
import { cancelRaw, openRaw, type Raw, say } from "./clients/raw.ts";
import { atWork, libpqEnv, type Place } from "./clients/way.ts";
import { openWorld, plainly, type World } from "./world.ts";

const undo: (() => void)[] = [];
let world: World;
let shop: Awaited<ReturnType<World["laptop"]["databases"]["addCluster"]>>;
let readers: readonly Postgres[];
let person: Awaited<ReturnType<World["person"]>>;
let database = "";

beforeAll(async () => {
  world = await openWorld({ proxies: 2, servers: 3 });
  shop = await world.laptop.databases.addCluster({ id: "shop", tags: { env: "dev" } }, world.servers);
  readers = world.servers.slice(1);
  await world.discover();
  person = await world.person("ana", ["dev"]);
  const { databases } = await person.call("databases", {});
  database = databases.find(({ labels }) => labels["endpoint-type"] === "reader")?.name ?? "";
});
afterAll(async () => {
  for (const step of undo) step();
  await world?.close();
});

const place = async (): Promise<Place> => plainly(world.laptop, await world.bearer(person, { database }));
const balancer = () => ({ host: "127.0.0.1", port: world.laptop.ports.postgres });
const cancels = (): readonly number[] => shop.fronts.map((front) => front.counters().cancels);

interface Sleeper extends Raw {
  /** Its database server among the readers. */
  readonly at: number;
  /** When its statement is over, how: its SQLSTATE, unless it `slept` or is `gone`. */
  slept: Promise<string>;
}

const sleep = (raw: Raw): Promise<string> => {
  raw.send(say("Q", "select pg_sleep(120)"));
  return raw
    .answer()
    .then((all) =>
      all.map(({ type, body }) => (type === "E" ? (/\0C(\w{5})\0/.exec(body.toString())?.[1] ?? "?") : type)),
    )
    .then((types) => types.find((type) => type.length === 5) ?? "slept")
    .catch(() => "gone");
};

/** A session by this proxy, asleep; on which server it is, the servers tell. */
const openSleeper = async (proxy: number, version = 0x30000): Promise<Sleeper> => {
  const port = world.proxies[proxy]?.ports.postgres ?? 0;
  const raw = await openRaw({ ...(await place()), port }, version);
  undo.push(raw.close);
  const mine = `select pid from pg_stat_activity where pid = ${raw.pid} and backend_type = 'client backend' and usename = 'reader'`;
  const owners = await Promise.all(readers.map(async (server) => (await server.sql("postgres", mine)).length));
  return { ...raw, at: owners.indexOf(1), slept: sleep(raw) };
};

/** How many statements sleep on a server, and since when they do, all together. */
const asleep = async (server: Postgres): Promise<{ count: number; since: string }> => {
  const text = `select count(*), coalesce(string_agg(pid || ' ' || query_start, ',' order by pid), '')
    from pg_stat_activity where query = 'select pg_sleep(120)' and state = 'active'`;
  const [[count, since] = []] = await server.sql("postgres", text);
  return { count: Number(count), since: String(since) };
};

describe("S-29 100 cancels across two proxies and two servers behind one name, 100 hits", () => {
  it("S-29 of 84 raw requests by the balancer each hits its own session, and no other", async () => {
    const sleepers: Sleeper[] = [];
    // two by one proxy, two by the other: with a balancer that alternates, one request of each pair comes to the wrong one
    for (let n = 0; n < 12; n++) sleepers.push(await openSleeper(Math.floor(n / 2) % 2, n < 6 ? 0x30000 : 0x30002));
    expect(new Set(sleepers.map(({ key }) => key.length))).toEqual(new Set([4, 32]));
    const witnesses = [await openSleeper(0), await openSleeper(0), await openSleeper(1), await openSleeper(1)];
    expect(new Set(sleepers.map(({ at }) => at))).toEqual(new Set([0, 1]));
    const everybody = sleepers.length + witnesses.length;
    const sleeping = async (): Promise<number> =>
      (await Promise.all(readers.map(asleep))).reduce((sum, { count }) => sum + count, 0);
    await expect.poll(sleeping, { interval: 20 }).toBe(everybody);

    const { ca } = await place();
    let hits = 0;
    for (let round = 0; round < 7; round++)
      for (const sleeper of sleepers) {
        const [before, others] = [cancels(), sleepers.filter((one) => one !== sleeper)];
        let disturbed = 0;
        for (const { slept } of [...others, ...witnesses]) void slept.then(() => disturbed++);
        await cancelRaw(balancer(), sleeper, round % 2 ? ca : undefined);
        expect(await sleeper.slept).toBe("57014");
        expect(disturbed).toBe(0);
        const told = cancels().map((count, index) => count - (before[index] ?? 0));
        expect(told).toEqual([0, ...readers.map((_, index) => (index === sleeper.at ? 1 : 0))]);
        hits++;
        sleeper.slept = sleep(sleeper);
      }
    expect(hits).toBe(84);
    await expect.poll(sleeping, { interval: 20 }).toBe(everybody);
  }, 60_000);

  it("S-29 of 16 Ctrl-C in psql, whose cancel is in plain text and comes to the other proxy, each hits", async ({
    skip,
  }) => {
    skip(!isOnPath("psql"), "psql is not on PATH: apt install postgresql-client");
    const before = cancels();
    const running: ReturnType<typeof start>[] = [];
    for (let n = 0; n < 16; n++) {
      const name = `ctrl-c ${n}`;
      const env = { ...libpqEnv(await place()), PGAPPNAME: name };
      running.push(start("psql", ["-X", "-q", "-c", "select pg_sleep(60)"], { env }));
      await atWork(readers, name);
    }
    const over = (): readonly boolean[] => running.map(({ child }) => child.exitCode !== null);
    // session n is on proxy n % 2; backwards, each request comes to the proxy that does not have its session
    for (let n = 15; n >= 0; n--) {
      const { child, outcome } = running[n] ?? expect.unreachable();
      child.kill("SIGINT");
      expect(await outcome).toMatchObject({ status: 1, stderr: expect.stringContaining("due to user request") });
      expect(over()).toEqual(running.map((_, at) => at >= n));
    }
    expect(cancels().map((count, index) => count - (before[index] ?? 0))).toEqual([0, 8, 8]);
  }, 60_000);

  it("S-29 with a wrong secret, or another session's pid, nobody is cancelled", async () => {
    const [one, other] = [await openSleeper(0), await openSleeper(1)];
    await expect
      .poll(async () => (await Promise.all(readers.map(asleep))).map(({ count }) => count >= 1))
      .toEqual([true, true]);
    const [before, asleepBefore] = [cancels(), await Promise.all(readers.map(asleep))];
    const wrong = Buffer.from(one.key);
    wrong.writeUInt32BE((wrong.readUInt32BE() ^ 1) >>> 0);
    for (let n = 0; n < 2; n++) {
      await cancelRaw(balancer(), { pid: one.pid, key: wrong });
      await cancelRaw(balancer(), { pid: one.pid, key: other.key });
      await cancelRaw(balancer(), { pid: other.pid, key: one.key });
    }
    expect(cancels()).toEqual(before);
    expect(await Promise.all(readers.map(asleep))).toEqual(asleepBefore);
  });
});
