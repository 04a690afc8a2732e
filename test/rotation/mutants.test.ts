// The suite against rotations that are wrong: it must see that they are. What is wrong comes in by the seam through which the next
// step is asked for; nothing in the code knows of it.
import { nextStep } from "@sallyport/core/rotation";
import { describe, expect, it } from "vitest";
import { runAtRandom } from "./schedule.ts";
import type { Mutation } from "./world.ts";

const mutants: Readonly<Record<string, Mutation & { readonly broken: string }>> = {
  "promotes before the password has logged in": {
    next: (record, seen) => nextStep(record, { ...seen, pending: { said: "ok" } }),
    broken: "I1",
  },
  "gives the user the new password without the current one": {
    next(record, seen) {
      const action = nextStep(record, seen);
      return action.do === "apply" ? { ...action, versions: action.versions.slice(-1) } : action;
    },
    broken: "I1",
  },
};

describe.each(Object.entries(mutants))("a rotation that %s", (_, { next, broken }) => {
  it("breaks invariants in the same schedules that the real one passes", { timeout: 120_000 }, async () => {
    let found = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const [mutated, real] = [await runAtRandom(seed, { next }), await runAtRandom(seed)];
      expect(real.violations).toEqual([]);
      if (mutated.violations.some((text) => text.startsWith(broken))) found += 1;
    }
    expect(found).toBeGreaterThan(20);
  });
});
