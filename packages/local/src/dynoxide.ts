// The DynamoDB server itself: one dynoxide process on a loopback port, in memory or in a file.
// Rule: it lives no longer than the process that started it, and is stopped by its own id.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { createRequire } from "node:module";
import { type AddressInfo, connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Failure } from "@sallyport/core/failure";
import { launcher } from "./launcher.ts";

export interface Dynoxide {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

const readyWithin = 10_000;
const attempts = 3;

/** `file`: where the tables are kept; in memory when absent. */
export async function startDynoxide(options: { readonly file?: string } = {}): Promise<Dynoxide> {
  const binary = findBinary();
  for (let attempt = 1; ; attempt++) {
    // Somebody else may take the free port before dynoxide does; then it exits, and the next port is tried.
    const port = await freePort();
    const child = launch(binary, [
      "--port",
      String(port),
      ...(options.file === undefined ? [] : ["--db-path", options.file]),
    ]);
    if (await ready(child, port)) return { host: "127.0.0.1", port, close: () => stop(child) };
    await stop(child);
    if (attempt === attempts)
      throw new Failure("unavailable", "dynoxide does not start", { hint: `run ${binary} by hand to see why` });
  }
}

function findBinary(): string {
  const onPath = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "dynoxide"));
  for (const candidate of [packaged(), ...onPath])
    if (candidate !== undefined && executable(candidate)) return candidate;
  throw new Failure("unavailable", `no DynamoDB server for ${process.platform}-${process.arch}`, {
    hint: "put the dynoxide binary on PATH: it is in the npm package @dynoxide/<platform>, or from https://github.com/nubo-db/dynoxide/releases",
  });
}

function packaged(): string | undefined {
  const name = `@dynoxide/${process.platform}-${process.arch}`;
  try {
    return join(createRequire(import.meta.url).resolve(`${name}/package.json`), "..", "dynoxide");
  } catch {
    return undefined;
  }
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** On Linux the kernel ends it with us, even if we are killed outright. */
function launch(binary: string, args: readonly string[]): ChildProcess {
  const [command = binary, ...all] = [...launcher("KILL"), binary, ...args];
  const child = spawn(command, all, { stdio: "ignore" });
  child.on("error", () => undefined); // seen as an exit by ready()
  return child;
}

async function ready(child: ChildProcess, port: number): Promise<boolean> {
  const until = Date.now() + readyWithin;
  while (Date.now() < until && child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
    if (await answers(port)) return child.exitCode === null;
    await wait(10);
  }
  return false;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}
