// A real PostgreSQL set up as RDS sets it up: rdsadmin is the superuser, members of rds_iam have no password of their own,
// everybody else has one (SCRAM). It listens on a private socket only, where the front (front.ts) stands before it.
// It never runs as root, and dies with the process that started it.
import { type ChildProcess, spawn } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "@sallyport/core/failure";
import type { Secret } from "@sallyport/core/secret";
import type { FrontOptions } from "../front.ts";
import { launcher } from "../launcher.ts";
import { type Binaries, type Build, openBinaries } from "./binaries.ts";
import { type Front, startFront } from "./front.ts";
import { type Row, runStatement } from "./statement.ts";

const superuser = "rdsadmin";
const socketPathLimit = 100;
const stopWithinMs = 5_000;
const logLimit = 4 * 1024 * 1024;

// The first line that fits decides: a member of rds_iam is trusted here even when it has a password, and so must
// show the front a token, as on RDS.
const hba = `local all ${superuser} trust\nlocal all +rds_iam trust\nlocal all all scram-sha-256\n`;
const throwaway = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", shared_buffers: "32MB" };

export interface PostgresOptions {
  /** Binaries opened by the caller and shared, or a build to open for this server alone. */
  readonly binaries?: Binaries | Build;
  /** Server settings, as for `postgres -c`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface Postgres {
  /** The path of the unix socket. */
  readonly socket: string;
  readonly major: number;
  readonly pid: number;
  /** A role that may log in: with an IAM token, or with a password. */
  addUser(name: string, how: { readonly iam: true } | { readonly password: Secret }): Promise<void>;
  addDatabase(name: string, owner?: string): Promise<void>;
  /** Runs statements as the superuser; rows are text. */
  sql(database: string, text: string): Promise<readonly Row[]>;
  /** What the server wrote to its own log; with the setting log_statement every statement it got. */
  log(): string;
  /** Stands before it in place of RDS. */
  front(options: Omit<FrontOptions, "upstream">): Promise<Front>;
  stop(): Promise<void>;
}

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** `C.UTF-8` by PostgreSQL's own tables where it has them (17 and later): not every system has that locale. */
const localeFlags = (major: number): readonly string[] =>
  major >= 17
    ? ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    : ["--locale=C.UTF-8", "--lc-messages=C"];

const launch = (binaries: Binaries, program: string, flags: readonly string[]): ChildProcess => {
  const [command = "", ...rest] = [...launcher("INT"), join(binaries.programs, program), ...flags];
  const env = { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" };
  return spawn(command, rest, { ...binaries.account, env, cwd: "/", stdio: ["ignore", "ignore", "pipe"] });
};

/** Resolves when `done` finds what it looks for in the program's messages, or it ends with 0; rejects when it fails. */
const awaited = (child: ChildProcess, done: (messages: string) => boolean): Promise<void> =>
  new Promise((answer, refuse) => {
    let messages = "";
    child.stderr?.on("data", (bytes: Buffer) => {
      messages = `${messages}${bytes.toString()}`.slice(-4_000);
      if (done(messages)) answer();
    });
    child.once("error", refuse);
    child.once("close", (status) => {
      if (status === 0) answer();
      else refuse(new Failure("unavailable", `postgres ended with ${status}: ${messages.trim()}`));
    });
  });

const create = async (binaries: Binaries, data: string): Promise<void> => {
  const flags = ["-D", data, "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"];
  await awaited(launch(binaries, "initdb", [...flags, ...localeFlags(binaries.major)]), () => false);
  await writeFile(join(data, "pg_hba.conf"), hba);
};

const start = async (binaries: Binaries, data: string, folder: string, options: PostgresOptions) => {
  const settings = {
    listen_addresses: "",
    unix_socket_directories: folder,
    unix_socket_permissions: "0700",
    ...throwaway,
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = launch(binaries, "postgres", ["-D", data, ...flags]);
  await awaited(child, (messages) => messages.includes("ready to accept connections"));
  return child;
};

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((answer) => {
    if (child.exitCode !== null || child.signalCode !== null) return answer();
    child.once("exit", () => answer());
    const forced = setTimeout(() => child.kill("SIGKILL"), stopWithinMs);
    child.once("exit", () => clearTimeout(forced));
    child.kill("SIGINT"); // fast shutdown: sessions are ended, nothing is waited for
  });

/** Starts a server with an empty database `postgres`, in a temporary folder that `stop()` deletes. */
export const startPostgres = async (options: PostgresOptions = {}): Promise<Postgres> => {
  const { binaries: from = "embedded" } = options;
  const binaries = typeof from === "string" ? await openBinaries(from) : from;
  const folder = await mkdtemp(join(tmpdir(), "sallyport-pg-"));
  const socket = join(folder, ".s.PGSQL.5432");
  let child: ChildProcess | undefined;
  let log = "";

  const stop = async (): Promise<void> => {
    if (child) await ended(child);
    await rm(folder, { recursive: true, force: true });
    if (typeof from === "string") await binaries.remove();
  };
  const sql = (database: string, text: string): Promise<readonly Row[]> =>
    runStatement(socket, superuser, database, text);

  try {
    if (socket.length > socketPathLimit)
      throw new Failure("unsupported", `the socket path ${socket} is too long`, { hint: "set TMPDIR to a short path" });
    const data = join(folder, "data");
    await mkdir(data, { mode: 0o700 });
    await chmod(folder, 0o700);
    const { uid, gid } = binaries.account;
    if (uid !== undefined && gid !== undefined) for (const path of [data, folder]) await chown(path, uid, gid);
    await create(binaries, data);
    child = await start(binaries, data, folder, options);
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-logLimit);
    });
    await sql("postgres", "create role rds_iam nologin; create role rds_superuser nologin");
  } catch (cause) {
    await stop();
    throw cause;
  }

  return {
    socket,
    major: binaries.major,
    pid: child.pid ?? 0,
    sql,
    log: () => log,
    front: (options) => startFront({ ...options, upstream: socket }),
    stop,
    addUser: async (name, how) => {
      const login = "iam" in how ? "login in role rds_iam" : `login password ${quoteText(how.password.reveal())}`;
      await sql("postgres", `create role ${quoteName(name)} ${login}`);
    },
    addDatabase: async (name, owner = superuser) => {
      await sql("postgres", `create database ${quoteName(name)} owner ${quoteName(owner)}`);
    },
  };
};
