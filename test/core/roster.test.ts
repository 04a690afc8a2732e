// Who is managed: what AWS shows, against the records there are.
import { keys, toItem } from "@sallyport/core/family";
import type { FoundUsers, Kinds, ManagedSighting } from "@sallyport/core/kind";
import { type ManagedUser, managedKey, managedName } from "@sallyport/core/managed";
import { callRoll } from "@sallyport/core/roster";
import { expect, it } from "vitest";
import { openFakeKinds } from "../fakes/kinds.ts";
import { openFakeStore } from "../fakes/store.ts";
import { makeDatabase } from "./make.ts";

const minute = 60_000;
const [region, account] = ["eu-west-1", "111122223333"];
const arnOf = (cache: string) => `arn:aws:elasticache:${region}:${account}:replicationgroup:${cache}`;
const hostOf = (cache: string) => `master.${cache}.abc.euw1.cache.amazonaws.com`;

const sighting = (id: string, caches: readonly string[] = ["till"], over: Partial<ManagedSighting> = {}) => ({
  service: "elasticache" as const,
  arn: `arn:aws:elasticache:${region}:${account}:user:${id}`,
  partition: "aws",
  account,
  region,
  id,
  user: id,
  caches: caches.map((cache) => ({
    arn: arnOf(cache),
    endpoints: [{ host: hostOf(cache), port: 6379, verifyName: hostOf(cache), roots: "amazon" as const }],
  })),
  ...over,
});

const open = async () => {
  let now = Date.UTC(2026, 0, 5, 9, 7);
  const store = openFakeStore();
  const shown = new Map<string, Partial<FoundUsers> | Error>();
  const fake = openFakeKinds(new Map());
  const kind = (name: "elasticache" | "elasticache-serverless") => ({
    ...fake[name],
    async *managedUsers() {
      const page = shown.get(name) ?? {};
      if (page instanceof Error) throw page;
      yield { users: [], warnings: [], ...page };
    },
  });
  const kinds: Kinds = {
    ...fake,
    elasticache: kind("elasticache"),
    "elasticache-serverless": kind("elasticache-serverless"),
  };
  const spec = { aws: [{ types: ["elasticache", "elasticache-serverless"], regions: [region], tags: { "*": ["*"] } }] };
  const put = (item: Parameters<typeof toItem>[1], key: Parameters<typeof toItem>[0]) =>
    store.write({ put: toItem(key, item) });
  await put({ name: "all", spec, createdAt: 1, createdBy: "root", revision: 1 }, keys.discoveryConfig("all"));
  for (const name of ["till", "stall"])
    await put(
      makeDatabase({ name, arn: arnOf(name), kind: "elasticache", protocol: "redis", vpcId: "vpc-1" }),
      keys.database(name),
    );
  const random = { bytes: (count: number) => new Uint8Array(count).fill(7) };
  const records = (): ManagedUser[] =>
    store.items().filter(({ pk }) => pk.startsWith("managed#elasticache")) as unknown as ManagedUser[];
  return {
    store,
    shown,
    records,
    put,
    clock: {
      pass: (ms: number): void => {
        now += ms;
      },
      now: () => now,
    },
    /** The roll, called when it is time. */
    roll: async () => {
      now += 5 * minute;
      return callRoll({ store, kinds, clock: { now: () => now }, random, prefix: "t" });
    },
    again: () => callRoll({ store, kinds, clock: { now: () => now }, random, prefix: "t" }),
    events: (name: string) => store.items().filter((item) => item["name"] === name).length,
  };
};

it("a user that AWS shows in a cache that is a database here is managed from now on, and due", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app")] });
  expect(await world.roll()).toMatchObject([
    { users: 1, complete: true },
    { users: 0, complete: true },
  ]);
  const [record] = world.records();
  expect(record).toMatchObject({
    ...{ service: "elasticache", kind: "elasticache", id: "app", user: "app", state: "due", failures: 0, misses: 0 },
    secret: `t/elasticache/${region}/${account}/user/app/password`,
    caches: [{ arn: arnOf("till"), database: "till", vpcId: "vpc-1", endpoints: [{ host: hostOf("till") }] }],
  });
  expect(record?.nextDueAt).toBeLessThanOrEqual(world.clock.now());
  expect(record?.nextDueAt).toBeGreaterThan(world.clock.now() - 15 * minute);
  expect(world.events("rotation.begin")).toBe(1);
});

it("a user in no cache that is a database here, or of another account than was asked, is not", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app", ["somebody-elses"]), sighting("bob", [])] });
  await world.roll();
  expect(world.records()).toEqual([]);
});

it("is asked of AWS every five minutes and not before", async () => {
  const world = await open();
  expect(await world.roll()).toBeDefined();
  expect(await world.again()).toBeUndefined();
  world.clock.pass(5 * minute);
  expect(await world.again()).toBeDefined();
});

it("a user that two kinds show is one, in the caches of both", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app", ["till"])] });
  world.shown.set("elasticache-serverless", { users: [sighting("app", ["stall"])] });
  await world.roll();
  expect(world.records().map(({ caches }) => caches.map(({ database }) => database))).toEqual([["stall", "till"]]);
  const { revision } = world.records()[0] as ManagedUser;
  await world.roll();
  expect(world.records()[0]?.revision).toBe(revision);
});

it("I7 one that is no longer shown is let go after two complete listings, and starts anew when it is back", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  world.shown.set("elasticache", {});
  await world.roll();
  expect(world.records()[0]).toMatchObject({ state: "due", misses: 1 });
  await world.roll();
  expect(world.records()[0]).toMatchObject({ state: "leaving", misses: 2 });
  const paid = { scheduled: [29_000_000], spare: [] };
  const record = world.records()[0] as ManagedUser;
  await world.put({ ...record, state: "ended", budget: paid, lastSuccessAt: 5 }, managedKey(record));
  await world.roll();
  expect(world.records()[0]?.state).toBe("ended");
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  // what was paid for stays paid; that a password of ours was ever in use does not
  expect(world.records()[0]).toMatchObject({ state: "due", misses: 0, budget: paid, fence: record.fence });
  expect(world.records()[0]).not.toHaveProperty("lastSuccessAt");
  expect(world.events("rotation.begin")).toBe(2);
});

it.each<[string, Partial<FoundUsers> | Error]>([
  ["fails", new Error("AWS is out")],
  ["is not complete", { incomplete: true }],
])("I7 nobody is missed where a listing %s", async (_, page) => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  world.shown.set("elasticache", {});
  world.shown.set("elasticache-serverless", page);
  for (let left = 3; left > 0; left--) await world.roll();
  expect(world.records()[0]).toMatchObject({ state: "due", misses: 0 });
});

it("whose tags are withheld stays managed, and does not begin to be", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  world.shown.set("elasticache", {
    users: [sighting("app", ["till"], { withheld: true }), sighting("new", ["till"], { withheld: true })],
  });
  for (let left = 3; left > 0; left--) await world.roll();
  expect(world.records().map(managedName)).toEqual([`elasticache/${region}/${account}/app`]);
  expect(world.records()[0]).toMatchObject({ state: "due", misses: 0 });
});

it("I2 a record that somebody works on is left to the next roll", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  const record = { ...(world.records()[0] as ManagedUser), owner: "somebody" };
  await world.put(record, managedKey(record));
  world.shown.set("elasticache", {});
  for (let left = 3; left > 0; left--) await world.roll();
  expect(world.records()[0]).toEqual(expect.objectContaining(record));
});

it("I7 one that was made anew to log in by another name is let go first, and then taken up by that name", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  const old = world.records()[0] as ManagedUser;
  const anew = sighting("app", ["till"], { user: "shop" });
  world.shown.set("elasticache", { users: [anew] });
  await world.roll();
  // both would be at the same secret
  expect(world.records()).toMatchObject([{ user: "app", state: "due", misses: 1 }]);
  await world.roll();
  await world.roll();
  expect(world.records()).toMatchObject([{ user: "app", state: "leaving" }]);
  const budget = { scheduled: [29_000_000], spare: [] };
  await world.put({ ...(world.records()[0] as ManagedUser), state: "ended", budget }, managedKey(old));
  await world.roll();
  const byUser = () => new Map(world.records().map((record) => [record.user, record]));
  expect(byUser().get("app")?.state).toBe("ended");
  // what was paid of the day is the secret's, not the name's
  expect(byUser().get("shop")).toMatchObject({ state: "due", id: "app", budget, secret: old.secret });
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  expect([...byUser().values()].map(({ state }) => state).sort()).toEqual(["due", "ended"]);
});

it("a user that is listed without a role from now on is changed without it", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  const record = world.records()[0] as ManagedUser;
  const assume = { roleArn: `arn:aws:iam::${account}:role/gone` };
  await world.put({ ...record, assume }, managedKey(record));
  await world.roll();
  expect(world.records()[0]).not.toHaveProperty("assume");
  const { revision } = world.records()[0] as ManagedUser;
  await world.roll();
  expect(world.records()[0]?.revision).toBe(revision);
});

it("I5 I7 of two rolls that are called at once one is: a user is not missed twice by what AWS said once", async () => {
  const world = await open();
  world.shown.set("elasticache", { users: [sighting("app")] });
  await world.roll();
  world.shown.set("elasticache", {});
  world.clock.pass(5 * minute);
  const rolls = await Promise.all([world.again(), world.again(), world.again()]);
  expect(rolls.filter((roll) => roll !== undefined)).toHaveLength(1);
  expect(world.records()[0]).toMatchObject({ state: "due", misses: 1 });
});
