import { type Secret, secret } from "@sallyport/core/secret";
import type { CachePlace } from "@sallyport/local/cache-user";
import { afterEach, beforeEach, expect, test } from "vitest";
import { presign } from "./cache-token.ts";
import { accountId, ground, installed, region } from "./redis-account.ts";

const open = ground(["memorydb"]);
const place: CachePlace = { service: "memorydb", accountId, region };
const managed = "ledger-managed";
/** Logins on a busy machine take their time. */
const patient = { timeout: 10_000 };
const refused = "WRONGPASS invalid username-password pair or user is disabled.";
const sample = () => {
  const found = open().sample.memorydb;
  if (!found) throw new Error("no cache");
  return found;
};
const fresh = (name: string): Secret => secret(`${name}-${"0".repeat(32)}`);

/** Who each node lets in with this password. */
const seen = async (password: Secret, user = managed): Promise<readonly boolean[]> =>
  Promise.all([0, 1, 2].map(async (at) => (await open().login(sample(), user, password.reveal(), at)) === user));

/** Everything that is due happens, and is waited for. */
const settle = async (): Promise<void> => {
  const { timer, users } = open();
  const done = users.settled();
  let over = false;
  void done.finally(() => {
    over = true;
  });
  while (!over) {
    timer.advance(1_000);
    await new Promise(setImmediate);
  }
  await done;
};

afterEach(async () => {
  if (!installed) return;
  const { cache } = sample();
  for (const at of cache.fronts.keys()) await cache.lag(at);
  await settle();
});
beforeEach(() => sample().cache.delay(0));

test("a change comes to one node after the other, and the user is active only when all have it", async () => {
  const { users, timer } = open();
  sample().cache.delay(10_000);
  const [one, two] = [fresh("one"), fresh("two")];
  users.changeUser(place, managed, { passwords: [one, two] });
  expect(users.status(place, managed)).toBe("modifying");
  await expect.poll(() => seen(one), patient).toEqual([true, false, false]);
  timer.advance(10_000);
  await expect.poll(() => seen(two), patient).toEqual([true, true, false]);
  expect(users.status(place, managed)).toBe("modifying");
  timer.advance(10_000);
  await expect.poll(() => seen(one), patient).toEqual([true, true, true]);
  await users.settled();
  expect(users.status(place, managed)).toBe("active");
  expect(await seen(sample().users.passwords.managed)).toEqual([false, false, false]);
});

test("a slow node makes the change take longer, a stuck one as long as it is stuck", async () => {
  const { users, timer } = open();
  const [slow, stuck] = [fresh("slow"), fresh("stuck")];
  await sample().cache.lag(1, { is: "slow", byMs: 60_000 });
  users.changeUser(place, managed, { passwords: [slow] });
  await expect.poll(() => seen(slow), patient).toEqual([true, false, true]);
  expect(users.status(place, managed)).toBe("modifying");
  timer.advance(60_000);
  await expect.poll(() => seen(slow), patient).toEqual([true, true, true]);
  await users.settled();
  expect(users.status(place, managed)).toBe("active");

  await sample().cache.lag(1, { is: "stuck" });
  users.changeUser(place, managed, { passwords: [stuck] });
  await expect.poll(() => seen(stuck), patient).toEqual([true, false, true]);
  timer.advance(3_600_000);
  expect(await seen(stuck)).toEqual([true, false, true]);
  expect(users.status(place, managed)).toBe("modifying");
  await sample().cache.lag(1);
  await users.settled();
  expect(await seen(stuck)).toEqual([true, true, true]);
  expect(users.status(place, managed)).toBe("active");
});

test("a node may stay behind while the user is said to be active, and catches up when it behaves again", async () => {
  const { users } = open();
  const password = fresh("behind");
  await sample().cache.lag(2, { is: "behind" });
  users.changeUser(place, managed, { passwords: [password] });
  await settle();
  expect(users.status(place, managed)).toBe("active");
  expect(await seen(password)).toEqual([true, true, false]);
  await sample().cache.lag(2);
  expect(await seen(password)).toEqual([true, true, true]);
});

test("what an access string allows is what the user may do, selectors too, and never what the service restricts", async () => {
  const { users } = open();
  const [node] = sample().cache.redis.nodes;
  const may = async (...words: readonly string[]): Promise<string> =>
    String(await node?.command("ACL", "DRYRUN", managed, ...words));
  users.changeUser(place, managed, { accessString: "on ~app:* +@read (+set ~own:* +config)" });
  await settle();
  expect(await may("GET", "app:1")).toBe("OK");
  expect(await may("GET", "else")).toContain("no permissions");
  expect(await may("SET", "own:1", "x")).toBe("OK");
  expect(await may("SET", "app:1", "x")).toContain("no permissions");
  expect(await may("CONFIG", "GET", "x")).toContain("no permissions");
  users.changeUser(place, managed, { accessString: "off ~* +@all" });
  await settle();
  expect(await seen(fresh("behind"))).toEqual([false, false, false]);
  users.changeUser(place, managed, { accessString: "on ~* &* +@all" });
  await settle();
});

test("a user who becomes an IAM user has no password any more, and one who was gets one back", async () => {
  const { users, session, now } = open();
  const password = fresh("back");
  users.changeUser(place, managed, { type: "iam", passwords: [] });
  await settle();
  expect(await seen(fresh("behind"))).toEqual([false, false, false]);
  const token = secret(
    presign({ host: "ledger", user: managed, credentials: session, now: now(), service: "memorydb" }),
  );
  expect(await seen(token)).toEqual([true, true, true]);
  users.changeUser(place, managed, { type: "password", passwords: [password] });
  await settle();
  expect(await seen(token)).toEqual([false, false, false]);
  expect(await seen(password)).toEqual([true, true, true]);
});

test("a user taken out of the ACL is gone from every node and its sessions end; back in, it is back", async () => {
  const { users } = open();
  const { own, passwords, group } = sample().users;
  const members = users.group(place, group)?.userIds ?? [];
  expect(await seen(passwords.own, own)).toEqual([true, true, true]);
  users.setGroup(
    place,
    group,
    members.filter((id) => id !== own),
  );
  await settle();
  for (const node of sample().cache.redis.nodes) {
    expect(await node.command("ACL", "USERS")).not.toContain(own);
    expect(await node.command("CLIENT", "LIST")).not.toContain(`user=${own}`);
  }
  expect(await open().login(sample(), own, passwords.own.reveal())).toBe(refused);
  users.setGroup(place, group, members);
  await settle();
  expect(await seen(passwords.own, own)).toEqual([true, true, true]);
});

test("an access string that speaks of passwords reaches no node, and the user stays as it was", async () => {
  const { users } = open();
  const warnings: Error[] = [];
  const hear = (warning: Error): void => void warnings.push(warning);
  process.on("warning", hear);
  users.changeUser(place, "ledger-own", { accessString: "on ~* +@all >let-me-in" });
  await settle();
  expect(users.status(place, "ledger-own")).toBe("modifying");
  await expect.poll(() => warnings.length, patient).toBeGreaterThan(0);
  expect(String(warnings)).not.toContain("let-me-in");
  process.off("warning", hear);
  users.changeUser(place, "ledger-own", { accessString: "on ~* &* +@all" });
  await settle();
  expect(users.status(place, "ledger-own")).toBe("active");
});
