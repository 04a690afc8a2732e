#!/usr/bin/env node
// sally: the command line. Makes the context from this process and nothing else.
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { configFolder } from "./folder.ts";
import { runSally } from "./program.ts";

// whoever read our output (head, less) has seen enough
process.stdout.on("error", (thrown: NodeJS.ErrnoException) => process.exit(thrown.code === "EPIPE" ? 0 : 1));

const status = await runSally(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  fetch,
  spawn: (program, args, options) => spawn(program, [...args], options),
  clock: { now: Date.now },
  sleep: (ms, signal) => sleep(ms, undefined, signal ? { signal } : {}),
  signals: process,
  configDir: configFolder(process.env),
});
// not process.exitCode alone: a connection half open somewhere must not keep a finished command running
process.stdout.write("", () => process.exit(status));
