// Caches as people have them, for tests and the demo: one of each kind, guarded by a group or an ACL with one user of each sort.
import { randomBytes } from "node:crypto";
import { type Secret, secret } from "@sallyport/core/secret";
import type { CachePlace } from "./cache-user.ts";
import type { CacheUsers } from "./cache-users.ts";
import type { AccountCaches, AddedCache } from "./caches.ts";

export interface SampleUsers {
  /** The user group's id, or the ACL's name. */
  readonly group: string;
  /** Logs in with an IAM token. */
  readonly iam: string;
  /** Tagged for rotation. */
  readonly managed: string;
  /** Has a password that is its own business. */
  readonly own: string;
  /** What the two with passwords begin with. */
  readonly passwords: Readonly<Record<"managed" | "own", Secret>>;
}

const accessString = "on ~* &* +@all";
const password = (): Secret => secret(randomBytes(24).toString("hex"));

/** One user of each sort in a group of theirs; the default user is off. Ids are names, as IAM wants them. */
export const addSampleUsers = (users: CacheUsers, place: CachePlace, group = "caches"): SampleUsers => {
  const passwords = { managed: password(), own: password() };
  const named = (sort: string): string => `${group}-${sort}`;
  users.addUser(place, { id: named("iam"), type: "iam", accessString });
  users.addUser(place, {
    id: named("managed"),
    type: "password",
    passwords: [passwords.managed],
    accessString,
    tags: { "sallyport/managed": "true" },
  });
  users.addUser(place, { id: named("own"), type: "password", passwords: [passwords.own], accessString });
  users.addUser(place, {
    id: named("default"),
    name: "default",
    type: "password",
    passwords: [password()],
    accessString: "off -@all",
  });
  const sorts = ["iam", "managed", "own", ...(place.service === "memorydb" ? [] : ["default"])];
  users.setGroup(place, group, sorts.map(named));
  return { group, iam: named("iam"), managed: named("managed"), own: named("own"), passwords };
};

export interface SampleCache {
  readonly cache: AddedCache;
  readonly users: SampleUsers;
}
type Kind = "elasticache" | "elasticache-serverless" | "memorydb";

/** A replication group `orders` of two nodes, a serverless cache `carts`, a MemoryDB cluster `ledger` of three shards: those asked for. */
export const addSampleCaches = async <Asked extends Kind>(
  to: {
    readonly users: CacheUsers;
    readonly caches: AccountCaches;
    readonly accountId: string;
    readonly region: string;
  },
  kinds: readonly Asked[],
): Promise<Readonly<Record<Asked, SampleCache>>> => {
  const { users, caches, accountId, region } = to;
  const guarded = (service: CachePlace["service"], group: string) =>
    addSampleUsers(users, { service, accountId, region }, group);
  const add: Readonly<Record<Kind, () => Promise<SampleCache>>> = {
    elasticache: async () => {
      const made = guarded("elasticache", "orders");
      return { users: made, cache: await caches.addReplicationGroup({ id: "orders", userGroups: [made.group] }) };
    },
    "elasticache-serverless": async () => {
      const made = guarded("elasticache", "carts");
      return { users: made, cache: await caches.addServerlessCache({ name: "carts", userGroup: made.group }) };
    },
    memorydb: async () => {
      const made = guarded("memorydb", "ledger");
      return { users: made, cache: await caches.addMemoryCluster({ name: "ledger", shards: 3, acl: made.group }) };
    },
  };
  const added = await Promise.all(kinds.map(async (kind) => [kind, await add[kind]()] as const));
  // one for each that was asked for
  return Object.fromEntries(added) as Record<Asked, SampleCache>;
};
