// A database to stand behind the door: the server's half of MONGODB-AWS, taken at its word, and as much of MongoDB as the clients
// here ask for, over collections in memory. Answers in several batches, a cursor that goes on by itself, transactions' commands.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:tls";
import type { Certificate } from "@sallyport/local/certificate";
import { Binary, type Document, deserialize, Long, serialize } from "bson";
import { bits, body, doc, i32, msg, packet } from "./bytes.ts";

interface Heard extends Document {
  readonly $db?: string;
}
export interface Target {
  readonly port: number;
  /** Every command after the login, with what its sections brought. */
  readonly heard: readonly Heard[];
  readonly proofs: readonly Document[];
  connections(): number;
  /** Ends all connections, as a failover does. */
  fail(): void;
  close(): void;
}

interface Cursor {
  readonly ns: string;
  rest: Document[];
}
type Collections = Map<string, Document[]>;

const commandIn = (bytes: Buffer): { command: Document; flags: number } => {
  if (bytes.readInt32LE(12) === 2004) {
    const from = bytes.indexOf(0, 20) + 9;
    return { command: deserialize(bytes.subarray(from)), flags: 0 };
  }
  const flags = bytes.readUInt32LE(16);
  const end = bytes.length - (flags & bits.checksum ? 4 : 0);
  let command: Document = {};
  const more: Document = {};
  for (let at = 20; at < end; ) {
    const kind = bytes[at];
    const size = bytes.readInt32LE(at + 1);
    if (kind === 0) command = deserialize(bytes.subarray(at + 1, at + 1 + size));
    else {
      const named = bytes.indexOf(0, at + 5);
      const all: Document[] = [];
      for (let place = named + 1; place < at + 1 + size; place += bytes.readInt32LE(place))
        all.push(deserialize(bytes.subarray(place, place + bytes.readInt32LE(place))));
      more[bytes.toString("utf8", at + 5, named)] = all;
    }
    at += 1 + size;
  }
  return { command: { ...command, ...more }, flags };
};

const hello: Document = {
  ...{
    ismaster: true,
    isWritablePrimary: true,
    setName: "rs0",
    hosts: ["db-1.internal:27017"],
    me: "db-1.internal:27017",
  },
  ...{ primary: "db-1.internal:27017", maxBsonObjectSize: 16_777_216, maxMessageSizeBytes: 48_000_000 },
  ...{ maxWriteBatchSize: 100_000, logicalSessionTimeoutMinutes: 30, minWireVersion: 0, maxWireVersion: 13, ok: 1 },
};
const okay: ReadonlySet<string> = new Set([
  ...[
    "ping",
    "endSessions",
    "commitTransaction",
    "abortTransaction",
    "create",
    "killOp",
    "createUser",
    "refreshSessions",
  ],
]);

export const openTarget = async (certificate: Certificate): Promise<Target> => {
  const collections: Collections = new Map();
  const cursors = new Map<string, Cursor>();
  const heard: Heard[] = [];
  const proofs: Document[] = [];
  const sockets = new Set<{ destroy(): void }>();
  let next = 1000;

  const batch = (
    ns: string,
    from: Document[],
    size: number,
    key: "firstBatch" | "nextBatch",
    id?: string,
  ): Document => {
    const now = from.splice(0, size);
    const open = from.length > 0;
    const name = open ? (id ?? String(++next * 1_000_003)) : "0";
    if (open) cursors.set(name, { ns, rest: from });
    else if (id !== undefined) cursors.delete(id);
    return { cursor: { [key]: now, id: Long.fromString(name), ns }, ok: 1 };
  };
  const answerTo = (command: Document): Document => {
    const [name = ""] = Object.keys(command);
    const ns = `${command["$db"]}.${command[name]}`;
    const all = collections.get(ns) ?? [];
    if (okay.has(name)) return { ok: 1 };
    if (name === "insert") {
      collections.set(ns, [...all, ...(command["documents"] as Document[])]);
      return { n: (command["documents"] as Document[]).length, ok: 1 };
    }
    if (name === "find" || name === "aggregate") {
      const filter = (command["filter"] ?? {}) as Document;
      const wanted = all.filter((one) =>
        Object.entries(filter).every(([key, value]) => String(one[key]) === String(value)),
      );
      const size = Number(command["batchSize"] ?? (command["cursor"] as Document | undefined)?.["batchSize"] ?? 101);
      return batch(ns, [...wanted], command["limit"] ? wanted.length : size, "firstBatch");
    }
    if (name === "getMore") {
      const id = String(command["getMore"]);
      const cursor = cursors.get(id);
      if (!cursor) return { ok: 0, errmsg: `cursor id ${id} not found`, code: 43, codeName: "CursorNotFound" };
      return batch(cursor.ns, cursor.rest, Number(command["batchSize"] ?? 101), "nextBatch", id);
    }
    if (name === "killCursors") {
      for (const id of command["cursors"] as unknown[]) cursors.delete(String(id));
      return { cursorsKilled: command["cursors"], cursorsNotFound: [], cursorsAlive: [], cursorsUnknown: [], ok: 1 };
    }
    if (name === "currentOp") return { inprog: [], ok: 1 };
    if (name === "buildInfo" || name === "buildinfo") return { version: "5.0.0", versionArray: [5, 0, 0, 0], ok: 1 };
    return { ok: 0, errmsg: `no such command: '${name}'`, code: 59, codeName: "CommandNotFound" };
  };
  const login = (command: Document): Document => {
    if ("saslStart" in command) {
      const { r } = deserialize((command["payload"] as Binary).buffer) as { r: Binary };
      const s = new Binary(Buffer.concat([Buffer.from(r.buffer), randomBytes(32)]));
      const payload = new Binary(serialize({ s, h: "sts.eu-west-1.amazonaws.com" }));
      return { conversationId: 1, done: false, payload, ok: 1 };
    }
    proofs.push(deserialize((command["payload"] as Binary).buffer));
    return { conversationId: 1, done: true, payload: new Binary(Buffer.alloc(0)), ok: 1 };
  };

  const server: Server = createServer({ cert: certificate.cert, key: certificate.key }, (socket) => {
    sockets.add(socket);
    socket.setNoDelay();
    socket.on("error", () => {}).once("close", () => sockets.delete(socket));
    let held = Buffer.alloc(0);
    let loggedIn = false;
    const serve = (bytes: Buffer): void => {
      const { command, flags } = commandIn(bytes);
      const [name = ""] = Object.keys(command);
      const id = bytes.readInt32LE(4);
      if (bytes.readInt32LE(12) === 2004) {
        socket.write(packet(1, { id: ++next, to: id }, i32(8), i32(0), i32(0), i32(0), i32(1), doc(hello)));
        return;
      }
      if (name === "saslStart" || name === "saslContinue") {
        loggedIn = name === "saslContinue";
        socket.write(msg({ id: ++next, to: id }, body(login(command))));
        return;
      }
      heard.push(command);
      let answer = loggedIn ? answerTo(command) : { ok: 0, code: 13, errmsg: "not logged in" };
      if (flags & bits.more) return;
      let to = id;
      while (flags & bits.exhaust && String((answer["cursor"] as Document)["id"]) !== "0") {
        socket.write(msg({ id: ++next, to, flags: bits.more }, body(answer)));
        to = next;
        answer = answerTo({ ...command, getMore: (answer["cursor"] as Document)["id"] });
      }
      socket.write(msg({ id: ++next, to }, body(answer)));
    };
    socket.on("data", (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      while (held.length >= 16 && held.length >= held.readInt32LE(0)) {
        const whole = held.subarray(0, held.readInt32LE(0));
        held = held.subarray(whole.length);
        serve(whole);
      }
    });
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const fail = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: typeof address === "object" && address ? address.port : 0,
    heard,
    proofs,
    connections: () => sockets.size,
    fail,
    close: () => {
      fail();
      server.close();
    },
  };
};
