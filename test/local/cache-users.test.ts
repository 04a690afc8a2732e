// The store of cache users: who may log in to a cache, and when a change is done. Followers here are plain functions; real servers
// follow in the same way.
import { secret } from "@sallyport/core/secret";
import type { CachePlace, CacheRef, CacheUser } from "@sallyport/local/cache-user";
import { openCacheUsers } from "@sallyport/local/cache-users";
import { beforeEach, describe, expect, test } from "vitest";

const place: CachePlace = { service: "elasticache", accountId: "111122223333", region: "eu-west-1" };
const elsewhere: CachePlace = { ...place, region: "us-east-1" };
const cache: CacheRef = { ...place, type: "replicationgroup", id: "orders" };
const clock = { now: 0 };
let users: ReturnType<typeof openCacheUsers>;

beforeEach(() => {
  clock.now = 1_000_000;
  users = openCacheUsers({ now: () => clock.now, takesMs: 60_000 });
});

const passwords = (...words: string[]) => ({ type: "password" as const, passwords: words.map(secret) });
const addAnn = () => {
  users.addUser(place, { id: "ann", ...passwords("one") });
  users.setGroup(place, "writers", ["ann"]);
  users.guard(cache, { groups: ["writers"] });
};
/** What a server has: `name:password,password`. */
const worded = (all: readonly CacheUser[]) =>
  all.map((user) => `${user.name}:${user.passwords.map((password) => password.reveal()).join()}`);

/** A follower whose servers take as long as the test says. */
const follower = () => {
  const seen: string[][] = [];
  const waiting: (() => void)[] = [];
  const stop = users.follow(cache, (all) => {
    seen.push(worded(all));
    return new Promise<void>((resolve) => waiting.push(resolve));
  });
  const release = async () => {
    waiting.shift()?.();
    // the store's own continuation runs in the microtasks after ours
    await new Promise<void>((resolve) => setImmediate(resolve));
  };
  return { seen, release, stop };
};

describe("who may log in", () => {
  test("is everybody in the cache's groups, each once", () => {
    addAnn();
    users.addUser(place, { id: "bob" });
    users.setGroup(place, "readers", ["ann", "bob"]);
    users.guard(cache, { groups: ["writers", "readers"] });
    expect(users.usersOf(cache).map(({ name }) => name)).toEqual(["ann", "bob"]);
    expect(users.guarded(place, "readers")).toEqual([cache]);
    expect(users.groupsOf(place, "ann").map(({ id }) => id)).toEqual(["writers", "readers"]);
  });

  test("is the default user without a password where nothing guards it, and with the AUTH token where there is one", () => {
    expect(users.usersOf(cache)).toMatchObject([{ name: "default", type: "no-password", passwords: [] }]);
    users.guard(cache, { groups: [], authToken: secret("a-token-of-some-length") });
    expect(worded(users.usersOf(cache))).toEqual(["default:a-token-of-some-length"]);
  });

  test("is said for one region and one service", () => {
    addAnn();
    expect(users.user(elsewhere, "ann")).toBeUndefined();
    expect(users.user({ ...place, service: "memorydb" }, "ann")).toBeUndefined();
    expect(users.users(elsewhere).map(({ id }) => id)).toEqual(["default"]);
    expect(users.user(place, "ann")?.arn).toBe("arn:aws:elasticache:eu-west-1:111122223333:user:ann");
    const inMemorydb = users.addUser({ ...place, service: "memorydb" }, { id: "ann" });
    expect(inMemorydb.arn).toBe("arn:aws:memorydb:eu-west-1:111122223333:user/ann");
  });

  test("S-40 passwords of the store print as [secret]", () => {
    addAnn();
    expect(JSON.stringify(users.users(place))).not.toContain("one");
    expect(JSON.stringify(users.users(place))).toContain("[secret]");
  });
});

describe("a change", () => {
  test("without a server takes the account's own time", () => {
    addAnn();
    expect(users.status(place, "ann")).toBe("active");
    users.changeUser(place, "ann", passwords("one", "two"));
    expect(users.status(place, "ann")).toBe("modifying");
    clock.now += 59_999;
    expect(users.status(place, "ann")).toBe("modifying");
    clock.now += 1;
    expect(users.status(place, "ann")).toBe("active");
  });

  test("is not done before every server that follows has it, however much time passes", async () => {
    addAnn();
    const { seen, release, stop } = follower();
    await release();
    users.changeUser(place, "ann", passwords("one", "two"));
    clock.now += 3_600_000;
    expect(users.status(place, "ann")).toBe("modifying");
    await release();
    expect(users.status(place, "ann")).toBe("active");
    expect(seen).toEqual([["ann:one"], ["ann:one,two"]]);
    stop();
  });

  test("that comes while another is applied is applied after it, and only the newest", async () => {
    addAnn();
    users.takes(0);
    const { seen, release, stop } = follower();
    users.changeUser(place, "ann", passwords("two"));
    users.changeUser(place, "ann", passwords("three"));
    expect(seen).toEqual([["ann:one"]]);
    await release();
    expect(users.status(place, "ann")).toBe("modifying");
    expect(seen).toEqual([["ann:one"], ["ann:three"]]);
    await release();
    expect(users.status(place, "ann")).toBe("active");
    stop();
  });

  test("of somebody else does not keep a user modifying", async () => {
    addAnn();
    users.addUser(place, { id: "bob" });
    users.setGroup(place, "writers", ["ann", "bob"]);
    users.takes(0);
    const { release, stop } = follower();
    await release();
    users.changeUser(place, "bob", { accessString: "off -@all" });
    expect([users.status(place, "ann"), users.status(place, "bob")]).toEqual(["active", "modifying"]);
    stop();
  });

  test("that a server fails at stays modifying until a later one succeeds", async () => {
    addAnn();
    users.takes(0);
    const warned: unknown[] = [];
    const listen = (warning: Error) => warned.push(warning.message);
    process.on("warning", listen);
    let broken = true;
    const stop = users.follow(cache, async () => {
      if (broken) throw new Error("the server is away");
    });
    await users.settled();
    users.changeUser(place, "ann", passwords("two"));
    await users.settled();
    expect(users.status(place, "ann")).toBe("modifying");
    broken = false;
    await users.settled();
    expect(users.status(place, "ann")).toBe("active");
    await new Promise<void>((resolve) => setImmediate(resolve));
    process.off("warning", listen);
    expect(warned).toContain("the server is away");
    stop();
  });

  test("is followed no more after a stop", async () => {
    addAnn();
    users.takes(0);
    const { seen, release, stop } = follower();
    await release();
    stop();
    users.changeUser(place, "ann", passwords("two"));
    await users.settled();
    expect(seen).toEqual([["ann:one"]]);
    expect(users.status(place, "ann")).toBe("active");
  });
});

describe("a removed user", () => {
  test("leaves its groups and the servers at once, and is seen deleting for a while", async () => {
    addAnn();
    const { seen, release, stop } = follower();
    await release();
    users.removeUser(place, "ann");
    expect(seen.at(-1)).toEqual([]);
    expect(users.status(place, "ann")).toBe("deleting");
    clock.now += 60_000;
    expect(users.user(place, "ann")).toBeUndefined();
    stop();
  });

  test("may be made anew with other tags once it is gone", () => {
    users.takes(0);
    const { arn } = users.addUser(place, { id: "ann", tags: { "sallyport/managed": "true" } });
    expect(users.tags(arn)).toEqual({ "sallyport/managed": "true" });
    users.removeUser(place, "ann");
    users.addUser(place, { id: "ann" });
    expect(users.tags(arn)).toEqual({});
  });
});
