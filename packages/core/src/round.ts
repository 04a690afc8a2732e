// One tick of rotation: the roll is called when it is time, and every user that has something to do is carried on, places beside one
// another, each at the rate that its service bears. Several ticks at once are harmless: what somebody works on is left to them,
// unless its record stays as it is for the length of a lease.

import type * as z from "zod";
import { Failure, toFailure } from "./failure.ts";
import { fromItem, keys, read, readAll, walk } from "./family.ts";
import type { Kinds } from "./kind.ts";
import { ManagedPlace, ManagedUser, managedAt, managedKey, managedName, placeOf, type Rotated } from "./managed.ts";
import { openPace, type Pace } from "./pace.ts";
import type { Clock, Random, Store, Vault } from "./ports.ts";
import { callRoll, type RollCall } from "./roster.ts";
import { type Action, alarmAfter, isDue, type Seen } from "./rotation.ts";
import { leaseFor, openRotator, type Passed } from "./rotator.ts";
import { type Ask, verify } from "./verify.ts";

export interface RoundParts {
  readonly store: Store;
  readonly vault: Vault;
  readonly kinds: Partial<Kinds>;
  readonly clock: Clock;
  readonly random: Random;
  readonly wait: (ms: number) => Promise<unknown>;
  readonly probing: Ask | undefined;
  /** What the secrets' names begin with. */
  readonly prefix: string;
  readonly next?: (record: ManagedUser, seen: Seen) => Action;
}

export interface Round {
  /** This user alone, by its whole name, now. */
  readonly user?: string;
  /** No user is taken up after this. */
  readonly until: number;
}
export interface Rounded {
  readonly rotated: Rotated;
  readonly failures: readonly { readonly user: string; readonly failure: Failure; readonly failures: number }[];
  /** Users whose passwords somebody else had changed. */
  readonly repaired: readonly string[];
  /** Absent when it was not time for it. */
  readonly roll?: readonly RollCall[];
}

/** Below what AWS takes: 5 changes of users a second in a place, at most 10 at once; 50 changes of secrets a second. */
const changesOfUsers = { perSecond: 4, burst: 5 };
const changesOfSecrets = { perSecond: 45, burst: 20 };
/** How often an action changes a secret. */
const secretChanges: Partial<Record<Action["do"], number>> = { make: 1, stage: 1, promote: 2, discard: 1 };
/** Users of one place that are carried on at the same time. */
const atOnce = 8;

/** What is looked at of those that have nothing to do: of many users, most. */
const Glance = ManagedUser.pick({
  service: true,
  region: true,
  account: true,
  id: true,
  state: true,
  nextDueAt: true,
  askedAt: true,
  retryAt: true,
  createdAt: true,
  failures: true,
});
type Glance = z.infer<typeof Glance>;

export const openRounds = (parts: RoundParts) => {
  const { store, clock, random, wait, probing } = parts;
  const pace = (rate: { perSecond: number; burst: number }): Pace => openPace(rate, clock, wait);
  const paces = new Map<string, Pace>();
  const secrets = pace(changesOfSecrets);
  const paceOf = (place: string): Pace => {
    const known = paces.get(place) ?? pace(changesOfUsers);
    paces.set(place, known);
    return known;
  };
  /** Records that somebody else holds, as they were first seen so. Kept from tick to tick. */
  const watched = new Map<string, { readonly revision: number; readonly since: number }>();

  /** Nobody holds it, or whoever does has not been heard of for the length of a lease. */
  const isFree = (record: ManagedUser): boolean => {
    const name = managedName(record);
    if (record.owner === undefined) {
      watched.delete(name);
      return true;
    }
    const seen = watched.get(name);
    if (seen?.revision === record.revision) return clock.now() - seen.since >= leaseFor;
    watched.set(name, { revision: record.revision, since: clock.now() });
    return false;
  };

  const run = async ({ user, until }: Round): Promise<Rounded> => {
    const owner = [...random.bytes(8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const { pass } = openRotator({
      ...parts,
      owner,
      probe: (record, password) => verify(probing, record, password),
      turn: (action, record) =>
        action === "apply" || action === "repair"
          ? paceOf(placeOf(record)).take(1)
          : secrets.take(secretChanges[action] ?? 0),
    });
    const latest = new Map<string, Glance>();
    const passed: Passed[] = [];
    const held: ManagedUser[] = [];
    let due = 0;

    const carryOn = async (record: ManagedUser): Promise<void> => {
      const result = await pass(record, user !== undefined);
      latest.set(managedName(record), result.record);
      passed.push(result);
    };

    const readPlace = async (place: string): Promise<ManagedUser[]> => {
      const work: ManagedUser[] = [];
      for await (const item of walk(store, managedAt(place).pk)) {
        const glance = fromItem(Glance, item);
        const name = managedName(glance);
        if (user !== undefined && name !== user) continue;
        latest.set(name, glance);
        if (user === undefined && !isDue(glance, clock.now())) continue;
        const record = fromItem(ManagedUser, item);
        due += 1;
        if (isFree(record)) work.push(record);
        else held.push(record);
      }
      return work.sort(byNeed);
    };

    const walkPlace = async (place: string): Promise<void> => {
      const work = await readPlace(place);
      const hands = Array.from({ length: atOnce }, async () => {
        for (let one = work.shift(); one; one = work.shift()) {
          if (clock.now() >= until) return;
          await carryOn(one);
        }
      });
      await Promise.all(hands);
    };

    /** Those that somebody else held are looked at once more: whoever died leaves them as they were. */
    const takeOver = async (): Promise<void> => {
      if (held.length === 0 || user !== undefined) return;
      await wait(leaseFor);
      await Promise.allSettled(
        held.map(async (record) => {
          const again = await read(store, ManagedUser, managedKey(record));
          if (again?.owner !== undefined && again.revision === record.revision && isFree(again)) await carryOn(again);
        }),
      );
    };

    const rotate = async (): Promise<void> => {
      const places = user === undefined ? await placesOf(store) : [user.split("/").slice(0, 3).join("/")];
      const walked = await Promise.allSettled(places.map(walkPlace));
      await takeOver();
      // a place that can't be read does not stop the others
      const broken = walked.find((one) => one.status === "rejected");
      if (broken) throw toFailure(broken.reason);
    };

    // nothing is left behind that would go on after the answer
    const [rolled, walked] = await Promise.allSettled([user === undefined ? callRoll(parts) : undefined, rotate()]);
    for (const one of [walked, rolled]) if (one.status === "rejected") throw toFailure(one.reason);
    const roll = rolled.status === "fulfilled" ? rolled.value : undefined;
    if (user !== undefined && latest.size === 0)
      throw new Failure("not_found", `${user} is not managed`, { hint: "sally get managed_user lists those that are" });
    return { ...summarise([...latest.values()], passed, due, clock.now()), ...(roll && { roll }) };
  };

  return { run };
};

const placesOf = async (store: Store): Promise<readonly string[]> =>
  (await readAll(store, ManagedPlace, keys.managedPlace("").pk)).map(({ place }) => place);

/** What was begun is finished first; then whoever waits longest. */
const byNeed = (a: ManagedUser, b: ManagedUser): number =>
  Number(a.state === "current" || a.state === "due") - Number(b.state === "current" || b.state === "due") ||
  a.nextDueAt - b.nextDueAt;

const summarise = (
  users: readonly Glance[],
  passed: readonly Passed[],
  due: number,
  now: number,
): Pick<Rounded, "rotated" | "failures" | "repaired"> => {
  const managed = users.filter(({ state }) => state !== "ended" && state !== "leaving");
  const count = (outcome: Passed["outcome"]): number => passed.filter((one) => one.outcome === outcome).length;
  const late = managed.map(({ nextDueAt, createdAt }) => now - Math.max(nextDueAt, createdAt));
  const rotated = count("rotated");
  const failed = count("failed");
  return {
    rotated: {
      managed: managed.length,
      due,
      rotated,
      failed,
      waiting: due - rotated - failed - count("ended"),
      lagMs: Math.max(0, ...late),
      failing: managed.filter(({ failures }) => failures >= alarmAfter).length,
    },
    repaired: passed.flatMap(({ record, repaired }) => (repaired ? [managedName(record)] : [])),
    failures: passed.flatMap(({ record, failure, outcome }) =>
      failure && outcome === "failed" ? [{ user: managedName(record), failure, failures: record.failures }] : [],
    ),
  };
};
