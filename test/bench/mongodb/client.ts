// The client of all ways: TLS, hello, a login by PLAIN where there is one to log in to, then one message after the other, each sent
// when the whole answer to the one before is there. It costs little, so that what stands between is what is measured.
import { once } from "node:events";
import { connect as secure, type TLSSocket } from "node:tls";
import { headerSize, message, query, replyBody } from "@sallyport/wire/mongodb/message";
import { Binary, deserialize } from "bson";
import { account } from "../server.ts";
import type { Way } from "../way.ts";

export interface MongoVisitor {
  /** Sends it, and resolves with the answer's head (as many of its first bytes as were asked for) and its length. */
  ask(request: Buffer, head?: number): Promise<{ readonly head: Buffer; readonly length: number }>;
  /** Bytes that have come, of answers that are not whole yet too. */
  received(): number;
  leave(): void;
}

const reader = (socket: TLSSocket) => {
  let waiting:
    | { head: number; resolve(answer: { head: Buffer; length: number }): void; reject(why: Error): void }
    | undefined;
  let pieces: Buffer[] = [];
  let have = 0;
  let seen = 0; //     of what is not kept any more
  let received = 0;
  const look = (): void => {
    if (!waiting || have < headerSize) return;
    const first = pieces.length === 1 ? (pieces[0] ?? Buffer.alloc(0)) : Buffer.concat(pieces);
    const length = first.readInt32LE(0);
    const keep = Math.min(length, waiting.head);
    pieces = [first];
    if (have < length) {
      // the rest is counted and let go
      if (first.length > keep) {
        seen += first.length - keep;
        pieces = [first.subarray(0, keep)];
      }
      return;
    }
    const { resolve } = waiting;
    waiting = undefined;
    pieces = [];
    have = 0;
    seen = 0;
    resolve({ head: first.subarray(0, keep), length });
  };
  socket.on("data", (chunk: Buffer) => {
    have += chunk.length;
    received += chunk.length;
    if (seen > 0) seen += chunk.length;
    else pieces.push(chunk);
    look();
  });
  socket.once("close", () => waiting?.reject(new Error("closed")));
  const next = (head: number): Promise<{ head: Buffer; length: number }> =>
    new Promise((resolve, reject) => {
      waiting = { head, resolve, reject };
    });
  return { next, received: () => received };
};

export const visit = async (way: Way, ca: string): Promise<MongoVisitor> => {
  const socket = secure({ host: way.host, port: way.port, servername: "localhost", ca });
  await once(socket, "secureConnect");
  socket.setNoDelay(true).on("error", () => {});
  const { next, received } = reader(socket);
  const ask: MongoVisitor["ask"] = (request, head = headerSize) => {
    const answered = next(head);
    socket.write(request);
    return answered;
  };
  const insist = async (request: Buffer): Promise<void> => {
    const { head } = await ask(request, 16_384);
    const said = deserialize(replyBody(head));
    if (said["ok"] !== 1) throw new Error(`${way.name}: ${String(said["errmsg"])}`);
  };
  await insist(query({ isMaster: 1, helloOk: true }, 1));
  if (way.password !== account.password) {
    const payload = new Binary(Buffer.from(`\0${account.user}\0${way.password}`));
    await insist(message({ saslStart: 1, mechanism: "PLAIN", payload, $db: "$external" }, { requestId: 2 }));
  }
  return { ask, received, leave: () => socket.destroy() };
};
