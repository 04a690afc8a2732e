// ElastiCache, MemoryDB and STS of two laptop accounts and the kinds with exactly the permissions of a principal; fresh for each
// test of the file that imports this.
import { openKinds } from "@sallyport/aws/kinds";
import type { Database } from "@sallyport/core/database";
import type { FindManaged } from "@sallyport/core/managed-password";
import { type Principal, type Statement, statementsFor } from "@sallyport/core/permission";
import { openAccount } from "@sallyport/local/account";
import type { CachePlace, UserSpec } from "@sallyport/local/cache-user";
import { type CacheUsers, openCacheUsers } from "@sallyport/local/cache-users";
import { type Elasticache, openElasticache } from "@sallyport/local/services/elasticache";
import { type Memorydb, openMemorydb } from "@sallyport/local/services/memorydb";
import { openSts } from "@sallyport/local/services/sts";
import { afterEach, beforeEach } from "vitest";
import { makeDatabase } from "../core/make.ts";
import { accountId, deployment, region, where } from "./kinds-world.ts";
import { type Laptop, openLaptop } from "./laptop.ts";

export const cacheKinds = ["elasticache", "elasticache-serverless", "memorydb"] as const;
export type CacheKind = (typeof cacheKinds)[number];

export let laptop: Laptop;
export let users: CacheUsers;
export let elasticache: Elasticache;
export let memorydb: Memorydb;
let at: number;
beforeEach(async () => {
  at = Date.now();
  const now = () => at;
  users = openCacheUsers({ now });
  elasticache = openElasticache(users, now);
  memorydb = openMemorydb(users, now);
  const accounts = [openAccount({ id: accountId }), openAccount({ id: "444455556666" })];
  laptop = await openLaptop([elasticache.api, memorydb.api, openSts(accounts)], accounts);
});
afterEach(() => laptop[Symbol.asyncDispose]());
export const pass = (ms: number): void => {
  at += ms;
};
export const now = (): number => at;

/** With exactly what the principal may for this kind. */
export const open = (
  kind: CacheKind,
  principal: Principal,
  more: { readonly statements?: readonly Statement[]; readonly managed?: FindManaged } = {},
) => {
  const { statements = statementsFor(principal, deployment, [kind]), managed } = more;
  const connection = laptop.as(`${principal}-${kind}`, statements);
  return openKinds({ clock: { now: () => at }, connection, ...(managed && { managed }) })[kind];
};
/** What it may, but for one action. */
export const without = (kind: CacheKind, principal: Principal, action: string): readonly Statement[] =>
  statementsFor(principal, deployment, [kind]).map((statement) => ({
    ...statement,
    actions: statement.actions.filter((one) => one !== action),
  }));

export const serviceOf = (kind: CacheKind): "elasticache" | "memorydb" =>
  kind === "memorydb" ? "memorydb" : "elasticache";
export const place = (kind: CacheKind): CachePlace => ({ service: serviceOf(kind), ...where });
/** Adds users of the kind's service, and a group of all of them. */
export const addUsers = (kind: CacheKind, group: string, ...specs: readonly UserSpec[]): void => {
  for (const spec of specs) users.addUser(place(kind), spec);
  users.setGroup(
    place(kind),
    group,
    specs.map(({ id }) => id),
  );
};
/** Adds a cache of the kind that lets the users of a group in. */
export const addCache = (kind: CacheKind, id: string, group: string): void => {
  if (kind === "elasticache") elasticache.addReplicationGroup(where, { id, userGroups: [group] });
  else if (kind === "memorydb") memorydb.addCluster(where, { name: id, acl: group });
  else elasticache.addServerlessCache(where, { name: id, userGroup: group });
};
export const arnOf = (kind: CacheKind, id: string): string =>
  kind === "memorydb"
    ? `arn:aws:memorydb:${region}:${accountId}:cluster/${id}`
    : `arn:aws:elasticache:${region}:${accountId}:${kind === "elasticache" ? "replicationgroup" : "serverlesscache"}:${id}`;
export const userArn = (kind: CacheKind, id: string): string =>
  kind === "memorydb"
    ? `arn:aws:memorydb:${region}:${accountId}:user/${id}`
    : `arn:aws:elasticache:${region}:${accountId}:user:${id}`;

const hosts = {
  elasticache: "clustercfg.orders.abc123.euw1.cache.amazonaws.com",
  "elasticache-serverless": "orders-abc123.serverless.euw1.cache.amazonaws.com",
  memorydb: "clustercfg.orders.abc123.memorydb.eu-west-1.amazonaws.com",
} as const;
/** As discovery would have written it. */
export const cacheDatabase = (kind: CacheKind, over: Partial<Database> = {}): Database =>
  makeDatabase({
    kind,
    protocol: "redis",
    endpoint: { host: hosts[kind], port: 6379, verifyName: hosts[kind], roots: "amazon" },
    arn: arnOf(kind, "orders"),
    labels: { engine: "valkey", "engine-version": "8.0" },
    resourceId: "orders",
    foundBy: `${kind}/${region}/self`,
    ...over,
  });
