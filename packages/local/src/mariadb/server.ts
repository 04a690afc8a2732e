// A real MariaDB set up as RDS sets it up: rdsadmin is the superuser, IAM users have no password of their own, everybody else
// has one. It listens on a private socket, where the front (front.ts) stands before it, and on a TLS port only where asked.
// RDS's AWSAuthenticationPlugin is nowhere to be had, so `IDENTIFIED VIA ed25519 USING '<the front's public key>'` stands for
// its `IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'`: the server itself then says, from what CREATE USER made of the
// user, that nobody but the front can answer for it. On the laptop it stands for RDS and Aurora MySQL too: what is MySQL's alone
// can't be seen here. It never runs as root, and dies with the process that started it.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import type { Certificate } from "../certificate.ts";
import type { FrontOptions } from "../front.ts";
import { launcher } from "../launcher.ts";
import type { Runner } from "../program.ts";
import { type Binaries, findBinaries } from "./binaries.ts";
import { type Front, startFront } from "./front.ts";
import { freePort } from "./port.ts";
import { createSigner } from "./signer.ts";
import { type Row, runStatement } from "./statement.ts";

const superuser = "rdsadmin";
const socketPathLimit = 100;
const stopWithinMs = 5_000;
const logLimit = 4 * 1024 * 1024;
const readyLine = "ready for connections";

const throwaway = {
  innodb_flush_log_at_trx_commit: "0",
  innodb_buffer_pool_size: "64M",
  innodb_use_native_aio: "0",
  innodb_fast_shutdown: "2",
  max_connections: "500",
  max_allowed_packet: "256M",
};

export interface MariaDbOptions {
  /** Server settings, as for `mariadbd --name=value`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Listen on a loopback port too, with this certificate, so that clients can be tried without the front. */
  readonly tls?: Pick<Certificate, "cert" | "key">;
}

export interface MariaDb {
  /** The path of the unix socket. */
  readonly socket: string;
  /** `10.11.19-MariaDB…`. */
  readonly version: string;
  readonly pid: number;
  /** The TLS port on 127.0.0.1, 0 where none was asked for. */
  readonly port: number;
  /** With which the front answers for IAM users, as `IDENTIFIED VIA ed25519 USING` takes it. */
  readonly iamKey: string;
  /** A user that may log in from anywhere: with an IAM token, or with a password. */
  addUser(name: string, how: { readonly iam: true } | { readonly password: Secret }): Promise<void>;
  addDatabase(name: string): Promise<void>;
  /** Runs statements as the superuser; rows are text. The database may be empty. */
  sql(database: string, text: string): Promise<readonly Row[]>;
  /** What the server wrote to its own log. */
  log(): string;
  /** Stands before it in place of RDS. */
  front(options: Omit<FrontOptions, "upstream">): Promise<Front>;
  stop(): Promise<void>;
}

export const quoteName = (name: string): string => `\`${name.replaceAll("`", "``")}\``;
export const quoteText = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;

const launch = (account: Runner, program: string, flags: readonly string[]): ChildProcess => {
  const [command = "", ...rest] = [...launcher("KILL"), program, "--no-defaults", ...flags];
  const env = { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" };
  return spawn(command, rest, { ...account, env, cwd: "/", stdio: ["ignore", "pipe", "pipe"] });
};

/** Resolves when the program says `line`, or ends with 0; rejects when it fails. */
const awaited = (child: ChildProcess, line?: string): Promise<void> =>
  new Promise((answer, refuse) => {
    let messages = "";
    const hear = (bytes: Buffer): void => {
      messages = `${messages}${bytes.toString()}`.slice(-4_000);
      if (line !== undefined && messages.includes(line)) answer();
    };
    child.stdout?.on("data", hear);
    child.stderr?.on("data", hear);
    child.once("error", refuse);
    child.once("close", (status) => {
      if (status === 0) answer();
      else refuse(new Failure("unavailable", `mariadb ended with ${status}: ${messages.trim()}`));
    });
  });

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((answer) => {
    if (child.exitCode !== null || child.signalCode !== null) return answer();
    child.once("exit", () => answer());
    const forced = setTimeout(() => child.kill("SIGKILL"), stopWithinMs);
    child.once("exit", () => clearTimeout(forced));
    child.kill("SIGTERM");
  });

/** Statements of the first start, one a line: nobody but rdsadmin is left, and its password is known here only. */
const firstStatements = (password: string): string =>
  [
    `create user ${superuser}@localhost identified by '${password}'`,
    `grant all on *.* to ${superuser}@localhost with grant option`,
    `delete from mysql.global_priv where user not in ('${superuser}', 'mariadb.sys')`,
    "flush privileges",
    "",
  ].join(";\n");

const create = async (binaries: Binaries, data: string): Promise<void> => {
  const flags = [`--datadir=${data}`, "--auth-root-authentication-method=normal", "--skip-test-db"];
  await awaited(launch(binaries.account, binaries.install, [...flags, "--skip-name-resolve"]));
};

/** Files that the server reads, in a folder of its own. */
const write = async (folder: string, account: Runner, files: Readonly<Record<string, string>>): Promise<void> => {
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    if (account.uid !== undefined && account.gid !== undefined) await chown(path, account.uid, account.gid);
  }
};

interface Started {
  readonly child: ChildProcess;
  readonly port: number;
}

const start = async (
  { account, server }: Binaries,
  folder: string,
  socket: string,
  { settings, tls }: MariaDbOptions,
): Promise<Started> => {
  const port = tls === undefined ? 0 : await freePort();
  const listening = tls === undefined ? {} : { ssl_cert: join(folder, "cert.pem"), ssl_key: join(folder, "key.pem") };
  const all = {
    datadir: join(folder, "data"),
    socket,
    pid_file: join(folder, "pid"),
    init_file: join(folder, "first.sql"),
    plugin_load_add: "auth_ed25519",
    character_set_server: "utf8mb4",
    skip_name_resolve: "1",
    ...(tls === undefined ? { skip_networking: "1" } : { bind_address: "127.0.0.1", port: String(port), ...listening }),
    ...throwaway,
    ...settings,
  };
  const flags = Object.entries(all).map(([name, value]) => `--${name.replaceAll("_", "-")}=${value}`);
  const child = launch(account, server, flags);
  await awaited(child, readyLine);
  return { child, port };
};

/** The port was free when it was picked; another process may have taken it since. */
const startSomewhere = async (...of: Parameters<typeof start>): Promise<Started> => {
  for (let left = 3; ; left--) {
    try {
      return await start(...of);
    } catch (thrown) {
      if (left === 0 || !String(thrown).includes("Bind on TCP/IP port")) throw thrown;
    }
  }
};

/** Starts a server without a database of its own, in a temporary folder that `stop()` deletes. @throws Failure `unsupported` where MariaDB is not installed */
export const startMariaDb = async (options: MariaDbOptions = {}): Promise<MariaDb> => {
  const binaries = await findBinaries();
  const folder = await mkdtemp(join(tmpdir(), "sallyport-my-"));
  const socket = join(folder, "socket");
  const password = secret(randomBytes(24).toString("hex"));
  const signer = createSigner();
  let started: Started | undefined;
  let log = "";

  const stop = async (): Promise<void> => {
    if (started) await ended(started.child);
    await rm(folder, { recursive: true, force: true });
  };
  const sql = (database: string, text: string): Promise<readonly Row[]> =>
    runStatement(socket, { user: superuser, password }, database, text);

  try {
    if (socket.length > socketPathLimit)
      throw new Failure("unsupported", `the socket path ${socket} is too long`, { hint: "set TMPDIR to a short path" });
    const data = join(folder, "data");
    await mkdir(data, { mode: 0o700 });
    await chmod(folder, 0o700);
    const { uid, gid } = binaries.account;
    if (uid !== undefined && gid !== undefined) for (const path of [data, folder]) await chown(path, uid, gid);
    await create(binaries, data);
    await write(folder, binaries.account, {
      "first.sql": firstStatements(password.reveal()),
      ...(options.tls && { "cert.pem": options.tls.cert, "key.pem": options.tls.key }),
    });
    started = await startSomewhere(binaries, folder, socket, options);
    started.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-logLimit);
    });
    await rm(join(folder, "first.sql"));
    await sql("", "select 1");
  } catch (cause) {
    await stop();
    throw cause;
  }

  return {
    socket,
    version: binaries.version,
    pid: started.child.pid ?? 0,
    port: started.port,
    iamKey: signer.publicKey,
    sql,
    log: () => log,
    front: (asked) => startFront({ ...asked, upstream: socket, signer }),
    stop,
    addUser: async (name, how) => {
      const method =
        "iam" in how ? `via ed25519 using '${signer.publicKey}'` : `by ${quoteText(how.password.reveal())}`;
      await sql("", `create user ${quoteName(name)}@'%' identified ${method}`);
    },
    addDatabase: async (name) => {
      await sql("", `create database ${quoteName(name)}`);
    },
  };
};
