// How a login finds the password that rotation keeps: by service, place, cache and user name, and never another's.
import { toItem } from "@sallyport/core/family";
import { ManagedUser, managedKey, managedSecret } from "@sallyport/core/managed";
import { openManagedPasswords } from "@sallyport/core/managed-password";
import { secret } from "@sallyport/core/secret";
import { beforeEach, expect, it } from "vitest";
import { type FakeStore, openFakeStore } from "../fakes/store.ts";
import { openFakeVault } from "../fakes/vault.ts";

const place = { service: "elasticache", account: "111122223333", region: "eu-west-1" } as const;
const arnOf = (cache: string): string => `arn:aws:elasticache:eu-west-1:111122223333:replicationgroup:${cache}`;
const make = (id: string, over: Partial<ManagedUser> = {}): ManagedUser =>
  ManagedUser.parse({
    ...place,
    kind: "elasticache",
    arn: `arn:aws:elasticache:eu-west-1:111122223333:user:${id}`,
    partition: "aws",
    id,
    user: "app",
    secret: managedSecret("sallyport", { ...place, id }),
    caches: [{ arn: arnOf("orders"), database: "orders", endpoints: [] }],
    state: "current",
    fence: 1,
    revision: 1,
    nextDueAt: 0,
    lastSuccessAt: 1,
    failures: 0,
    budget: { scheduled: [], spare: [] },
    misses: 0,
    createdAt: 0,
    ...over,
  });

let store: FakeStore;
let vault: ReturnType<typeof openFakeVault>;
const add = async (user: ManagedUser): Promise<void> => {
  await store.write({ put: toItem(managedKey(user), user) });
};
const rotate = async (name: string, ...values: readonly string[]): Promise<void> => {
  await vault.create(name);
  for (const value of values) {
    const versions = (await vault.describe(name)) ?? [];
    const from = versions.find(({ stages }) => stages.includes("AWSCURRENT"))?.version ?? "";
    await vault.stage(name, `version-of-${value}`.padEnd(32, "0"), secret(value));
    await vault.promote(name, { to: `version-of-${value}`.padEnd(32, "0"), from });
  }
};
const find = (cache = "orders", user = "app", over: object = {}) =>
  openManagedPasswords({ store, vault })("elasticache", { ...place, arn: arnOf(cache), ...over }, user);
beforeEach(() => {
  store = openFakeStore();
  vault = openFakeVault();
});

it("is the current one and the one before, read anew each time", async () => {
  const app = make("app-1");
  await add(app);
  await rotate(app.secret, "one", "two");
  const found = await find();
  expect([(await found?.current())?.reveal(), (await found?.previous())?.reveal()]).toEqual(["two", "one"]);
  await rotate(app.secret, "three");
  expect((await found?.current())?.reveal()).toBe("three");
});

it("I1 one that two rotations have overtaken since it was read is followed by what is current now, not by what it was itself", async () => {
  const app = make("app-1");
  await add(app);
  await rotate(app.secret, "one", "two");
  const found = await find();
  expect((await found?.current())?.reveal()).toBe("two");
  // promoted, and the user changed again: it takes three and four
  await rotate(app.secret, "three");
  expect((await found?.previous())?.reveal()).toBe("three");
});

it("is absent before the first was promoted, and where the secret was removed by hand", async () => {
  await add(make("app-1"));
  expect(await (await find())?.current()).toBeUndefined();
  await vault.create(make("app-1").secret);
  expect(await (await find())?.current()).toBeUndefined();
});

it("S-44 what is in its place before our first promotion is not read: it is somebody else's", async () => {
  const { lastSuccessAt: _, ...fresh } = make("app-1");
  await add(fresh);
  await rotate(fresh.secret, "theirs", "theirs too");
  const found = await find();
  expect([await found?.current(), await found?.previous()]).toEqual([undefined, undefined]);
});

it.each([
  ["another cache", () => find("billing")],
  ["another user, whose name only begins like it", () => find("orders", "ap")],
  ["a user whose name holds the mark between name and id", () => find("orders", "app#app")],
  ["another account", () => find("orders", "app", { account: "444455556666" })],
  ["another region", () => find("orders", "app", { region: "eu-west-2" })],
  [
    "another service",
    () => openManagedPasswords({ store, vault })("memorydb", { ...place, arn: arnOf("orders") }, "app"),
  ],
])("is nobody's for %s", async (_, look) => {
  await add(make("app-1"));
  expect(await look()).toBeUndefined();
});

it("users of one name are told apart by the caches that let them in", async () => {
  const billing = { caches: [{ arn: arnOf("billing"), database: "billing", endpoints: [] }] };
  await add(make("app-1"));
  await add(make("app-2", billing));
  await rotate(make("app-1").secret, "orders");
  await rotate(make("app-2").secret, "billing");
  expect((await (await find("orders"))?.current())?.reveal()).toBe("orders");
  expect((await (await find("billing"))?.current())?.reveal()).toBe("billing");
});

it.each(["leaving", "ended"] as const)("is not looked at of a user that is %s", async (state) => {
  await add(make("app-1", { state }));
  expect(await find()).toBeUndefined();
});

it("a record that can't be read lets nobody in", async () => {
  await store.write({ put: { ...toItem(managedKey(make("app-1")), make("app-1")), caches: "all of them" } });
  await expect(find()).rejects.toThrow("can't be read");
});
