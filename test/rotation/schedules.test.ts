import { expect, it } from "vitest";
import { runSchedule } from "./schedule.ts";

it("one", { timeout: 120_000 }, async () => {
  const began = performance.now();
  let calls = 0,
    rotations = 0,
    bad = 0;
  const n = Number(process.env["N"] ?? 100);
  for (let seed = 1; seed <= n; seed++) {
    const ran = await runSchedule(seed, { storm: 25, faulty: [0, 0.02, 0.05, 0.15][seed % 4] ?? 0, hands: seed % 3 });
    calls += ran.calls;
    rotations += ran.rotations;
    if (ran.violations.length > 0 && bad++ < 10) console.log(seed, ran);
  }
  console.log({ n, bad, calls, rotations, ms: performance.now() - began });
  expect(bad).toBe(0);
});
