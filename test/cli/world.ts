// A world for one command line in-process: a folder of its own, streams that are kept, a clock that the test moves.
import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import type { Context, Output } from "@sallyport/cli/context";
import { openProfiles } from "@sallyport/cli/profile";
import { runSally } from "@sallyport/cli/program";
import type { Output as Answer, ConnectAnswer } from "@sallyport/core/api";
import { secret } from "@sallyport/core/secret";

export const now = 1_790_000_000_000;
export const hour = 3_600_000;

class Kept extends Writable {
  text = "";
  isTTY = false;
  columns = 80;
  override _write(chunk: unknown, _encoding: string, done: () => void): void {
    this.text += String(chunk);
    this.emit("kept");
    done();
  }
}

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface World {
  readonly folder: string;
  readonly clock: { now(): number; set(at: number): void };
  readonly signals: EventEmitter;
  readonly slept: number[];
  readonly context: Omit<Context, "exit">;
  readonly stdout: Kept & Output;
  readonly stderr: Kept & Output;
  run(args: readonly string[], over?: Partial<Context> & { input?: string }): Promise<Result>;
  /** As `sally login` would leave it. */
  loggedIn(server: string, token?: string): void;
  /** Resolves with the first match on stdout. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  close(): void;
}

export const makeWorld = (): World => {
  const folder = mkdtempSync(join(tmpdir(), "sally-"));
  let at = now;
  const clock = {
    now: () => at,
    set: (to: number) => {
      at = to;
    },
  };
  const [stdout, stderr, signals] = [new Kept(), new Kept(), new EventEmitter()];
  const slept: number[] = [];
  const context: Omit<Context, "exit"> = {
    env: { PATH: process.env["PATH"] },
    stdin: Readable.from([]),
    stdout,
    stderr,
    fetch,
    spawn: () => {
      throw new Error("this test starts no program");
    },
    clock,
    sleep: async (ms) => {
      slept.push(ms);
      at += ms;
    },
    signals,
    configDir: join(folder, "sallyport"),
  };
  return {
    folder,
    clock,
    signals,
    slept,
    context,
    stdout,
    stderr,
    run: async (args, { input, ...over } = {}) => {
      stdout.text = "";
      stderr.text = "";
      const stdin = input === undefined ? {} : { stdin: Readable.from([input]) };
      const status = await runSally(args, { ...context, ...stdin, ...over });
      return { status, stdout: stdout.text, stderr: stderr.text };
    },
    loggedIn: (server, token = "sly_s_login") =>
      openProfiles(context).save({ server, user: "ana", token: secret(token), expiresAt: now + 8 * hour }),
    printed: (pattern) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = pattern.exec(stdout.text);
          if (!found) return;
          stdout.off("kept", look);
          resolve(found);
        };
        stdout.on("kept", look);
        look();
      }),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
};

export const tokenId = "a".repeat(64);

/** A connect answer, ready, for user `reader` of `orders`. */
export const makeAnswer = (over: Partial<ConnectAnswer> = {}): ConnectAnswer => ({
  state: "ready",
  gate: { host: "127.0.0.1", port: 1, pins: ["sha256/none"] },
  network: "default",
  token: "sly_c_secret",
  id: tokenId,
  expiresAt: now + hour,
  database: "orders",
  protocol: "postgres",
  user: "reader",
  name: "orders",
  ...over,
});

type Reachable = Answer<"databases">["databases"][number];
export const makeReachable = (over: Partial<Reachable> = {}): Reachable => ({
  name: "orders",
  kind: "rds",
  protocol: "postgres",
  description: "what was ordered",
  labels: { env: "dev", team: "shop" },
  status: "available",
  endpoint: { host: "orders.example.com", port: 5432, verifyName: "orders.example.com", roots: "rds" },
  network: "default",
  users: [{ user: "reader", names: ["orders"] }],
  ...over,
});
