// Who is managed: every few minutes the users that AWS shows are brought in line with the records. A user counts where one of the
// caches that let it in is a database here. Rule, as for databases: one that is no longer shown is let go after complete listings
// alone, two in a row; a record that somebody works on is left to the next time.

import * as z from "zod";
import { eventChange } from "./audit.ts";
import type { Database } from "./database.ts";
import { Assumed, Database as StoredDatabase } from "./database.ts";
import { readAsked } from "./discovery.ts";
import { Failure, toFailure } from "./failure.ts";
import { fromItem, keys, read, toItem, walk } from "./family.ts";
import type { Kinds, ManagedSighting } from "./kind.ts";
import { foreignTo, type Wanted } from "./listing.ts";
import {
  ManagedCache,
  ManagedPlace,
  ManagedUser,
  managedAt,
  managedKey,
  managedName,
  managedSecret,
  placeOf,
} from "./managed.ts";
import type { Clock, Random, Store } from "./ports.ts";
import { interval, missesToLeave } from "./rotation.ts";

export interface Roster {
  readonly store: Store;
  readonly kinds: Partial<Kinds>;
  readonly clock: Clock;
  readonly random: Random;
  /** What the secrets' names begin with. */
  readonly prefix: string;
}

/** What one listing came to. */
export interface RollCall {
  readonly listing: string;
  readonly users: number;
  readonly complete: boolean;
  readonly warnings: readonly string[];
  readonly error?: string;
}

const rollEvery = 5 * 60_000;
const rollKey = keys.run("rotation", "roster");
const Rolled = z.object({ startedAt: z.number() });

/** A user as it was shown, with what of it is a database here. */
type Shown = Pick<
  ManagedUser,
  "service" | "kind" | "arn" | "partition" | "account" | "region" | "id" | "user" | "assume" | "caches"
> &
  Pick<ManagedSighting, "withheld">;

/** Calls the roll if it is time for it; undefined when it is not. @throws Failure when the table can't be read */
export const callRoll = async (roster: Roster): Promise<readonly RollCall[] | undefined> => {
  const { store, clock } = roster;
  const last = await read(store, Rolled, rollKey);
  const startedAt = clock.now();
  if (last && startedAt - last.startedAt < rollEvery) return undefined;
  const unchanged = last ? { equals: { startedAt: last.startedAt } } : ({ absent: true } as const);
  try {
    await store.write({ put: toItem(rollKey, { startedAt }), if: unchanged });
  } catch (thrown) {
    // somebody else calls it now
    if (toFailure(thrown).code === "conflict") return undefined;
    throw thrown;
  }
  const [asked, databases] = await Promise.all([readAsked(store), readDatabases(store)]);
  const listings = asked.wanted.filter(({ kind }) => roster.kinds[kind]?.managedUsers);
  const calls = await Promise.all(listings.map((wanted) => listUsers(roster, wanted, databases)));
  const shown = new Map<string, Shown>();
  for (const { users } of calls) for (const user of users) merge(shown, user);
  // where something was overlooked, nobody is missed
  const partial = new Set(calls.flatMap(({ call, region }) => (call.complete ? [] : [region])));
  const mayMiss = ({ region }: ManagedUser) => asked.broken.length === 0 && !partial.has(region);
  await bringInLine(roster, shown, mayMiss);
  for (const { call } of calls)
    await store.write({ put: toItem(keys.run("rotation", call.listing), { ...call, at: clock.now() }) });
  return calls.map(({ call }) => call);
};

/** The databases by the ARN of the object that they are endpoints of. */
const readDatabases = async (store: Store): Promise<ReadonlyMap<string, Database>> => {
  const by = new Map<string, Database>();
  for await (const item of walk(store, keys.database("").pk)) {
    const database = StoredDatabase.safeParse(item).data;
    if (database && !by.has(database.arn)) by.set(database.arn, database);
  }
  return by;
};

const listUsers = async ({ kinds }: Roster, wanted: Wanted, databases: ReadonlyMap<string, Database>) => {
  const users: Shown[] = [];
  const warnings: string[] = [];
  let complete = true;
  let error: string | undefined;
  const { key: listing, region, assume } = wanted;
  try {
    const pages = kinds[wanted.kind]?.managedUsers?.({ region, ...(assume && { assume }) }) ?? [];
    for await (const page of pages) {
      warnings.push(...page.warnings);
      if (page.incomplete) complete = false;
      for (const user of page.users) {
        const caches = cachesOf(user, databases);
        if (foreignTo(wanted, user)) warnings.push(`${user.arn} is not of the account that was asked: it is left out`);
        else if (caches.length > 0)
          users.push({ ...factsOf(user), kind: wanted.kind, ...(assume && { assume }), caches });
      }
    }
  } catch (thrown) {
    complete = false;
    error = toFailure(thrown).message;
  }
  const call: RollCall = { listing, users: users.length, complete, warnings, ...(error !== undefined && { error }) };
  return { call, users, region };
};

const factsOf = ({ service, arn, partition, account, region, id, user, withheld }: ManagedSighting) => ({
  service,
  arn,
  partition,
  account,
  region,
  id,
  user,
  ...(withheld && { withheld }),
});

const cachesOf = (user: ManagedSighting, databases: ReadonlyMap<string, Database>): ManagedCache[] =>
  user.caches.flatMap(({ arn, endpoints }) => {
    const database = databases.get(arn);
    if (!database) return [];
    const { name, vpcId } = database;
    return [{ arn, database: name, endpoints: [...endpoints], ...(vpcId !== undefined && { vpcId }) }];
  });

/** A user that several listings show lets in to what any of them says. */
const merge = (shown: Map<string, Shown>, user: Shown): void => {
  const name = managedName(user);
  const known = shown.get(name);
  const more = user.caches.filter(({ arn }) => !known?.caches.some((cache) => cache.arn === arn));
  const caches = [...(known?.caches ?? []), ...more].sort((a, b) => (a.arn < b.arn ? -1 : 1));
  shown.set(name, { ...(known ?? user), caches });
};

const bringInLine = async (
  roster: Roster,
  shown: ReadonlyMap<string, Shown>,
  mayMiss: (record: ManagedUser) => boolean,
): Promise<void> => {
  const places = new Set<string>();
  const records: ManagedUser[] = [];
  for await (const item of walk(roster.store, keys.managedPlace("").pk)) {
    const { place } = fromItem(ManagedPlace, item);
    places.add(place);
    for await (const one of walk(roster.store, managedAt(place).pk)) records.push(fromItem(ManagedUser, one));
  }
  // one that was made anew to log in by another name has a record of its own, at the same secret: one after the other
  const live = new Set(records.flatMap((record) => (record.state === "ended" ? [] : [managedName(record)])));
  const budgets = new Map(records.map((record) => [managedName(record), record.budget]));
  const known = new Set(live);
  for (const record of records) {
    const name = managedName(record);
    const user = shown.get(name);
    const same = user?.user === record.user ? user : undefined;
    if (record.state === "ended" && (!same || live.has(name))) continue;
    known.add(name);
    const next = nextOf(roster, record, same, mayMiss);
    if (next) await put(roster, record, next);
  }
  for (const [name, user] of shown) {
    if (known.has(name) || user.withheld) continue;
    const place = placeOf(user);
    if (!places.has(place)) await roster.store.write({ put: toItem(keys.managedPlace(place), { place }) });
    places.add(place);
    const fresh = begun(roster, user);
    await put(roster, undefined, { ...fresh, budget: budgets.get(name) ?? fresh.budget });
  }
};

/** The record as it should be, where that is something else. */
const nextOf = (
  roster: Roster,
  record: ManagedUser,
  user: Shown | undefined,
  mayMiss: (record: ManagedUser) => boolean,
): ManagedUser | undefined => {
  // whoever works on it would lose it
  if (record.owner !== undefined) return undefined;
  if (!user) {
    if (record.state === "leaving" || record.state === "ended" || !mayMiss(record)) return undefined;
    const misses = record.misses + 1;
    return { ...record, misses, ...(misses >= missesToLeave && { state: "leaving" as const }) };
  }
  // nobody can tell just now whether it is tagged: it is not missed, and nothing begins anew
  if (user.withheld) return undefined;
  if (record.state === "leaving" || record.state === "ended") return begun(roster, user, record);
  const same = JSON.stringify(factsAt(record)) === JSON.stringify(factsAt(user));
  // one that no role is assumed for any more has none
  const { assume: _, ...rest } = record;
  return same && record.misses === 0 ? undefined : { ...rest, ...user, misses: 0 };
};

/** In one order of members, however they came. */
const factsAt = ({ kind, arn, assume, caches }: Shown) => [
  kind,
  arn,
  assume && Assumed.parse(assume),
  caches.map((cache) => ManagedCache.parse(cache)),
];

/** Starts anew. What was paid today stays paid, and whoever held the record before holds it no more. */
const begun = (roster: Roster, user: Shown, before?: ManagedUser): ManagedUser => {
  const now = roster.clock.now();
  return {
    ...user,
    secret: managedSecret(roster.prefix, user),
    state: "due",
    fence: before?.fence ?? 0,
    revision: before?.revision ?? 0,
    nextDueAt: lastTurn(managedName(user), now),
    failures: 0,
    budget: before?.budget ?? { scheduled: [], spare: [] },
    misses: 0,
    createdAt: now,
  };
};

const put = async (
  { store, clock, random }: Roster,
  before: ManagedUser | undefined,
  record: ManagedUser,
): Promise<void> => {
  const { fence, revision } = record;
  const next = { ...record, revision: revision + 1 };
  const change = {
    put: toItem(managedKey(next), next),
    if: before ? { equals: { fence, revision } } : ({ absent: true } as const),
  };
  const details = { user: managedName(next), name: next.user, arn: next.arn };
  const isNew = next.createdAt !== before?.createdAt;
  try {
    if (isNew)
      await store.transact([
        change,
        eventChange({ name: "rotation.begin", at: clock.now(), actor: "rotate", details }, random),
      ]);
    else await store.write(change);
  } catch (thrown) {
    // somebody else was faster: the next roll looks again
    if (!(thrown instanceof Failure) || thrown.code !== "conflict") throw thrown;
  }
};

/** Due now, and from then on each at its own time of the interval. */
const lastTurn = (name: string, now: number): number => {
  const turn = now - (now % interval) + (hashOf(name) % interval);
  return turn > now ? turn - interval : turn;
};

/** FNV-1a: spreads names evenly, and is no secret. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return hash;
};
