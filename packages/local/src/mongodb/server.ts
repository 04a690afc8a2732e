// A small MongoDB server for the laptop, for where there is no mongod: documents kept as they came, queries and updates by mingo.
// It stands for DocumentDB 5.0: no retryable writes, no change streams, reads on the reader only by those who ask for them.
// What it is not: it has no index that makes anything faster, no privileges (whoever is in may do all), and transactions that
// can be taken back but hide nothing from others meanwhile.
import { type Duplex, duplexPair } from "node:stream";
import { type Document, deserialize, serialize } from "bson";
import { administration } from "./administration.ts";
import { type Ask, type Command, reading, type Shared } from "./command.ts";
import { flag, headerSize, lengthOf, parseRequest, type Request, replyTo } from "./packet.ts";
import { mongoError, openStore, worded } from "./store.ts";
import { writing } from "./writing.ts";

/** One member of the cluster, as it stands when it is asked. */
export interface Member {
  readonly writer: boolean;
  /** Its own `host:port`, the writer's and everybody's. */
  readonly me: string;
  readonly primary: string;
  readonly hosts: readonly string[];
}

export interface MongoServer {
  /** What is behind the front: `mongod 7.0.14`, or `built-in`. */
  readonly name: string;
  /** A connection to it, of somebody whose login is somebody else's matter. */
  open(member: () => Member, user: () => string | undefined): Duplex;
  hasUser(roleArn: string): Promise<boolean>;
  /** As an administrator of the database would: a role of `$external`. */
  addUser(roleArn: string, roles?: readonly Document[]): Promise<void>;
  removeUser(roleArn: string): Promise<void>;
  /** One command, as an administrator. @throws Failure with the server's code */
  run(db: string, command: Document): Promise<Document>;
  stop(): Promise<void>;
}
export interface BuiltinServer extends MongoServer {
  /** From now on commands of this name wait: until they are released, or killed by killOp. */
  hold(name: string): { readonly arrived: Promise<void>; release(): void };
}

const commands: Readonly<Record<string, Command>> = { ...reading, ...writing, ...administration };
const changes = new Set([
  ...Object.keys(writing),
  ...["create", "drop", "dropDatabase", "createIndexes", "dropIndexes"],
]);
const alone: Member = { writer: true, me: "localhost:27017", primary: "localhost:27017", hosts: ["localhost:27017"] };

const hello = ({ writer, me, primary, hosts }: Member, legacy: boolean, connectionId: number): Document => ({
  [legacy ? "ismaster" : "isWritablePrimary"]: writer,
  ...(legacy && { helloOk: true }),
  secondary: !writer,
  setName: "rs0",
  setVersion: 1,
  hosts,
  primary,
  me,
  maxBsonObjectSize: 16_777_216,
  maxMessageSizeBytes: 48_000_000,
  maxWriteBatchSize: 100_000,
  localTime: new Date(),
  logicalSessionTimeoutMinutes: 30,
  connectionId,
  minWireVersion: 0,
  maxWireVersion: 13,
  readOnly: false,
});

const failed = (thrown: unknown): Document => {
  const { message, details } = worded(thrown);
  return { ok: 0, errmsg: message, code: details?.["code"] ?? 8, codeName: details?.["codeName"] ?? "UnknownError" };
};

const requireMember = ({ writer }: Member, { name, command }: Request): void => {
  if (!writer && changes.has(name)) throw mongoError(10107, "NotWritablePrimary", "not primary");
  const mode = (command["$readPreference"] as Document | undefined)?.["mode"];
  if (
    !writer &&
    ["find", "aggregate", "count", "distinct"].includes(name) &&
    (mode === undefined || mode === "primary")
  )
    throw mongoError(13435, "NotPrimaryNoSecondaryOk", "not master and slaveOk=false");
};

export const startBuiltin = (): BuiltinServer => {
  let [cursor, operation, connection] = [1n, 1, 1];
  const held = new Map<string, { arrived: () => void; released: Promise<void> }>();
  const live = new Set<Duplex>();
  const shared: Shared = {
    store: openStore(),
    cursors: new Map(),
    operations: new Map(),
    users: new Map(),
    transactions: new Map(),
    makeCursorId: () => cursor++ * 7_919n,
  };

  /** The transaction that a command belongs to, begun by the command that says so. */
  const transactionOf = ({ command }: Request): Ask["undo"] => {
    if (command["txnNumber"] === undefined) return undefined;
    // as DocumentDB says it
    if (command["autocommit"] !== false)
      throw mongoError(301, "RetryableWritesNotSupported", "Retryable writes are not supported");
    const id = sessionOf(command);
    if (command["startTransaction"] === true) shared.transactions.set(id, []);
    const undo = shared.transactions.get(id);
    if (!undo)
      throw mongoError(
        251,
        "NoSuchTransaction",
        "Given transaction number does not match any in-progress transactions",
      );
    return undo;
  };
  const endTransaction = ({ command, name }: Request): Document => {
    const id = sessionOf(command);
    const undo = shared.transactions.get(id);
    if (!undo) throw mongoError(251, "NoSuchTransaction", "no transaction is in progress");
    shared.transactions.delete(id);
    if (name === "abortTransaction") for (const step of undo.reverse()) step();
    return {};
  };

  /** Waits where a command is held. @throws Failure when it is killed */
  const wait = async (request: Request, appName: string): Promise<void> => {
    const stop = held.get(request.name);
    if (!stop) return;
    const opid = operation++;
    const killed = Promise.withResolvers<never>();
    const ns = `${String(request.command["$db"])}.${String(Object.values(request.command)[0])}`;
    const kill = () => killed.reject(mongoError(11_601, "Interrupted", "operation was interrupted"));
    shared.operations.set(opid, { opid, ns, command: request.command, appName, kill });
    stop.arrived();
    try {
      await Promise.race([stop.released, killed.promise]);
    } finally {
      shared.operations.delete(opid);
    }
  };

  const answer = (
    request: Request,
    member: Member,
    user: string | undefined,
    connectionId: number,
  ): Document | Buffer => {
    const { name, command } = request;
    if (["hello", "isMaster", "ismaster"].includes(name))
      return { ...hello(member, name !== "hello", connectionId), ok: 1 };
    if (name === "commitTransaction" || name === "abortTransaction") return { ...endTransaction(request), ok: 1 };
    const run = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (!run) throw mongoError(59, "CommandNotFound", `no such command: '${name}'`);
    requireMember(member, request);
    const undo = transactionOf(request);
    const made = run({ shared, command, db: String(command["$db"]), request, undo, connectionId, user });
    return Buffer.isBuffer(made) ? made : { ...made, ok: 1 };
  };

  const serve = (socket: Duplex, member: () => Member, user: () => string | undefined): void => {
    const connectionId = connection++;
    let appName = "";
    let pieces: Buffer[] = [];
    let [have, need] = [0, headerSize];
    let turn = Promise.resolve();
    const work = async (whole: Buffer): Promise<void> => {
      const request = parseRequest(whole);
      const client = request.command["client"] as { application?: { name?: string } } | undefined;
      appName = client?.application?.name ?? appName;
      const document = await wait(request, appName)
        .then(() => answer(request, member(), user(), connectionId))
        .catch((thrown: unknown) => failed(thrown));
      const { flags } = request;
      if (flags & flag.moreToCome) return;
      let made = Buffer.isBuffer(document) ? document : Buffer.from(serialize(document));
      let to = request.id;
      // one request, answers until the cursor is at its end
      for (;;) {
        const id = BigInt(String(request.command["getMore"] ?? 0));
        const again = (flags & flag.exhaust) !== 0 && request.name === "getMore" && shared.cursors.has(id);
        const reply = replyTo(request, made, again, to);
        if (!socket.write(reply.bytes))
          await new Promise((resume) => socket.once("drain", resume).once("close", resume));
        if (!again || socket.destroyed) return;
        to = reply.id;
        const next = answer(request, member(), user(), connectionId);
        made = Buffer.isBuffer(next) ? next : Buffer.from(serialize(next));
      }
    };
    socket.on("data", (chunk: Buffer) => {
      pieces.push(chunk);
      have += chunk.length;
      // put together when a message is whole: large ones come in many pieces
      if (have < need) return;
      let bytes: Buffer = Buffer.concat(pieces);
      try {
        while (bytes.length >= headerSize && bytes.length >= lengthOf(bytes)) {
          const whole = bytes.subarray(0, lengthOf(bytes));
          bytes = bytes.subarray(whole.length);
          turn = turn.then(() => work(whole)).catch(() => void socket.destroy());
        }
        need = bytes.length < headerSize ? headerSize : lengthOf(bytes);
      } catch {
        socket.destroy();
      }
      pieces = [bytes];
      have = bytes.length;
    });
    socket.on("end", () => void turn.finally(() => socket.end()));
    socket.on("error", () => socket.destroy());
    live.add(socket);
    socket.once("close", () => live.delete(socket));
  };

  const run = async (db: string, command: Document): Promise<Document> => {
    const name = Object.keys(command)[0] ?? "";
    const request = { id: 0, legacy: false, flags: 0, command: { ...command, $db: db }, name, sequences: new Map() };
    const made = answer(request, alone, undefined, 0);
    if (!Buffer.isBuffer(made)) return made;
    return deserialize(made);
  };

  return {
    name: "built-in",
    open: (member, user) => {
      const [theirs, ours] = duplexPair();
      serve(ours, member, user);
      // a pair in memory does not notice when its other half is destroyed; a socket does
      theirs.once("close", () => ours.destroy());
      ours.once("close", () => setImmediate(() => theirs.destroy()));
      return theirs;
    },
    hasUser: async (roleArn) => shared.users.has(roleArn),
    addUser: async (roleArn, roles = []) => {
      await run("$external", { createUser: roleArn, mechanisms: ["MONGODB-AWS"], roles });
    },
    removeUser: async (roleArn) => {
      await run("$external", { dropUser: roleArn });
    },
    run,
    hold: (name) => {
      const [arrival, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      held.set(name, { arrived: arrival.resolve, released: release.promise });
      return {
        arrived: arrival.promise,
        release: () => {
          held.delete(name);
          release.resolve();
        },
      };
    },
    stop: async () => {
      for (const socket of live) socket.destroy();
    },
  };
};

/** Which session a command names. */
const sessionOf = (command: Document): string => {
  const id: unknown = (command["lsid"] as Document | undefined)?.["id"];
  return String(id);
};
