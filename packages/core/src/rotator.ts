// Carries a rotation on: one action at a time as rotation.ts says, each with a write to the record before or after it, on condition
// that nobody else wrote. Rules: a change to the world is begun only shortly after a write of our own, and takes less time than
// is left of the lease then; nothing is waited for, what takes time is seen by the next tick.
import { eventChange } from "./audit.ts";
import { Failure, toFailure } from "./failure.ts";
import { toItem } from "./family.ts";
import type { Kind, Kinds } from "./kind.ts";
import { type ManagedUser, managedKey, managedName } from "./managed.ts";
import type { Clock, Random, Store, Vault } from "./ports.ts";
import {
  type Action,
  type Answer,
  afterFailure,
  alarmAfter,
  isAlarming,
  type Looked,
  nextStep,
  type Seen,
  type SeenSecret,
  type Update,
} from "./rotation.ts";
import { type Secret, secret } from "./secret.ts";

export interface Rotator {
  readonly store: Store;
  readonly vault: Vault;
  readonly kinds: Partial<Kinds>;
  readonly clock: Clock;
  readonly random: Random;
  /** Logs in with a password at every node that the user can reach. */
  readonly probe: (user: ManagedUser, password: Secret) => Promise<Answer>;
  /** Resolves when AWS bears the calls of this action. */
  readonly turn?: (action: Action["do"], user: ManagedUser) => Promise<unknown>;
  /** Of this run alone. */
  readonly owner: string;
  readonly next?: (record: ManagedUser, seen: Seen) => Action;
}

/** What came of one pass. `record` is how it stands, as far as is known. */
export interface Passed {
  readonly record: ManagedUser;
  readonly outcome: "rotated" | "waiting" | "failed" | "lost" | "ended";
  readonly failure?: Failure;
  /** The current password was refused, and the user was given it again. */
  readonly repaired?: true;
}

/** A lease ends when the record has stayed as it is for so long, by the clock of whoever watches it. */
export const leaseFor = 40_000;
/** A change is begun this soon after the last write, and its calls are given up well before the rest of the lease. */
const effectWithin = 10_000;
/** A secret can be taken back for a week. */
const recoveryDays = 7;
const keepEndedFor = 30 * 86_400_000;
/** Steps of one pass: more would be a loop. */
const mostSteps = 32;

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
/** As Secrets Manager takes it for a version: 32 characters at least. */
const newId = (random: Random): string => hex(random.bytes(16)).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
/** 128 characters, the most that AWS takes. */
const newPassword = (random: Random): Secret => secret(hex(random.bytes(64)));

const isCode = (thrown: unknown, code: Failure["code"]): boolean => thrown instanceof Failure && thrown.code === code;

/** A record with its lease, and the way to write it. */
interface Held {
  record: ManagedUser;
  writtenAt: number;
}

export const openRotator = (parts: Rotator) => {
  const { store, vault, kinds, clock, random, probe, turn, owner, next = nextStep } = parts;

  /** The record as it will be, if nobody else wrote meanwhile. @throws Failure `conflict` when somebody did */
  const write = async (held: Held, update: Update, event?: { name: EventName; details?: object }): Promise<void> => {
    const { fence, revision } = held.record;
    const record = changed(held.record, { ...update, revision: revision + 1 });
    const at = clock.now();
    const until = record.state === "ended" ? at + keepEndedFor : undefined;
    const put = { put: toItem(managedKey(record), record, until), if: { equals: { fence, revision } } };
    const details = { user: managedName(record), name: record.user, arn: record.arn, ...event?.details };
    if (event) await store.transact([put, eventChange({ name: event.name, at, actor: "rotate", details }, random)]);
    else await store.write(put);
    held.record = record;
    held.writtenAt = at;
  };
  /** The lease still holds for a change that is begun now. */
  const renew = async (held: Held): Promise<void> => {
    if (clock.now() - held.writtenAt > effectWithin) await write(held, {});
  };

  const look = async ({ record }: Held, at: Looked, seen: Seen): Promise<Partial<Seen>> => {
    if (at === "user") return { user: await kindOf(kinds, record).userState(record) };
    if (at === "secret") return { secret: await lookAtSecret(vault, record) };
    const { secret: versions } = seen;
    const version = at === "pending" ? record.version : versions !== "missing" && versions?.current;
    const found = version ? await vault.read(record.secret, { version }) : undefined;
    if (at === "current") return { current: found ? await probe(record, found.value) : "none" };
    if (!found) throw new Failure("not_found", "the version that was staged is gone");
    return { pending: await probe(record, found.value) };
  };

  /** Resuming reads the version: a password is made only where there is none. */
  const stage = async (held: Held, version: string): Promise<void> => {
    if (await vault.read(held.record.secret, { version })) return;
    await renew(held);
    await vault.stage(held.record.secret, version, newPassword(random));
  };
  const apply = async (held: Held, versions: readonly string[]): Promise<void> => {
    const { record } = held;
    const found = await Promise.all(versions.map((version) => vault.read(record.secret, { version })));
    // a first version is none
    const passwords = found.flatMap((one) => (one ? [one.value] : []));
    if (found.at(-1) === undefined && record.state === "staged")
      throw new Failure("not_found", "the version that was staged is gone");
    await renew(held);
    // asked last of all: one that logs in by IAM since, or is gone, must not be given a password
    const state = await kindOf(kinds, record).userState(record);
    if (state !== "active") throw new Failure("conflict", `the user is ${state} since`);
    if (clock.now() - held.writtenAt > 2 * effectWithin) throw new Failure("timeout", "AWS took too long to answer");
    await kindOf(kinds, record).apply(record, passwords);
  };

  const act = async (held: Held, action: Exclude<Action, { do: "look" | "rest" | "fail" }>): Promise<void> => {
    const { secret: name } = held.record;
    if (action.do === "note") return write(held, action.write);
    await turn?.(action.do, held.record);
    if (action.do === "make") {
      await write(held, action.pay);
      return vault.create(name);
    }
    if (action.do === "stage") await stage(held, action.version);
    else if (action.do === "apply" || action.do === "repair") await apply(held, action.versions);
    else if (action.do === "promote") {
      await renew(held);
      await vault.promote(name, action);
    } else {
      await renew(held);
      // one that is not ours is left alone
      await vault.remove(name, recoveryDays).catch((thrown) => {
        if (!isCode(thrown, "conflict")) throw thrown;
      });
    }
    const event = eventOf[action.do];
    const released = "last" in action ? { owner: undefined } : {};
    await write(held, { ...action.write, ...released }, event && { name: event });
  };

  const fail = async (held: Held, failure: Failure, seen: Seen, more: Update = {}): Promise<Passed> => {
    const failures = held.record.failures + 1;
    const update = { ...afterFailure(held.record, failure, seen), ...more, owner: undefined };
    const details = { failures, code: failure.code, message: failure.message, after: alarmAfter };
    await write(held, update, isAlarming(failures) ? { name: "rotation.failure", details } : undefined);
    return { record: held.record, outcome: "failed", failure };
  };

  const walkOn = async (held: Held): Promise<Passed> => {
    const looking = (): Seen => ({
      now: clock.now(),
      fresh: newId(random),
      jitter: (random.bytes(1)[0] ?? 0) / 255,
    });
    let seen = looking();
    for (let left = mostSteps; left > 0; left--) {
      const action = next(held.record, { ...seen, now: clock.now() });
      if (action.do === "fail") return fail(held, action.failure, seen, action.write);
      if (action.do === "rest") {
        await write(held, { ...action.write, owner: undefined });
        return { record: held.record, outcome: "waiting" };
      }
      try {
        if (action.do === "look") seen = { ...seen, ...(await look(held, action.at, seen)) };
        else await act(held, action);
      } catch (thrown) {
        return fail(held, toFailure(thrown), seen);
      }
      if (action.do === "promote") return { record: held.record, outcome: "rotated" };
      if (action.do === "discard") return { record: held.record, outcome: "ended" };
      if (action.do === "repair") return { record: held.record, outcome: "waiting", repaired: true };
      if ("last" in action) return { record: held.record, outcome: "waiting" };
      // a note changes the record alone; after anything else all is looked at again
      if (action.do !== "look" && action.do !== "note") seen = looking();
    }
    return fail(held, new Failure("internal", "the rotation goes round in circles"), seen);
  };

  return {
    /** Takes the lease of a record as it was read, and carries it on as far as it goes now. Never rejects. */
    async pass(read: ManagedUser, asked = false): Promise<Passed> {
      const held: Held = { record: read, writtenAt: 0 };
      try {
        const now = clock.now();
        const urged = asked && read.state === "current" ? { state: "due" as const, askedAt: now } : {};
        await write(held, { owner, fence: read.fence + 1, ...(asked && { retryAt: undefined }), ...urged });
        return await walkOn(held);
      } catch (thrown) {
        // written by somebody else, or not known whether it was: whoever comes next finds out
        const failure = toFailure(thrown);
        return { record: held.record, outcome: failure.code === "conflict" ? "lost" : "failed", failure };
      }
    },
  };
};

type EventName = "rotation.success" | "rotation.failure" | "rotation.repair" | "rotation.end";
const eventOf: Partial<Record<Action["do"], EventName>> = {
  promote: "rotation.success",
  repair: "rotation.repair",
  discard: "rotation.end",
};

/** The members that are there. */
const changed = (record: ManagedUser, update: Update): ManagedUser =>
  Object.fromEntries(
    Object.entries({ ...record, ...update }).filter(([, value]) => value !== undefined),
  ) as ManagedUser;

const lookAtSecret = async (vault: Vault, { secret: name, version }: ManagedUser): Promise<SeenSecret | "missing"> => {
  const versions = await vault.describe(name);
  const holds = (stage: string) => versions?.find(({ stages }) => stages.includes(stage))?.version;
  const [current, previous] = [holds("AWSCURRENT"), holds("AWSPREVIOUS")];
  if (!versions || current === undefined) return "missing";
  const staged = versions.some((one) => one.version === version && one.stages.length > 0);
  return { current, staged, ...(previous !== undefined && { previous }) };
};

/** The verbs of a kind that has managed users. */
const kindOf = (kinds: Partial<Kinds>, { kind: name }: ManagedUser): Required<Pick<Kind, "userState" | "apply">> => {
  const { userState, apply } = kinds[name] ?? {};
  if (!userState || !apply) throw new Failure("unsupported", `${name} has no users whose passwords rotate`);
  return { userState, apply };
};
