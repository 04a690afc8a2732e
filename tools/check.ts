// Every static check at once (`npm run check`): types, format and lint, promises, dead code, the API's document, architecture.
// Prints one line a check and the output of those that failed; exits 1 if any did.
import { spawn } from "node:child_process";
import { delimiter, resolve } from "node:path";
import { styleText } from "node:util";

const root = resolve(import.meta.dirname, "..");
const bin = resolve(root, "node_modules/.bin");

const checks: Record<string, readonly [command: string, ...args: string[]]> = {
  // what was checked before and has not changed is not checked again
  types: ["tsc", "--incremental", "--tsBuildInfoFile", "node_modules/.cache/types.tsbuildinfo"],
  lint: ["biome", "ci", "--colors=off", "."],
  promises: ["oxlint", "--type-aware", "--tsconfig", "tsconfig.json", "-c", ".oxlintrc.json"],
  unused: ["knip", "--no-progress"],
  contract: ["node", "tools/openapi.ts", "--check"],
  architecture: ["vitest", "run", "--project", "unit", "test/architecture.test.ts"],
};

interface Outcome {
  readonly name: string;
  readonly passed: boolean;
  readonly output: string;
}

/** Runs one check to its end; a tool that cannot start counts as failed. */
const run = (name: string, [command, ...args]: readonly [string, ...string[]]): Promise<Outcome> =>
  new Promise((done) => {
    const startedAt = performance.now();
    const child = spawn(resolve(bin, command), args, {
      cwd: root,
      env: {
        ...process.env,
        PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}`,
        NO_COLOR: "1",
        FORCE_COLOR: undefined,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output: Buffer[] = [];
    const end = (passed: boolean, why = "") => {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      const verdict = passed ? styleText("green", "ok    ") : styleText("red", "failed");
      console.log(`${verdict} ${name.padEnd(12)} ${seconds.padStart(5)} s`);
      done({ name, passed, output: Buffer.concat(output).toString() + why });
    };
    child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => output.push(chunk));
    child.on("error", (cause) => end(false, `${command} did not start: ${cause.message}; run npm ci first\n`));
    child.on("close", (code) => end(code === 0));
  });

const outcomes = await Promise.all(Object.entries(checks).map(([name, command]) => run(name, command)));
const failed = outcomes.filter((outcome) => !outcome.passed);
for (const { name, output } of failed) {
  console.log(`\n${styleText(["bold", "red"], name)}: ${checks[name]?.join(" ")}\n${output.trimEnd()}`);
}
process.exitCode = failed.length === 0 ? 0 : 1;
