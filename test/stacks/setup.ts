// Evaluates the stacks once for every case, each in a child process of its own because SST and Pulumi live in globals, and
// tells the tests where the graphs are.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";
import { cases, folderOf } from "./graph.ts";

const run = promisify(execFile);
const atOnce = 2;

/** The environment without settings of whoever runs the tests. */
const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("DEPLOY_")));

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-stacks-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  const left = [...cases];
  const work = async (): Promise<void> => {
    for (let next = left.shift(); next; next = left.shift()) {
      const out = join(folder, folderOf(next.name));
      await mkdir(out);
      const args = [join(import.meta.dirname, "evaluate.ts"), next.stage, out];
      await run(process.execPath, args, { timeout: 300_000, env: { ...clean, ...next.settings } });
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, work));
  } catch (thrown) {
    await remove();
    throw thrown;
  }
  project.provide("stacks", folder);
  return remove;
};
