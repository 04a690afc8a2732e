// What comes next, case by case: the record and what was seen make one action.

import { Failure } from "@sallyport/core/failure";
import type { ManagedUser } from "@sallyport/core/managed";
import { type Action, afterFailure, isDue, nextStep, type Seen } from "@sallyport/core/rotation";
import { describe, expect, it } from "vitest";

const minute = 60_000;
const now = Date.UTC(2026, 0, 5, 9);
const record = (over: Partial<ManagedUser> = {}): ManagedUser => ({
  service: "elasticache",
  kind: "elasticache",
  arn: "arn:aws:elasticache:eu-west-1:111122223333:user:app",
  partition: "aws",
  account: "111122223333",
  region: "eu-west-1",
  id: "app",
  user: "app",
  secret: "t/app/password",
  caches: [],
  state: "due",
  fence: 1,
  revision: 1,
  nextDueAt: now - minute,
  lastSuccessAt: now - 15 * minute,
  failures: 0,
  budget: { scheduled: [], spare: [] },
  misses: 0,
  createdAt: 0,
  ...over,
});
const seen = (over: Partial<Seen> = {}): Seen => ({ now, fresh: "v-new", jitter: 0.5, ...over });
const there = { current: "v-1", previous: "v-0", staged: true };
const ok = { said: "ok" } as const;
const refused = { said: "refused", reason: "10.0.0.1: WRONGPASS" } as const;
const unreachable = { said: "unreachable", reason: "10.0.0.2: no answer" } as const;
const bringing = { version: "v-2", replaces: "v-1" };

describe("the next step", () => {
  it.each<[string, Partial<ManagedUser>, Partial<Seen>, Partial<Action>]>([
    ["not due: nothing", { state: "current", nextDueAt: now + 1 }, {}, { do: "rest" }],
    ["pausing: nothing", { retryAt: now + 1 }, {}, { do: "rest" }],
    ["due by the schedule", { state: "current" }, {}, { do: "note", write: { state: "due" } }],
    ["asked for by hand", { state: "current", nextDueAt: now + 1, askedAt: now }, {}, { do: "note" }],
    ["first of all AWS is asked about the user", {}, {}, { do: "look", at: "user" }],
    ["a user that is being changed is left to the next tick", {}, { user: "modifying" }, { do: "rest" }],
    ["then the secret", {}, { user: "active" }, { do: "look", at: "secret" }],
    ["no secret: it is made, and paid for", {}, { user: "active", secret: "missing" }, { do: "make" }],
    ["then whether the current password works", {}, { user: "active", secret: there }, { do: "look", at: "current" }],
    [
      "one that was never promoted is not asked about",
      { lastSuccessAt: undefined as never },
      { user: "active", secret: there },
      { do: "note", write: expect.objectContaining({ version: "v-new" }) },
    ],
    [
      "a version is in the record before it is put",
      {},
      { user: "active", secret: there, current: ok },
      { do: "note", write: { version: "v-new", budget: { scheduled: [now / minute], spare: [] }, askedAt: undefined } },
    ],
    ["and is then put", { version: "v-2" }, { user: "active", secret: there }, { do: "stage", version: "v-2" }],
    [
      "the user is given it beside the current one",
      { state: "staged", version: "v-2" },
      { user: "active", secret: there },
      { do: "apply", versions: ["v-1", "v-2"] },
    ],
    [
      "promoted by hand before it was applied: the one before is in use still",
      { state: "staged", version: "v-2" },
      { user: "active", secret: { current: "v-2", previous: "v-1", staged: true } },
      { do: "apply", versions: ["v-1", "v-2"] },
    ],
    [
      "what is gone from the vault is begun afresh",
      { state: "applied", ...bringing },
      { user: "active", secret: { ...there, staged: false } },
      { do: "note", write: { state: "due", version: undefined, replaces: undefined } },
    ],
    [
      "applied: it must log in",
      { state: "applied", ...bringing },
      { user: "active", secret: there },
      { do: "look", at: "pending" },
    ],
    [
      "logged in everywhere: verified",
      { state: "applied", ...bringing },
      { user: "active", secret: there, pending: ok },
      { do: "note", write: { state: "verified" } },
    ],
    [
      "refused: it is applied once more",
      { state: "applied", ...bringing },
      { user: "active", secret: there, pending: refused },
      { do: "fail", write: { state: "staged" } },
    ],
    [
      "unreachable: it waits",
      { state: "applied", ...bringing },
      { user: "active", secret: there, pending: unreachable },
      { do: "fail" },
    ],
    [
      "verified by somebody before: it must log in again",
      { state: "verified", ...bringing },
      { user: "active", secret: there },
      { do: "look", at: "pending" },
    ],
    [
      "verified: promoted, if what it replaces is still current",
      { state: "verified", ...bringing },
      { user: "active", secret: there, pending: ok },
      { do: "promote", to: "v-2", from: "v-1" },
    ],
    [
      "somebody else moved CURRENT: applied beside what is current now",
      { state: "verified", ...bringing },
      { user: "active", secret: { ...there, current: "v-9" }, pending: ok },
      { do: "note", write: { state: "staged" } },
    ],
    [
      "promoted already, and not yet written: promoting is done again",
      { state: "verified", ...bringing },
      { user: "active", secret: { current: "v-2", previous: "v-1", staged: true }, pending: ok },
      { do: "promote", to: "v-2", from: "v-1" },
    ],
    [
      "the current password is refused: the user is given those of the secret again",
      {},
      { user: "active", secret: there, current: refused },
      { do: "repair", versions: ["v-1", "v-0"] },
    ],
    [
      "the nodes can't be asked: nothing is begun",
      {},
      { user: "active", secret: there, current: unreachable },
      { do: "fail" },
    ],
    [
      "gone for the first time: looked at again",
      {},
      { user: "gone" },
      { do: "rest", write: expect.objectContaining({ misses: 1 }) },
    ],
    [
      "I7 gone for the second time: let go",
      { misses: 1 },
      { user: "gone" },
      { do: "rest", write: expect.objectContaining({ state: "leaving" }) },
    ],
    [
      "I7 logs in by IAM now: let go",
      { state: "applied", ...bringing, misses: 1 },
      { user: "iam" },
      { do: "rest", write: expect.objectContaining({ state: "leaving" }) },
    ],
    [
      "leaving: its secret goes",
      { state: "leaving" },
      {},
      { do: "discard", write: expect.objectContaining({ state: "ended" }) },
    ],
    ["ended: nothing", { state: "ended" }, {}, { do: "rest" }],
  ])("%s", (_, over, saw, expected) => {
    expect(nextStep(record(over), seen(saw))).toMatchObject(expected);
  });

  it("I3 a day's versions used up: the schedule waits for the first to leave, and by hand is refused", () => {
    const minutes = Array.from({ length: 96 }, (_, index) => now / minute - 1000 + index);
    const budget = { scheduled: minutes, spare: [now / minute - 5, now / minute - 4] };
    const saw = seen({ user: "active", secret: there, current: ok });
    const waits = nextStep(record({ budget }), saw);
    expect(waits).toMatchObject({ do: "rest", write: { retryAt: ((minutes[0] ?? 0) + 1441) * minute } });
    const asked = nextStep(record({ budget, nextDueAt: now + minute, askedAt: now }), saw);
    expect(asked).toMatchObject({ do: "rest", write: { state: "current", askedAt: undefined } });
  });

  it("a change that AWS does not come to an end with is a failure", () => {
    const slow = record({ state: "applied", ...bringing, appliedAt: now - 11 * minute });
    expect(nextStep(slow, seen({ user: "modifying" }))).toMatchObject({ do: "fail", failure: { code: "timeout" } });
  });

  it.each(["due", "staged"] as const)(
    "a change of somebody else's that has no end is told of as well (%s)",
    (state) => {
      const at = (over: Partial<ManagedUser>) =>
        nextStep(record({ state, version: "v-2", nextDueAt: now - 11 * minute, ...over }), seen({ user: "modifying" }));
      expect(at({})).toMatchObject({ do: "fail", failure: { code: "timeout" } });
      // not of one that was changed or taken up only just now
      expect(at({ appliedAt: now - minute })).toEqual({ do: "rest" });
      expect(at({ createdAt: now - minute })).toEqual({ do: "rest" });
      expect(at({ nextDueAt: now + minute })).toEqual({ do: "rest" });
    },
  );

  it("the next rotation is at the next time of its own, not one for each that was missed", () => {
    const late = record({ state: "verified", ...bringing, nextDueAt: now - 50 * minute });
    const action = nextStep(late, seen({ user: "active", secret: there, pending: ok }));
    expect(action).toMatchObject({ do: "promote", write: { nextDueAt: now + 10 * minute, state: "current" } });
  });
});

it("pauses longer with each failure, up to a quarter of an hour, and never all at the same time", () => {
  const failure = new Failure("unavailable", "no");
  const pauses = Array.from({ length: 8 }, (_, failures) => {
    const at = (jitter: number): number =>
      (afterFailure(record({ failures }), failure, { now, jitter }).retryAt ?? 0) - now;
    expect(at(1)).toBe(2 * at(0));
    return at(1) / minute;
  });
  expect(pauses).toEqual([1, 2, 4, 8, 15, 15, 15, 15]);
});

it("is due when its time has come, when it was asked for and while it is on its way", () => {
  const at = (over: Partial<ManagedUser>) => isDue(record(over), now);
  expect([at({ state: "current" }), at({ state: "current", nextDueAt: now + 1 }), at({ state: "applied" })]).toEqual([
    true,
    false,
    true,
  ]);
  expect([
    at({ state: "ended" }),
    at({ retryAt: now + 1 }),
    at({ state: "current", nextDueAt: now + 1, askedAt: 1 }),
  ]).toEqual([false, false, true]);
});
