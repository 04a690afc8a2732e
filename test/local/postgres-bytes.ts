// Packets and sockets for talking to a PostgreSQL port byte by byte, with none of the product's code.
import { connect as connectTcp, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";

export const sslRequest = Buffer.from("0000000804d2162f", "hex");
export const gssRequest = Buffer.from("0000000804d21630", "hex");

export const packet = (code: number, body: Uint8Array | string): Buffer => {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + bytes.length);
  head.writeInt32BE(code, 4);
  return Buffer.concat([head, bytes]);
};

/** A startup message: `startup(0x30000, "user", "ada")`; the words are terminated, and so is the list. */
export const startup = (version: number, ...words: readonly string[]): Buffer =>
  packet(version, `${words.map((word) => `${word}\0`).join("")}\0`);

export const message = (type: string, body: string): Buffer => {
  const bytes = Buffer.from(body);
  const head = Buffer.from(`${type}\0\0\0\0`);
  head.writeInt32BE(4 + bytes.length, 1);
  return Buffer.concat([head, bytes]);
};

export interface Message {
  readonly type: string;
  readonly body: Buffer;
}

/** Everything until the stream ends, as it came. */
export const rest = async (socket: Socket): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

/** The messages as they come, to the end of the stream. */
export async function* messages(socket: Socket): AsyncGenerator<Message, undefined> {
  let held: Buffer = Buffer.alloc(0);
  for await (const chunk of socket) {
    held = Buffer.concat([held, chunk as Buffer]);
    while (held.length >= 5 && held.length > held.readInt32BE(1)) {
      const end = 1 + held.readInt32BE(1);
      yield { type: held.toString("latin1", 0, 1), body: held.subarray(5, end) };
      held = held.subarray(end);
    }
  }
}

/** The next message of this type; fails when the stream ends before it. */
export const until = async (stream: AsyncGenerator<Message, undefined>, type: string): Promise<Message> => {
  for (;;) {
    const next = await stream.next();
    if (next.done) throw new Error(`the stream ended before ${type}`);
    if (next.value.type === type) return next.value;
  }
};

/** `C: M` of an ErrorResponse. */
export const errorText = (body: Buffer): string => {
  const fields = new Map(
    body
      .toString()
      .split("\0")
      .map((field) => [field[0], field.slice(1)]),
  );
  return `${fields.get("C")}: ${fields.get("M")}`;
};

export interface Where {
  readonly host: string;
  readonly port: number;
}

export const dial = ({ host, port }: Where): Promise<Socket> =>
  new Promise((answer, refuse) => {
    const socket = connectTcp({ host, port, allowHalfOpen: true }, () => answer(socket)).once("error", refuse);
  });

export const encrypt = (socket: Socket, options: ConnectionOptions): Promise<TLSSocket> =>
  new Promise((answer, refuse) => {
    const stream = connectTls({ ...options, socket }, () => answer(stream)).once("error", refuse);
  });

/** TLS by SSLRequest. */
export const dialTls = async (where: Where, options: ConnectionOptions): Promise<TLSSocket> => {
  const socket = await dial(where);
  socket.write(sslRequest);
  const answer = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  if (answer.toString() !== "S") throw new Error(`the server answered ${answer.toString()}`);
  return encrypt(socket, options);
};
