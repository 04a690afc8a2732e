// All tests (`npm test`): brings what they need onto the machine, runs every vitest project, lists what was skipped and
// why, and ends with the line `N passed, N failed, N skipped`. Arguments go on to vitest: `npm test -- test/core`.
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { parseCLI, startVitest, type TestCase, type TestModule, type TestSuite } from "vitest/node";
import { installClients } from "./clients.ts";
import { prepare } from "./machine.ts";

const root = resolve(import.meta.dirname, "..");
const startedAt = performance.now();

const step = (number: number, title: string): void => {
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(`\n[${number}/4] ${title} (${seconds} s)`);
};

/** The full name of a test, with its file in front. */
const titleOf = (test: TestCase): string => `${test.module.relativeModuleId} > ${test.fullName}`;

/** Why a test did not run: what it said itself, or that the hooks around it failed. */
const reasonOf = (test: TestCase, note: string | undefined): string => {
  let group: TestSuite | TestModule = test.parent;
  while (group.type === "suite" && group.errors().length === 0) group = group.parent;
  return note ?? (group.errors().length > 0 ? "what it builds on failed, see above" : "no reason given");
};

interface Tally {
  passed: number;
  failed: number;
  readonly skipped: string[];
  /** Passed at the second try only. */
  readonly flaky: string[];
}

/** A file or group whose own hooks or imports failed counts as one failure, beside its failed tests. */
const add = (tally: Tally, module: TestModule): void => {
  for (const group of [module, ...module.children.allSuites()]) if (group.errors().length > 0) tally.failed += 1;
  for (const test of module.children.allTests()) {
    const result = test.result();
    if (test.diagnostic()?.flaky) tally.flaky.push(titleOf(test));
    if (result.state === "passed") tally.passed += 1;
    else if (result.state === "skipped") tally.skipped.push(`${titleOf(test)}: ${reasonOf(test, result.note)}`);
    else tally.failed += 1;
  }
};

step(1, "packages from apt: PostgreSQL, MariaDB, Redis, clients, Java (about a minute the first time)");
console.log(prepare() ?? "all there");

step(2, "SST platform, for the stacks (about half a minute the first time)");
const platform = spawnSync(process.execPath, ["tools/platform.mjs"], { cwd: root, stdio: "inherit" });
console.log(platform.status === 0 ? "there" : "could not be written: test/stacks will fail, the rest goes on");

step(3, "mongosh from npm, into test/clients (about ten seconds the first time)");
console.log(installClients() ?? "there");

step(4, "vitest");
const { filter, options } = parseCLI(["vitest", "run", ...process.argv.slice(2)]);
const vitest = await startVitest("test", filter, { ...options, root, watch: false, run: true });
const tally: Tally = { passed: 0, failed: 0, skipped: [], flaky: [] };
for (const module of vitest.state.getTestModules()) add(tally, module);
tally.failed += vitest.state.getUnhandledErrors().length;
await vitest.close();

if (tally.skipped.length > 0) console.log(`\nskipped:\n  ${tally.skipped.join("\n  ")}`);
if (tally.flaky.length > 0) console.log(`\npassed at the second try only:\n  ${tally.flaky.join("\n  ")}`);
console.log(`\n${tally.passed} passed, ${tally.failed} failed, ${tally.skipped.length} skipped`);
process.exit(tally.failed === 0 && tally.passed > 0 ? 0 : 1);
