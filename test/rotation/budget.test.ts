// I3: no pattern of retries, requests and accidents makes more versions than Secrets Manager bears.
import { spend, spentOf } from "@sallyport/core/budget";
import type { Budget } from "@sallyport/core/managed";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { faults } from "./machine.ts";
import { type HandName, runSchedule } from "./schedule.ts";

const minute = 60_000;
const day = 1440 * minute;
const none: Budget = { scheduled: [], spare: [] };

describe("the budget of versions", () => {
  it("I3 gives 98 in any 24 hours at most, whoever asks and however often", () => {
    const asked = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 40 * minute }), fc.constantFrom("schedule", "hand", "mend")),
      {
        minLength: 200,
        maxLength: 600,
      },
    );
    fc.assert(
      fc.property(asked, (all) => {
        let [now, budget] = [Date.UTC(2026, 0, 1), none];
        const paid: number[] = [];
        for (const [pause, by] of all) {
          now += pause;
          const spent = spend(budget, now, by as "schedule" | "hand" | "mend");
          if ("until" in spent) {
            expect(spent.until).toBeGreaterThan(now);
            continue;
          }
          budget = spent.budget;
          paid.push(now);
          expect(paid.filter((at) => now - at < day).length).toBeLessThanOrEqual(98);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("I3 pays for 96 a day by the schedule and 2 by hand, to the minute", () => {
    let budget = none;
    const start = Date.UTC(2026, 0, 1);
    for (let slot = 0; slot < 96; slot++) {
      const spent = spend(budget, start + slot * 15 * minute, "schedule");
      if ("until" in spent) throw new Error(`slot ${slot} had to wait`);
      budget = spent.budget;
    }
    const end = start + day - minute;
    for (let left = 2; left > 0; left--) budget = (spend(budget, end, "hand") as { budget: Budget }).budget;
    expect(spentOf(budget, end)).toBe(98);
    expect(spend(budget, end, "schedule")).toEqual({ until: start + day + minute });
    expect(spend(budget, end, "hand")).toEqual({ until: end + minute + day });
    expect(spend(budget, start + day + minute, "schedule")).toHaveProperty("budget");
  });

  it("a user that is rotated each quarter of an hour never waits for its budget, however late a tick was the day before", () => {
    const late = fc.array(fc.integer({ min: 0, max: 13 * minute }), { minLength: 4 * 96, maxLength: 4 * 96 });
    fc.assert(
      fc.property(late, (all) => {
        let budget = none;
        for (const [slot, after] of all.entries()) {
          const spent = spend(budget, Date.UTC(2026, 0, 1) + slot * 15 * minute + after, "schedule");
          if ("until" in spent) throw new Error(`slot ${slot} had to wait`);
          budget = spent.budget;
          // one is left for whoever asks by hand
          expect(budget.spare.length).toBeLessThan(2);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("what is asked for by hand takes nothing from the schedule; a secret that must be made again may", () => {
    let budget = none;
    const now = Date.UTC(2026, 0, 1);
    for (let left = 2; left > 0; left--) budget = (spend(budget, now, "hand") as { budget: Budget }).budget;
    expect(spend(budget, now, "hand")).toEqual({ until: now + day + minute });
    for (let left = 96; left > 0; left--) budget = (spend(budget, now, "mend") as { budget: Budget }).budget;
    expect([budget.spare.length, budget.scheduled.length]).toEqual([2, 96]);
    for (const by of ["schedule", "hand", "mend"] as const) expect(spend(budget, now, by)).toHaveProperty("until");
  });
});

describe("a day and a half of storm", () => {
  const storm = 36 * 60;
  const often: readonly HandName[] = ["asks for a rotation", "asks for a rotation", "ticks twice more"];
  const worse: readonly HandName[] = ["deletes the secret for good", "takes pending off", "takes pending off"];

  it.each([
    [1, 0.02],
    [2, 0.1],
    [3, 0.06],
  ] as const)(
    "I1 I2 I3 hold however often somebody asks for a rotation or deletes the secret (seed %d, faults %d)",
    { timeout: 300_000 },
    async (seed, faulty) => {
      const ran = await runSchedule(seed, {
        storm,
        caches: [1],
        restless: true,
        fault: (_, { dice }, isStorm) => (isStorm && dice.chance(faulty) ? dice.pick(faults) : undefined),
        hands: ({ dice }) =>
          Array.from({ length: storm / 4 }, (_, index) => ({
            name: dice.pick(dice.chance(0.5) ? worse : often),
            at: index * 4 * minute + dice.below(minute),
            id: "app-0",
          })),
      });
      expect(ran.violations).toEqual([]);
      // it came to the limit, and stayed there
      expect(ran.versions).toBeGreaterThan(98);
    },
  );
});
