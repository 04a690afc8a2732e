// A clock for a whole world, which goes on by itself and leaps when it is told to: AWS, the functions and the proxies all read it, so
// that a day passes in a minute. Timers run by real time all the while.
import { renameSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WorldOptions } from "./world.ts";

export interface WorldClock {
  now(): number;
  leap(ms: number): void;
  /** What the world is opened with. */
  readonly options: Pick<WorldOptions, "now" | "functionEnv" | "proxyEnv">;
  remove(): Promise<void>;
}

export const openWorldClock = async (): Promise<WorldClock> => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-clock-"));
  const [file, preload] = [join(folder, "ahead"), join(folder, "clock.mjs")];
  let ahead = 0;
  const tell = (): void => {
    // never half a number
    writeFileSync(`${file}.next`, String(ahead));
    renameSync(`${file}.next`, file);
  };
  tell();
  writeFileSync(
    preload,
    `import { readFileSync } from "node:fs";
     const D = Date;
     const ahead = () => Number(readFileSync(${JSON.stringify(file)}, "utf8"));
     globalThis.Date = class extends D {
       constructor(...args) { if (args.length === 0) super(D.now() + ahead()); else super(...args); }
       static now() { return D.now() + ahead(); }
     };`,
  );
  const env = { NODE_OPTIONS: `--import=file://${preload}` };
  const now = (): number => Date.now() + ahead;
  return {
    now,
    leap: (ms) => {
      ahead += ms;
      tell();
    },
    options: { now, functionEnv: env, proxyEnv: env },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
};
