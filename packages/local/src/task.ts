// A Fargate task on the laptop: a child process with its own environment that takes its role's temporary keys from a
// container credentials endpoint, as on ECS, and dies with the laptop account.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import type { Credentials } from "./account.ts";

/**
 * How Node is told to run a proxy, as in the Dockerfile. Bursts of logins must not leave each task with 128 MB of young generation, and
 * the collector must not go through the whole heap for every few megabytes of a copy.
 */
export const proxyFlags: readonly string[] = ["--max-semi-space-size=8", "--initial-heap-size=128"];

export interface CredentialsEndpoint {
  /** What the process needs in its environment to find it. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html */
export const openCredentialsEndpoint = async (issue: () => Credentials): Promise<CredentialsEndpoint> => {
  const authorization = randomBytes(24).toString("hex");
  const server = createServer((request, response) => {
    const given = Buffer.from(request.headers.authorization ?? "");
    if (given.length !== authorization.length || !timingSafeEqual(given, Buffer.from(authorization))) {
      response.writeHead(403).end();
      return;
    }
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = issue();
    const body = {
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      Token: sessionToken,
      Expiration: expiration,
    };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    env: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${port}/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: authorization,
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
};

export interface TaskProcess {
  readonly pid: number;
  /** The JSON line with which it said that it is ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** Everything it wrote. */
  log(): string;
  signal(name: NodeJS.Signals): void;
  /** Its exit status, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** SIGKILL, and waits. */
  kill(): Promise<void>;
}

const logLimit = 4 * 1024 * 1024;
const parse = (line: string): Record<string, unknown> | undefined => {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
};

/** Starts `node <flags> <entry>` and waits for its line with message "ready". @throws Error with what it wrote when it ends before that */
export const startTask = async (options: {
  readonly entry: string;
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Prefix that makes it die with its parent, where the system has one. */
  readonly launcher?: readonly string[];
}): Promise<TaskProcess> => {
  const [command = process.execPath, ...args] = [
    ...(options.launcher ?? []),
    process.execPath,
    ...options.flags,
    options.entry,
  ];
  const child: ChildProcess = spawn(command, args, {
    env: { ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    cwd: "/",
  });
  let log = "";
  const keep = (text: string): void => {
    log = (log + text).slice(-logLimit);
  };
  child.stderr?.setEncoding("utf8").on("data", keep);
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal ?? 1));
    child.once("error", () => resolve(1));
  });
  const ready = await new Promise<Record<string, unknown>>((resolve, reject) => {
    if (child.stdout)
      createInterface({ input: child.stdout }).on("line", (line) => {
        keep(`${line}\n`);
        const entry = parse(line);
        if (entry?.["message"] === "ready") resolve(entry);
      });
    void exited.then((how) => reject(new Error(`${options.entry} ended (${how}) before it was ready:\n${log}`)));
  });
  return {
    pid: child.pid ?? 0,
    ready,
    log: () => log,
    signal: (name) => void child.kill(name),
    exited,
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
};
