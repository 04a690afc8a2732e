// The MongoDB behind the front: a real mongod where one is on PATH, else the built-in server. mongod listens on a private socket
// only, without users of its own: who may come in is the front's matter, for it as for the other. Alone, not in a replica set, it has
// no transactions, and it does not know which member it is reached by: the reader takes writes then.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { access, constants, mkdir, mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { Failure } from "@sallyport/core/failure";
import { type Document, deserialize, serialize } from "bson";
import { launcher } from "../launcher.ts";
import { take } from "../stream.ts";
import { headerSize, lengthOf } from "./packet.ts";
import { type MongoServer, startBuiltin } from "./server.ts";
import { mongoError } from "./store.ts";

const readyLine = "Waiting for connections";
const stopWithinMs = 10_000;
const sectionsAt = headerSize + 5;

/** The path of a program, undefined where there is none. */
const find = async (program: string, path: string): Promise<string | undefined> => {
  for (const folder of path.split(delimiter).filter((one) => one !== "")) {
    const file = join(folder, program);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  return undefined;
};

/** One command over a connection of its own. @throws Failure with the server's code */
const ask = async (socketPath: string, db: string, command: Document): Promise<Document> => {
  const socket = connect(socketPath);
  try {
    const body = serialize({ ...command, $db: db });
    const head = Buffer.alloc(sectionsAt);
    head.writeInt32LE(head.length + body.length, 0);
    head.writeInt32LE(1, 4);
    head.writeInt32LE(2013, 12);
    socket.write(Buffer.concat([head, body]));
    const first = await take(socket, headerSize);
    const rest = await take(socket, lengthOf(first) - headerSize);
    const said = deserialize(rest.subarray(sectionsAt - headerSize));
    if (said["ok"] === 1) return said;
    throw mongoError(Number(said["code"]), String(said["codeName"]), String(said["errmsg"]));
  } finally {
    socket.destroy();
  }
};

const ready = (child: ChildProcess): Promise<void> =>
  new Promise((answer, refuse) => {
    let messages = "";
    child.stdout?.on("data", (bytes: Buffer) => {
      messages = `${messages}${bytes.toString()}`.slice(-8_000);
      if (messages.includes(readyLine)) answer();
    });
    child.once("error", refuse);
    child.once("close", (status) => refuse(new Failure("unavailable", `mongod ended with ${status}: ${messages}`)));
  });

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((answer) => {
    if (child.exitCode !== null || child.signalCode !== null) return answer();
    child.once("exit", () => answer());
    const forced = setTimeout(() => child.kill("SIGKILL"), stopWithinMs);
    child.once("exit", () => clearTimeout(forced));
    child.kill("SIGTERM");
  });

const startMongod = async (program: string): Promise<MongoServer> => {
  const { stdout } = await promisify(execFile)(program, ["--version"]);
  const folder = await mkdtemp(join(tmpdir(), "sallyport-mongo-"));
  const socketPath = join(folder, "mongod.sock");
  const users = new Set<string>();
  let child: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    if (child) await ended(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const data = join(folder, "data");
    await mkdir(data, { mode: 0o700 });
    const [command = "", ...flags] = [...launcher("KILL"), program, "--dbpath", data, "--bind_ip", socketPath];
    child = spawn(command, flags, { cwd: "/", stdio: ["ignore", "pipe", "ignore"] });
    await ready(child);
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return {
    name: `mongod ${/v([\d.]+)/.exec(stdout)?.[1] ?? ""}`,
    open: () => connect(socketPath),
    hasUser: async (roleArn) => users.has(roleArn),
    addUser: async (roleArn) => void users.add(roleArn),
    removeUser: async (roleArn) => void users.delete(roleArn),
    run: (db, command) => ask(socketPath, db, command),
    stop,
  };
};

/** `path` is where mongod is looked for. */
export const startMongo = async (path = process.env["PATH"] ?? ""): Promise<MongoServer> => {
  const program = await find("mongod", path);
  return program === undefined ? startBuiltin() : startMongod(program);
};
