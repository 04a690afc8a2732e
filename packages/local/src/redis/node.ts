// One redis-server process: configured over its standard input, so that no password is in an argument or a file; on a private
// socket, where the front stands before it, and on a TLS port where other nodes must reach it. It never runs as root, writes
// nothing but its part in the cluster, and dies with the process that started it.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chown, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import { launcher } from "../launcher.ts";
import { runner } from "../program.ts";
import { type Administration, openAdministration, type Reply } from "./administration.ts";

/** The user by whom the account itself and the other nodes come in. AWS has such users too, and shows them to nobody. */
export const superuser = "cacheadmin";
const socketPathLimit = 100;
const stopWithinMs = 5_000;
const logLimit = 1024 * 1024;
const readyLine = "ready to accept connections at";

/** Directives of redis.conf; a list is one directive several times. */
export type Settings = Readonly<Record<string, string | readonly string[]>>;

export interface NodeOptions {
  /** The path of redis-server. */
  readonly program: string;
  /** A folder to be made, private, in one that whoever it runs as may enter. */
  readonly folder: string;
  readonly password: Secret;
  readonly settings: Settings;
  /** What it finds in its folder. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface RedisNode {
  /** The path of the unix socket. */
  readonly socket: string;
  readonly pid: number;
  lives(): boolean;
  /** With which the front comes in as a user who has shown an IAM token: a second password that nobody else knows. */
  readonly frontPassword: Secret;
  /** Runs a command as the superuser. @throws Failure in the server's words */
  command(...words: readonly string[]): Promise<Reply>;
  /** What the server wrote to its own log. */
  log(): string;
  /** Ends it; at once and without a word to anybody by `SIGKILL`. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
}

export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

const quoted = (value: string): string => (/[\s"\\]/.test(value) ? JSON.stringify(value) : value);
const configOf = (settings: Settings): string =>
  Object.entries(settings)
    .flatMap(([name, value]) => [value].flat().map((one) => `${name} ${one}\n`))
    .join("");

/** Resolves when it listens; rejects with its last words. */
const ready = (child: ChildProcess): Promise<void> =>
  new Promise((answer, refuse) => {
    let messages = "";
    const hear = (bytes: Buffer): void => {
      messages = `${messages}${bytes.toString()}`.slice(-4_000);
      if (messages.includes(readyLine)) answer();
    };
    child.stdout?.on("data", hear);
    child.stderr?.on("data", hear);
    child.once("error", refuse);
    child.once("close", (status) =>
      refuse(new Failure("unavailable", `redis-server ended with ${status}: ${messages.trim()}`)),
    );
  });

const ended = (child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> =>
  new Promise((answer) => {
    if (child.exitCode !== null || child.signalCode !== null) return answer();
    child.once("exit", () => answer());
    const forced = setTimeout(() => child.kill("SIGKILL"), stopWithinMs);
    child.once("exit", () => clearTimeout(forced));
    child.kill(signal);
  });

export const startNode = async ({
  program,
  folder,
  password,
  settings,
  files = {},
}: NodeOptions): Promise<RedisNode> => {
  const socket = join(folder, "socket");
  if (socket.length > socketPathLimit)
    throw new Failure("unsupported", `the socket path ${socket} is too long`, { hint: "set TMPDIR to a short path" });
  await mkdir(folder, { mode: 0o700 });
  const { uid, gid } = runner;
  const own = async (path: string): Promise<void> => {
    if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
  };
  await own(folder);
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, name), text, { mode: 0o600 });
    await own(join(folder, name));
  }
  const [command = "", ...rest] = [...launcher("KILL"), program, "-"];
  const child = spawn(command, rest, {
    ...runner,
    env: { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" },
    cwd: folder,
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => {});
  child.stdin.end(
    configOf({
      port: "0",
      dir: quoted(folder),
      unixsocket: quoted(socket),
      unixsocketperm: "600",
      save: '""',
      appendonly: "no",
      user: ["default off", `${superuser} on #${sha256(password.reveal())} ~* &* +@all`],
      // a user whose access string says nothing of channels has them all, as on AWS
      "acl-pubsub-default": "allchannels",
      masteruser: superuser,
      masterauth: password.reveal(),
      ...settings,
    }),
  );
  let log = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-logLimit);
  });
  const administration: Administration = openAdministration(socket, { user: superuser, password });
  const stop = async (signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> => {
    await ended(child, signal);
    administration.close();
  };
  try {
    await ready(child);
  } catch (thrown) {
    await stop("SIGKILL");
    throw thrown;
  }
  return {
    socket,
    pid: child.pid ?? 0,
    lives: () => child.exitCode === null && child.signalCode === null,
    frontPassword: secret(randomBytes(32).toString("hex")),
    command: administration.command,
    log: () => log,
    stop,
  };
};
