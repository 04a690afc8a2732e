import { connect } from "node:tls";
import { describe, expect, test } from "vitest";
import { resp } from "./redis-lines.ts";
import { authority, dial, dialCluster, dialRaw, domain, iam, nobody, stage, token, user } from "./redis-stage.ts";

const names = ["0001-001", "0002-001", "0003-001", "0001-002"].map((node) => `orders-${node}.${domain}`);
// a fourth node is the replica of the first shard, and those of the others come with it
const nodes = {
  primaries: 3,
  replicas: 1,
  names: [...names, `orders-0002-002.${domain}`, `orders-0003-002.${domain}`],
};
const cache = stage(nodes);
const users = [nobody, iam("ada"), user("grace")];
const ada = { username: "ada", password: token };
/** Keys of the three shards: slots 3300, 7365 and 12182. */
const keys = ["b", "hello-5", "foo"] as const;

type Slots = readonly [number, number, ...(readonly [string, number])[]];

test("the topology names every front, by host name and the fronts' port", async () => {
  await cache().apply(users);
  const client = dial(cache(), ada);
  await client.connect();
  // a node that was a primary a moment ago is shown again once it has caught up
  const shown = async () => {
    const slots = (await client.cluster("SLOTS")) as unknown as readonly Slots[];
    return [...slots]
      .sort(([first], [second]) => first - second)
      .map(([from, to, ...all]) => [from, to, ...all.map(([name, port]) => `${name}:${port}`)]);
  };
  const of = (shard: number): readonly string[] =>
    [1, 2].map((node) => `orders-000${shard}-00${node}.${domain}:${cache().port}`);
  await expect.poll(shown, { timeout: 10_000 }).toEqual([
    [0, 5460, ...of(1)],
    [5461, 10_922, ...of(2)],
    [10_923, 16_383, ...of(3)],
  ]);
  expect(Object.keys(cache().hosts)).toHaveLength(6);
});

test("a key of another shard is MOVED to its front", async () => {
  await cache().apply(users);
  const raw = await dialRaw(cache());
  raw.say(resp("AUTH", "ada", token) + resp("GET", "foo"));
  expect(await raw.lines(2)).toEqual(["+OK", `-MOVED 12182 ${names[2]}:${cache().port}`]);
});

test("a cluster client that is given one front finds all the others, verified by name, and logs in at each", async () => {
  await cache().apply(users);
  const cluster = dialCluster(cache(), ada);
  const values = Array.from({ length: 60 }, (_, at) => [`key-${at}`, `value-${at}`] as const);
  await Promise.all(values.map(([key, value]) => cluster.set(key, value)));
  expect(await Promise.all(values.map(([key]) => cluster.get(key)))).toEqual(values.map(([, value]) => value));
  for (const front of cache().fronts.slice(0, 3)) expect(front.counters().admitted).toBeGreaterThan(0);
});

test("each front shows a certificate for its node's name and the cluster's", async () => {
  for (const [at, front] of cache().fronts.entries())
    for (const servername of [Object.keys(cache().hosts)[at] ?? "", `clustercfg.${domain}`])
      await new Promise<void>((answer, refuse) => {
        const socket = connect({ host: front.host, port: front.port, ca: authority.ca, servername }, () => {
          socket.destroy();
          answer();
        }).once("error", refuse);
      });
});

test("a replica that is promoted serves its shard, and a client finds it by itself", async () => {
  await cache().apply(users);
  const cluster = dialCluster(cache(), ada);
  for (const key of keys) await cluster.set(key, "before");
  await cache().redis.promote(3);
  expect(await cache().redis.isPrimary(3)).toBe(true);
  await expect.poll(() => cluster.set("b", "after").catch(String), { timeout: 10_000 }).toBe("OK");
  expect(await cluster.get("b")).toBe("after");
  const raw = await dialRaw(cache(), 2);
  raw.say(resp("AUTH", "ada", token) + resp("GET", "b"));
  await raw.lines(1);
  await expect
    .poll(
      async () => {
        raw.say(resp("GET", "b"));
        return (await raw.lines(1))[0];
      },
      { timeout: 10_000 },
    )
    .toBe(`-MOVED 3300 ${names[3]}:${cache().port}`);
  await cache().redis.promote(0);
});

describe("when a primary dies", () => {
  const mortal = stage(nodes);

  test("its replica takes over, and users go on to come to those that are left", async () => {
    await mortal().apply(users);
    await mortal().redis.nodes[1]?.stop("SIGKILL");
    await mortal().redis.promote(4);
    const cluster = dialCluster(mortal(), { username: "grace", password: "grace-has-a-long-password" });
    await expect.poll(() => cluster.set("hello-5", "again").catch(String), { timeout: 10_000 }).toBe("OK");
    await mortal().apply([nobody, iam("ada")]);
    await expect(
      dial(mortal(), { username: "grace", password: "grace-has-a-long-password" }).connect(),
    ).rejects.toThrow();
  });
});
