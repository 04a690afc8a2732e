// The databases in the table, brought in line with what listings saw. Names are settled here: a name stays with the thing
// that has it (S-06), so that no role, lock or token ever means another database than it did. A database is removed by the
// listing that found it, after two complete ones in a row that did not.
import * as z from "zod";
import type { RunLine } from "./api.ts";
import { eventChange } from "./audit.ts";
import { Database } from "./database.ts";
import { changeAccess } from "./epoch.ts";
import { Failure, toFailure } from "./failure.ts";
import { fromItem, keys, toItem, walk } from "./family.ts";
import { describeIssues } from "./issue.ts";
import type { Labels } from "./label.ts";
import { type Candidate, identityOf, type Seen } from "./listing.ts";
import { isReserved } from "./naming.ts";
import type { Change, Clock, Condition, Random, Store } from "./ports.ts";

export interface Apply {
  readonly clock: Clock;
  readonly random: Random;
  readonly actor: string;
  readonly dryRun?: boolean;
  /** False while something that might ask for a database can't be read. */
  readonly mayRemove: boolean;
}

type Misses = Readonly<Record<string, number>>;
export interface Outcome {
  readonly line: RunLine;
  /** How often in a row each database was not seen. */
  readonly misses: Misses;
}

const missesBeforeRemoval = 2;
const mostWarnings = 100;
const Run = z.object({ misses: z.record(z.string(), z.number()).default({}) });

/** A row of the table; undefined for one that can't be read: its name is taken, and what is seen under it replaces it. */
type Stored = ReadonlyMap<string, Database | undefined>;

const readStored = async (store: Store): Promise<Stored> => {
  const stored = new Map<string, Database | undefined>();
  for await (const item of walk(store, keys.database("").pk)) {
    try {
      stored.set(item.sk, fromItem(Database, item));
    } catch {
      stored.set(item.sk, undefined);
    }
  }
  return stored;
};

export const openCatalog = async (store: Store) => {
  const stored = await readStored(store);
  return {
    /** The tags that a thing had when it was last written. */
    lastTags(identity: string): Labels | undefined {
      const found = [...stored.values()].find((database) => database && identityOf(database) === identity);
      return found && Object.fromEntries(Object.entries(found.labels).filter(([label]) => !isReserved(label)));
    },
    /** One outcome per listing, those that nobody asks for any more included. `dynamic`: the names of all `db` resources. */
    async bringInLine(seen: readonly Seen[], dynamic: ReadonlySet<string>, apply: Apply): Promise<Outcome[]> {
      const settled = settle(stored, seen);
      const outcomes: Outcome[] = [];
      for (const listing of seen) outcomes.push(await finish(store, stored, settled, listing, dynamic, apply));
      const keysSeen = new Set(seen.map(({ key }) => key));
      const leftOver = [...stored.values()].filter((database) => database && !keysSeen.has(database.foundBy));
      for (const key of new Set(leftOver.flatMap((database) => database?.foundBy ?? [])))
        if (apply.mayRemove) outcomes.push(await forget(store, stored, settled, key, apply));
      return outcomes;
    },
  };
};

interface Settled {
  /** Per listing, the databases as they should be. */
  readonly wanted: ReadonlyMap<string, readonly Database[]>;
  /** Names whose thing was seen: they are not missing. */
  readonly present: ReadonlySet<string>;
  readonly warnings: ReadonlyMap<string, readonly string[]>;
}

/** Which thing has which name. Pure. */
const settle = (stored: Stored, seen: readonly Seen[]): Settled => {
  const names = new Map<string, string[]>();
  const owners = new Map<string, string>();
  for (const [name, database] of stored) {
    if (!database) continue;
    owners.set(name, identityOf(database));
    names.set(identityOf(database), [...(names.get(identityOf(database)) ?? []), name]);
  }
  const wanted = new Map<string, Database[]>(seen.map(({ key }) => [key, []]));
  const warnings = new Map<string, string[]>(seen.map(({ key }) => [key, []]));
  const present = new Set<string>();
  const warn = ({ database }: Candidate, text: string) => warnings.get(database.foundBy)?.push(text);

  const chosen = unique(stored, names, seen);
  const keeps = ({ identity, names: candidates }: Candidate) =>
    names.get(identity)?.find((name) => candidates.includes(name));
  // those that have their name already come first, so that nobody takes it from them
  for (const candidate of [...chosen.filter(keeps), ...chosen.filter((one) => keeps(one) === undefined)]) {
    const { identity, database } = candidate;
    const free = (name: string) => (owners.get(name) ?? identity) === identity;
    const name = keeps(candidate) ?? candidate.names.find(free);
    if (name === undefined) {
      warn(
        candidate,
        `${database.arn} is not registered: the name ${candidate.names.join(" or ")} is another database's`,
      );
      continue;
    }
    owners.set(name, identity);
    present.add(name);
    const endpoint = database.endpoint ?? stored.get(name)?.endpoint;
    if (!endpoint) {
      warn(candidate, `${name} is not registered: ${database.reason ?? "it has no endpoint yet"}`);
      continue;
    }
    const parsed = Database.safeParse({ ...database, name, endpoint });
    if (parsed.success) wanted.get(database.foundBy)?.push(parsed.data);
    else warn(candidate, `${database.arn} can't be registered: ${describeIssues(parsed.error.issues)}`);
  }
  return { wanted, present, warnings };
};

/** One candidate per thing: that of the listing that has it, unless that one looked everywhere and did not see it. */
const unique = (
  stored: Stored,
  names: ReadonlyMap<string, readonly string[]>,
  seen: readonly Seen[],
): readonly Candidate[] => {
  const incomplete = new Set(seen.filter(({ complete }) => !complete).map(({ key }) => key));
  const byIdentity = new Map<string, Candidate>();
  for (const candidate of seen.flatMap(({ candidates }) => candidates)) {
    const owner = names.get(candidate.identity)?.flatMap((name) => stored.get(name)?.foundBy ?? [])[0];
    const isOwners = candidate.database.foundBy === owner;
    if (!isOwners && owner !== undefined && incomplete.has(owner)) continue;
    if (isOwners || !byIdentity.has(candidate.identity)) byIdentity.set(candidate.identity, candidate);
  }
  return [...byIdentity.values()];
};

const finish = async (
  store: Store,
  stored: Stored,
  settled: Settled,
  listing: Seen,
  dynamic: ReadonlySet<string>,
  apply: Apply,
): Promise<Outcome> => {
  const { key, complete } = listing;
  const work = openWork(store, apply);
  const wanted = settled.wanted.get(key) ?? [];
  for (const database of wanted) {
    const before = stored.get(database.name);
    if (!before || canonical(before) !== canonical(database))
      await work.put(database, stored.has(database.name) ? conditionOf(before) : { absent: true }, before);
  }
  const run = await store.get(keys.run("discovery", key));
  const before = Run.safeParse(run).data?.misses ?? {};
  const misses: Record<string, number> = {};
  for (const database of stored.values()) {
    if (database?.foundBy !== key || settled.present.has(database.name)) continue;
    const { name } = database;
    const unasked =
      database.origin === "dynamic" && ![...dynamic].some((one) => name === one || name.startsWith(`${one}-`));
    const count = (before[name] ?? 0) + (complete && apply.mayRemove ? 1 : 0);
    if (apply.mayRemove && unasked) await work.remove(database, "its db resource was removed");
    else if (apply.mayRemove && complete && count >= missesBeforeRemoval)
      await work.remove(database, `AWS does not list it any more (${count} times in a row)`);
    else if (count > 0) misses[name] = count;
  }
  const warnings = [...listing.warnings, ...(settled.warnings.get(key) ?? []), ...work.warnings];
  const error = listing.error ?? work.error();
  return {
    line: {
      listing: key,
      at: apply.clock.now(),
      complete,
      found: wanted.length,
      written: work.written,
      removed: work.removed,
      warnings: bounded(warnings),
      ...(error !== undefined && { error }),
    },
    misses,
  };
};

/** A listing that is no longer asked for takes its databases along, but for those that another one sees now. */
const forget = async (
  store: Store,
  stored: Stored,
  { present }: Settled,
  key: string,
  apply: Apply,
): Promise<Outcome> => {
  const work = openWork(store, apply);
  for (const database of stored.values())
    if (database?.foundBy === key && !present.has(database.name))
      await work.remove(database, "no discovery_config asks for it any more");
  const { written, removed, warnings } = work;
  const error = work.error();
  const line = { listing: key, at: apply.clock.now(), complete: true, found: 0, written, removed, warnings };
  return { line: { ...line, ...(error !== undefined && { error }) }, misses: {} };
};

/** Writes databases one by one, each with its event and the epoch's step; one that fails does not stop the others. */
const openWork = (store: Store, { clock, random, actor, dryRun = false }: Apply) => {
  const written: string[] = [];
  const removed: string[] = [];
  const warnings: string[] = [];
  let error: string | undefined;
  const write = async (name: string, change: Change, event: Change, done: string[]): Promise<void> => {
    try {
      if (!dryRun) await changeAccess(store, change, event);
      done.push(name);
    } catch (thrown) {
      if (thrown instanceof Failure && thrown.code === "conflict")
        warnings.push(`${name} was changed by another run meanwhile`);
      else error ??= `${name}: ${toFailure(thrown).message}`;
    }
  };
  const eventOf = (name: "database.change" | "database.remove", database: Database, details: object) => {
    const facts = { database: database.name, kind: database.kind, arn: database.arn, listing: database.foundBy };
    return eventChange({ name, at: clock.now(), actor, details: { ...facts, ...details } }, random);
  };
  return {
    written,
    removed,
    warnings,
    error: () => error,
    put: (database: Database, condition: Condition, before: Database | undefined) => {
      const change = { put: toItem(keys.database(database.name), database), if: condition };
      const details = before ? { changed: differences(before, database) } : { added: true };
      return write(database.name, change, eventOf("database.change", database, details), written);
    },
    remove: (database: Database, why: string) => {
      const change = { remove: keys.database(database.name), if: conditionOf(database) };
      return write(database.name, change, eventOf("database.remove", database, { why }), removed);
    },
  };
};

/** Still the one that was read: another run may have been here meanwhile. */
const conditionOf = (before: Database | undefined): Condition =>
  before ? { equals: { arn: before.arn, foundBy: before.foundBy } } : { present: true };

const differences = (before: Database, after: Database): readonly string[] => {
  const members = Object.keys({ ...before, ...after }) as (keyof Database)[];
  return members.filter((member) => canonical(before[member]) !== canonical(after[member]));
};

/** Text that is equal for equal values, whatever the order of their members. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  ) ?? "";

const bounded = (warnings: readonly string[]): string[] => {
  const all = [...new Set(warnings)];
  return all.length <= mostWarnings
    ? all
    : [...all.slice(0, mostWarnings), `and ${all.length - mostWarnings} more warnings`];
};
