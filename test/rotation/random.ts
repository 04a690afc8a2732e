// Thousands of schedules in one test: what they did is counted, so that a suite in which nothing happens fails.
import { expect } from "vitest";
import { faults } from "./machine.ts";
import { handNames, runAtRandom } from "./schedule.ts";

export const runSeeds = async (from: number, to: number): Promise<void> => {
  // errors are part of the game, and where they come from is not asked
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  const counts = new Map<string, number>();
  let [calls, rotations] = [0, 0];
  try {
    for (let seed = from; seed <= to; seed++) {
      const ran = await runAtRandom(seed);
      calls += ran.calls;
      rotations += ran.rotations;
      for (const one of ran.happened) counts.set(one, (counts.get(one) ?? 0) + 1);
      expect({ seed, violations: ran.violations }).toEqual({ seed, violations: [] });
    }
  } finally {
    Error.stackTraceLimit = limit;
  }
  const expected = [...handNames, ...faults.map(({ kind, at }) => `${kind} ${at}`)];
  expect(expected.filter((one) => (counts.get(one) ?? 0) < (to - from) / 50)).toEqual([]);
  expect(rotations).toBeGreaterThan(to - from);
  const { user, system } = process.cpuUsage();
  process.stdout.write(
    `rotation: seeds ${from} to ${to}, ${calls} calls, ${rotations} rotations, ${((user + system) / 1e6).toFixed(0)} s of CPU\n`,
  );
};
