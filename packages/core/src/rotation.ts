// What a rotation does next: the record and what was seen of the world since the last change make one action. Pure; rotator.ts
// carries it out. Rules: no password is promoted that has not logged in at every node just now; the user always has the current
// password beside the new one; a version's id is in the record before it is put; what is done again is done the same.
import { spend } from "./budget.ts";
import { Failure, type FailureCode } from "./failure.ts";
import type { UserState } from "./kind.ts";
import type { ManagedUser } from "./managed.ts";

/** What the nodes said to a password. `refused` by one counts before `unreachable`. */
export type Answer = { readonly said: "ok" } | { readonly said: "refused" | "unreachable"; readonly reason: string };

/** Versions of the secret, by stage. */
export interface SeenSecret {
  readonly current: string;
  readonly previous?: string;
  /** The version that is being brought in is among those that have a stage. */
  readonly staged: boolean;
}

/** What was seen since the last change to the world. What is not there was not looked at. */
export interface Seen {
  readonly now: number;
  /** A version id that was never used, and a number from 0 to 1. */
  readonly fresh: string;
  readonly jitter: number;
  readonly user?: UserState;
  readonly secret?: SeenSecret | "missing";
  /** `none`: there is no current password yet. */
  readonly current?: Answer | "none";
  readonly pending?: Answer;
}
export type Looked = "user" | "secret" | "current" | "pending";

/** New values of the record's members; `undefined` takes one out. */
export type Update = { readonly [Member in keyof ManagedUser]?: ManagedUser[Member] | undefined };

/** One step. `pay` is written before it is done, `write` after it; `last` ends the pass: what follows is seen by the next tick. */
export type Action =
  | { readonly do: "rest"; readonly write?: Update }
  | { readonly do: "look"; readonly at: Looked }
  | { readonly do: "note"; readonly write: Update }
  | { readonly do: "make"; readonly pay: Update }
  | { readonly do: "stage"; readonly version: string; readonly write: Update }
  | { readonly do: "apply"; readonly versions: readonly string[]; readonly write: Update; readonly last: true }
  | { readonly do: "repair"; readonly versions: readonly string[]; readonly write: Update; readonly last: true }
  | { readonly do: "promote"; readonly to: string; readonly from: string; readonly write: Update; readonly last: true }
  | { readonly do: "discard"; readonly write: Update; readonly last: true }
  | { readonly do: "fail"; readonly failure: Failure; readonly write?: Update };

export const interval = 15 * 60_000;
/** So many failures in a row, and somebody is told. */
export const alarmAfter = 3;
/** So often must AWS or a listing say that a user is not there before it is let go. */
export const missesToLeave = 2;
/** A change that takes longer than this is a failure; it is waited for all the same. */
const changeFor = 10 * 60_000;
const firstPause = 60_000;

const rest: Action = { do: "rest" };
const look = (at: Looked): Action => ({ do: "look", at });
const note = (write: Update): Action => ({ do: "note", write });
/** Begins again with another version: what was staged is not there any more. */
const afresh: Update = { state: "due", version: undefined, replaces: undefined };

/** Has it anything to do at this time? */
export const isDue = (
  { state, nextDueAt, askedAt, retryAt }: Pick<ManagedUser, "state" | "nextDueAt" | "askedAt" | "retryAt">,
  now: number,
): boolean =>
  state !== "ended" &&
  (retryAt === undefined || retryAt <= now) &&
  (state !== "current" || askedAt !== undefined || nextDueAt <= now);

export const nextStep = (record: ManagedUser, seen: Seen): Action => {
  const { state } = record;
  if (!isDue(record, seen.now)) return rest;
  if (state === "leaving") return { do: "discard", write: { ...afresh, state: "ended" }, last: true };
  if (state === "current") return note({ state: "due" });
  if (seen.user === undefined) return look("user");
  if (seen.user === "gone" || seen.user === "iam") return { do: "rest", write: miss(record, seen) };
  if (seen.user === "modifying") return isSlow(record, seen) ? fail("timeout", "AWS is still changing the user") : rest;
  if (seen.secret === undefined) return look("secret");
  if (seen.secret === "missing") return make(record, seen);
  if (state === "due") return record.version === undefined ? begin(record, seen, seen.secret) : stage(record.version);
  if (record.version === undefined || !seen.secret.staged) return note(afresh);
  return state === "staged" ? apply(record.version, seen, seen.secret) : bring(record, record.version, seen);
};

/** The secret is not there, and nor is what was in it. */
const make = (record: ManagedUser, { now }: Seen): Action => {
  if (record.version !== undefined) return note(afresh);
  const spent = spend(record.budget, now, "mend");
  return "until" in spent ? exhausted(spent.until, now) : { do: "make", pay: { budget: spent.budget } };
};

/** Nothing is begun before the password of now is known to work: one that does not is mended first. */
const begin = (record: ManagedUser, seen: Seen, secret: SeenSecret): Action => {
  // before the first promotion nobody relies on it
  if (record.lastSuccessAt !== undefined) {
    if (seen.current === undefined) return look("current");
    if (seen.current !== "none" && seen.current.said === "unreachable") return unreachable(seen.current.reason);
    if (seen.current !== "none" && seen.current.said === "refused") return repair(record, seen, secret);
  }
  const isByHand = record.nextDueAt > seen.now;
  const spent = spend(record.budget, seen.now, isByHand ? "hand" : "schedule");
  if ("until" in spent) return isByHand ? refuse(seen) : exhausted(spent.until, seen.now);
  return note({ version: seen.fresh, budget: spent.budget, askedAt: undefined });
};

const stage = (version: string): Action => ({ do: "stage", version, write: { state: "staged" } });

/** The current password stays beside the new one: whoever read it before logs in with it after. */
const apply = (version: string, { now }: Seen, { current, previous }: SeenSecret): Action => ({
  do: "apply",
  // promoted by hand already: then the one before is still in use
  versions: current !== version ? [current, version] : previous === undefined ? [version] : [previous, version],
  write: { state: "applied", replaces: current, appliedAt: now },
  last: true,
});

/** Somebody changed the user's passwords by hand: it is given those of the secret again. */
const repair = (record: ManagedUser, seen: Seen, { current, previous }: SeenSecret): Action => {
  const versions = previous === undefined ? [current] : [current, previous];
  const failure = new Failure("upstream_refused", "the current password was refused: it was given to the user again", {
    hint: "somebody changes this user's passwords elsewhere, a stack for example: leave them to Sallyport",
  });
  return { do: "repair", versions, write: { ...afterFailure(record, failure, seen), appliedAt: seen.now }, last: true };
};

/** From applied to current: nothing but a login at every node, seen in this very pass, leads to the promotion. */
const bring = (record: ManagedUser, version: string, seen: Seen): Action => {
  const { current } = seen.secret as SeenSecret;
  // somebody else moved it: what the user was given is not what is current
  if (current !== record.replaces && current !== version) return note({ state: "staged" });
  if (seen.pending === undefined) return look("pending");
  if (seen.pending.said === "unreachable") return unreachable(seen.pending.reason);
  if (seen.pending.said === "refused")
    // it is applied once more
    return fail("upstream_refused", `the new password was refused: ${seen.pending.reason}`, { state: "staged" });
  if (record.state === "applied") return note({ state: "verified" });
  return {
    do: "promote",
    to: version,
    from: record.replaces ?? current,
    write: {
      state: "current",
      version: undefined,
      replaces: undefined,
      lastSuccessAt: seen.now,
      failures: 0,
      retryAt: undefined,
      lastError: undefined,
      nextDueAt: nextDue(record.nextDueAt, seen.now),
    },
    last: true,
  };
};

/** The next time of its own that is to come: what was missed is not made up for. */
const nextDue = (dueAt: number, now: number): number =>
  dueAt > now ? dueAt : dueAt + Math.ceil((now - dueAt + 1) / interval) * interval;

const miss = ({ misses }: ManagedUser, { now, user }: Seen): Update => ({
  misses: misses + 1,
  ...(misses + 1 >= missesToLeave ? { state: "leaving" as const } : { retryAt: now + firstPause }),
  lastError: {
    at: now,
    code: "not_found",
    message: user === "iam" ? "the user logs in by IAM now" : "AWS knows no such user",
  },
});

/** Since we changed it, or else since it should have been. */
const isSlow = ({ state, appliedAt, nextDueAt, createdAt }: ManagedUser, { now }: Seen): boolean => {
  const isOurs = state === "applied" && appliedAt !== undefined;
  return now - (isOurs ? appliedAt : Math.max(nextDueAt, createdAt, appliedAt ?? 0)) > changeFor;
};

const fail = (code: FailureCode, message: string, write?: Update): Action => ({
  do: "fail",
  failure: new Failure(code, message),
  ...(write && { write }),
});
const unreachable = (reason: string): Action => fail("upstream_unreachable", reason);

const exhausted = (until: number, now: number): Action => ({
  do: "rest",
  write: {
    retryAt: until,
    lastError: { at: now, code: "too_many", message: "the versions of a day are used up: it goes on when one is free" },
  },
});

/** What was asked for by hand is not kept waiting for a day: the schedule goes on. */
const refuse = ({ now }: Seen): Action => {
  const message = "the rotations by hand of a day are used up: it goes on by the schedule";
  return {
    do: "rest",
    write: { state: "current", askedAt: undefined, lastError: { at: now, code: "too_many", message } },
  };
};

/** What a failed attempt leaves in the record: when it is tried again, later each time and not all at once. */
export const afterFailure = (
  { failures }: ManagedUser,
  { code, message, hint }: Failure,
  { now, jitter }: Pick<Seen, "now" | "jitter">,
): Update => ({
  failures: failures + 1,
  retryAt: now + Math.round(Math.min(firstPause * 2 ** failures, interval) * (0.5 + jitter / 2)),
  lastError: { at: now, code, message: hint === undefined ? message : `${message}\n${hint}` },
});

/** Is it now that somebody must be told? */
export const isAlarming = (failures: number): boolean => failures === alarmAfter || failures % (alarmAfter * 8) === 0;
