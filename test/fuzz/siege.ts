// What every fuzz of a protocol has: a seed that repeats a run, a watch for what is thrown where nobody looks, a bound on waiting.
import { afterAll, beforeAll } from "vitest";
import type { Chance } from "./knock.ts";

export const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
console.log(`fuzz seed ${seed}`);

/** What this process did not catch, from before the file's first test to after its last. */
export const unseen: unknown[] = [];
const note = (thrown: unknown): void => void unseen.push(thrown);
beforeAll(() => {
  process.on("unhandledRejection", note);
  process.on("uncaughtException", note);
});
afterAll(() => {
  process.off("unhandledRejection", note);
  process.off("uncaughtException", note);
});

export const turn = (): Promise<void> => new Promise(setImmediate);

export const timely = async <T>(what: string, promise: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} hangs, seed ${seed}`)), 10_000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

export const noise = (by: Chance): Buffer => by.bytes(by.below(by.pick([3, 12, 60, 300])));
