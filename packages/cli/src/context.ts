// Everything a command may touch of the world, as one argument: so a test runs a command in-process with its own streams,
// clock, folder and network. Only main.ts makes one from the process.
import type { ChildProcess, SpawnOptions } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { Clock } from "@sallyport/core/ports";

export type Input = Readable & { readonly isTTY?: boolean };
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** Where signals to this process arrive; `process` itself, or an EventEmitter. */
export interface Signals {
  on(name: NodeJS.Signals, listener: (name: NodeJS.Signals) => void): unknown;
  off(name: NodeJS.Signals, listener: (name: NodeJS.Signals) => void): unknown;
}

export interface Context {
  readonly env: Readonly<NodeJS.ProcessEnv>;
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly fetch: typeof fetch;
  readonly spawn: (program: string, args: readonly string[], options: SpawnOptions) => ChildProcess;
  readonly clock: Clock;
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly signals: Signals;
  /** Profiles, tokens and port numbers live here; private to the user. */
  readonly configDir: string;
  /** A command that ran somebody else's program passes its exit status on by this. */
  readonly exit: (status: number) => void;
}

/** Resolves at the first of these signals; `stop` takes the listeners off. */
export const awaitSignal = (
  signals: Signals,
  names: readonly NodeJS.Signals[],
): { readonly arrived: Promise<NodeJS.Signals>; stop(): void } => {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  for (const name of names) signals.on(name, resolve);
  return {
    arrived: promise,
    stop: () => {
      for (const name of names) signals.off(name, resolve);
    },
  };
};
