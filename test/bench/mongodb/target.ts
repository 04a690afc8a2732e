// What is behind everything that is measured with MongoDB's protocol: TLS, the server's half of MONGODB-AWS taken at its word, and
// answers that were made beforehand. No database on this machine is DocumentDB, and one in JavaScript would be what is measured;
// this one costs next to nothing beside what stands before it. A process of its own.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer as count } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { answer, headerSize, message, opcodes, replyBody } from "@sallyport/wire/mongodb/message";
import { Binary, type Document, deserialize, Long, serialize } from "bson";
import { batchOf, scanned } from "./shape.ts";

const env = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
};
const hello: Document = {
  ...{ ismaster: true, isWritablePrimary: true, maxBsonObjectSize: 16_777_216, maxMessageSizeBytes: 48_000_000 },
  ...{ maxWriteBatchSize: 100_000, logicalSessionTimeoutMinutes: 30, minWireVersion: 0, maxWireVersion: 13, ok: 1 },
};

/** An answer made beforehand, and where in it a cursor's id is. */
interface Ready {
  readonly bytes: Buffer;
  readonly id: number;
}
const mark = Long.fromString("1234567890123456789");
const ready = (document: Document): Ready => {
  const bytes = message(document);
  const sought = Buffer.alloc(8);
  sought.writeBigInt64LE(BigInt(mark.toString()));
  return { bytes, id: bytes.indexOf(sought) };
};
const batch = (key: string, documents: readonly Document[], id = mark): Ready =>
  ready({ cursor: { [key]: documents, id, ns: "bench.bulk" }, ok: 1 });
const answers = {
  one: ready({ cursor: { firstBatch: [{ _id: 1, text: "x".repeat(200) }], id: Long.ZERO, ns: "bench.item" }, ok: 1 }),
  inserted: ready({ n: 1_000, ok: 1 }),
  first: batch("firstBatch", batchOf(scanned.first)),
  next: batch("nextBatch", batchOf(scanned.next)),
  last: batch("nextBatch", [], Long.ZERO),
  okay: ready({ ok: 1 }),
};

let nextCursor = 1n;
const left = new Map<bigint, number>();

/** In pieces: what is the same in all is never copied. */
const send = (socket: TLSSocket, { bytes, id }: Ready, to: number, cursor?: bigint): void => {
  const head = Buffer.from(bytes.subarray(0, headerSize));
  head.writeInt32LE(to, 8);
  socket.cork();
  socket.write(head);
  if (cursor === undefined) socket.write(bytes.subarray(headerSize));
  else {
    const own = Buffer.alloc(8);
    own.writeBigInt64LE(cursor);
    socket.write(bytes.subarray(headerSize, id));
    socket.write(own);
    socket.write(bytes.subarray(id + own.length));
  }
  socket.uncork();
};

const login = (command: Document): Document => {
  const done = { conversationId: 1, done: true, payload: new Binary(Buffer.alloc(0)), ok: 1 };
  if (!("saslStart" in command)) return done;
  const { r } = deserialize((command["payload"] as Binary).buffer) as { r: Binary };
  const s = new Binary(Buffer.concat([Buffer.from(r.buffer), randomBytes(32)]));
  return { ...done, done: false, payload: new Binary(serialize({ s, h: "sts.eu-west-1.amazonaws.com" })) };
};

/** The first element of the body is the command's name and what it is about: its value at `value`. */
const answerTo = (name: string, whole: Buffer, value: number): { readonly ready: Ready; readonly cursor?: bigint } => {
  if (name === "insert") return { ready: answers.inserted };
  if (name === "find" && whole.toString("latin1", value + 4, value + 8) === "item") return { ready: answers.one };
  if (name === "find") {
    const cursor = nextCursor++;
    left.set(cursor, scanned.batches);
    return { ready: answers.first, cursor };
  }
  if (name !== "getMore") return { ready: answers.okay };
  const cursor = whole.readBigInt64LE(value);
  const more = (left.get(cursor) ?? 0) - 1;
  if (more > 0) {
    left.set(cursor, more);
    return { ready: answers.next, cursor };
  }
  left.delete(cursor);
  return { ready: answers.last };
};

const serve = (socket: TLSSocket, whole: Buffer): void => {
  const asker = { requestId: whole.readInt32LE(4), opcode: whole.readInt32LE(12) };
  const at = headerSize + 10; // flags, the section's kind, the body's length, the element's type
  const name = asker.opcode === opcodes.msg ? whole.toString("latin1", at, whole.indexOf(0, at)) : "hello";
  if (name === "hello" || name === "isMaster") socket.write(answer(asker, hello));
  else if (name.startsWith("sasl")) socket.write(answer(asker, login(deserialize(replyBody(whole)))));
  else {
    const { ready: made, cursor } = answerTo(name, whole, at + name.length + 1);
    send(socket, made, asker.requestId, cursor);
  }
};

const sockets = new Set<TLSSocket>();
let most = 0;
const [cert, key] = ["TARGET_CERT", "TARGET_KEY"].map((name) => readFileSync(env(name)));
const server = createServer({ cert, key, ciphers: env("TARGET_CIPHER"), noDelay: true }, (socket) => {
  sockets.add(socket);
  most = Math.max(most, sockets.size);
  socket.on("error", () => {}).once("close", () => sockets.delete(socket));
  let pieces: Buffer[] = [];
  let have = 0;
  let wanted = headerSize;
  socket.on("data", (chunk: Buffer) => {
    pieces.push(chunk);
    have += chunk.length;
    while (have >= wanted) {
      const bytes = pieces.length === 1 ? (pieces[0] ?? chunk) : Buffer.concat(pieces);
      const length = bytes.readInt32LE(0);
      pieces = [bytes];
      wanted = length;
      if (have < length) return;
      serve(socket, bytes.subarray(0, length));
      const rest = bytes.subarray(length);
      pieces = rest.length > 0 ? [rest] : [];
      have = rest.length;
      wanted = headerSize;
    }
  });
});
server.on("tlsClientError", () => {});

/** Says to whoever connects how many connections there are, and have been at once since it was last asked. */
const teller = count((socket) => {
  socket.on("error", () => {}).end(`${sockets.size} ${most}`);
  most = sockets.size;
});
const listening = (one: typeof teller | typeof server): Promise<number> =>
  new Promise((resolve) => {
    one.listen(0, "127.0.0.1", () => {
      const address = one.address();
      resolve(typeof address === "object" && address ? address.port : 0);
    });
  });
const ports = { mongodb: await listening(server), teller: await listening(teller) };
process.stdout.write(`${JSON.stringify({ message: "ready", ports })}\n`);
process.once("SIGTERM", () => process.exit(0));
