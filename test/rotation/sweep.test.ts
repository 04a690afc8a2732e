// One thing at a time, at every single call of two rotations: each fault, before and after; each thing that people do; one more
// rotator. Nothing is left to chance but how long AWS takes.
import { describe, expect, it } from "vitest";
import { faults } from "./machine.ts";
import { handNames, type Plan, type Ran, runSchedule } from "./schedule.ts";

const minute = 60_000;
const seed = 7;
// a new user, its first rotation and the next one by the schedule
const base: Plan = { storm: 16, caches: [2] };

const sweep = async (plans: (call: number) => Plan): Promise<{ ran: Ran[]; calls: number }> => {
  const { calls } = await runSchedule(seed, base);
  const ran: Ran[] = [];
  for (let call = 0; call < calls; call++) ran.push(await runSchedule(seed, plans(call)));
  return { ran, calls };
};
const broken = (ran: readonly Ran[]) =>
  ran.flatMap(({ violations }, call) => (violations.length > 0 ? [{ call, violations }] : []));

it("without any fault a new user is rotated at once and again by the schedule", async () => {
  const ran = await runSchedule(seed, base);
  expect(ran).toMatchObject({ violations: [], rotations: 2 });
  expect(ran.calls).toBeGreaterThan(60);
});

describe.each(faults.map((fault) => [`${fault.kind} ${fault.at}`, fault] as const))(
  "%s every call, one at a time",
  (_, fault) => {
    it("I1 I2 I3 I4 I6 hold, and the next ticks bring the rotation to its end", { timeout: 120_000 }, async () => {
      const { ran, calls } = await sweep((at) => ({ ...base, fault: (call) => (call === at ? fault : undefined) }));
      expect(broken(ran)).toEqual([]);
      expect(ran.filter(({ happened }) => happened.length === 1)).toHaveLength(calls);
      // killed, throttled or unanswered: it costs no more than the lease of who died, or one pause
      const slowest = Math.max(...ran.map(({ settledAfter }) => settledAfter));
      expect(slowest).toBeLessThan((base.storm + 8) * minute);
    });
  },
);

describe.each(handNames)("somebody %s at every call, one at a time", (name) => {
  it("I1 I2 I3 I5 I7 hold, and it ends cleanly", { timeout: 120_000 }, async () => {
    const { ran } = await sweep((call) => ({ ...base, hand: { name, call } }));
    expect(broken(ran)).toEqual([]);
    expect(ran.every(({ happened }) => happened.includes(name))).toBe(true);
  });
});
