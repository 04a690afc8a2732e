// A PostgreSQL client of bytes, with none of the product's code: for what no library lets one do.
import type { Socket } from "node:net";
import { dial, dialTls, type Message, messages, packet, startup } from "../../local/postgres-bytes.ts";
import type { Place } from "./way.ts";

export interface Raw {
  readonly socket: Socket;
  /** From BackendKeyData. */
  readonly pid: number;
  readonly key: Buffer;
  send(...pieces: readonly Buffer[]): void;
  next(): Promise<Message>;
  /** Everything up to and with the next ReadyForQuery. */
  answer(): Promise<readonly Message[]>;
  close(): void;
}

type Piece = string | number | Buffer;
/** A message: text is terminated, a number is 32 bits, bytes are as they are. */
export const say = (type: string, ...pieces: readonly Piece[]): Buffer => {
  const body = Buffer.concat(
    pieces.map((piece) => {
      if (typeof piece === "string") return Buffer.from(`${piece}\0`);
      if (typeof piece !== "number") return piece;
      const word = Buffer.alloc(4);
      word.writeInt32BE(piece);
      return word;
    }),
  );
  const head = Buffer.from(`${type}\0\0\0\0`);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
};
export const short = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
};

/** @throws Error with the server's words when it does not let us in */
export const openRaw = async (place: Place, version = 0x30000): Promise<Raw> => {
  const { host, port, ca } = place;
  const socket =
    ca === undefined ? await dial({ host, port }) : await dialTls({ host, port }, { ca, servername: host });
  const stream = messages(socket);
  const next = async (): Promise<Message> => {
    const { value, done } = await stream.next();
    if (done) throw new Error("the stream ended");
    return value;
  };
  socket.write(startup(version, "user", place.user, "database", place.database));
  let pid = 0;
  let key: Buffer = Buffer.alloc(0);
  for (;;) {
    const { type, body } = await next();
    if (type === "E") throw new Error(body.toString().replaceAll("\0", " "));
    if (type === "R" && body.readInt32BE() === 3) socket.write(say("p", place.password));
    if (type === "K") [pid, key] = [body.readInt32BE(), body.subarray(4)];
    if (type === "Z") break;
  }
  return {
    socket,
    pid,
    key,
    send: (...pieces) => void socket.write(Buffer.concat(pieces)),
    next,
    answer: async () => {
      const all: Message[] = [];
      do all.push(await next());
      while (all.at(-1)?.type !== "Z");
      return all;
    },
    close: () => socket.destroy(),
  };
};

/** A CancelRequest: in plain text as libpq before 17 sends it, or inside TLS; resolves when the other side has closed. */
export const cancelRaw = async (
  where: { readonly host: string; readonly port: number },
  { pid, key }: Pick<Raw, "pid" | "key">,
  ca?: string,
): Promise<void> => {
  const socket = ca === undefined ? await dial(where) : await dialTls(where, { ca, servername: "localhost" });
  const body = Buffer.alloc(4 + key.length);
  body.writeInt32BE(pid);
  key.copy(body, 4);
  const over = new Promise<void>((resolve) =>
    socket
      .resume()
      .once("end", resolve)
      .once("error", () => resolve()),
  );
  socket.write(packet(80_877_102, body));
  await over;
  socket.destroy();
};
