// Writing and reading wire messages: a chainable writer whose verbs are the wire's own types, a reader that never passes
// its end, and exact bounded reads from a socket before a relay takes it over. No length is trusted before it is checked.
import { isUtf8 } from "node:buffer";
import type { Duplex } from "node:stream";
import { Failure, type FailureCode } from "@sallyport/core/failure";

/** Lays out one message; `end` fills its length in. */
export interface Writer {
  u8(value: number): Writer;
  i16(value: number): Writer;
  i32(value: number): Writer;
  /** Text and a zero byte. */
  cstring(text: string): Writer;
  bytes(bytes: Uint8Array): Writer;
  end(): Buffer;
}

const numeric = (size: 1 | 2 | 4, value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeUIntBE(size === 4 ? value >>> 0 : value, 0, size);
  return bytes;
};

/** A message that begins with `head` and then its own length in four bytes, which counts everything but the head. */
export const compose = (head = ""): Writer => {
  const pieces: Uint8Array[] = [Buffer.from(head, "latin1"), Buffer.alloc(4)];
  const add = (piece: Uint8Array): Writer => {
    pieces.push(piece);
    return writer;
  };
  const writer: Writer = {
    u8: (value) => add(numeric(1, value)),
    i16: (value) => add(numeric(2, value)),
    i32: (value) => add(numeric(4, value)),
    // a zero byte inside would begin the next field
    cstring: (text) => add(Buffer.from(`${text.replaceAll("\0", "")}\0`)),
    bytes: add,
    end: () => {
      const whole = Buffer.concat(pieces);
      whole.writeInt32BE(whole.length - head.length, head.length);
      return whole;
    },
  };
  return writer;
};

/** Reads fields in order. @throws Failure `protocol` at anything that is not there */
export interface Reader {
  u8(): number;
  i16(): number;
  i32(): number;
  /** Text up to a zero byte; it must be UTF-8. */
  cstring(): string;
  bytes(count: number): Buffer;
  left(): number;
}

export const reader = (from: Buffer): Reader => {
  let at = 0;
  const step = (count: number): number => {
    if (count < 0 || count > from.length - at) throw new Failure("protocol", "a message is shorter than its fields");
    at += count;
    return at - count;
  };
  return {
    u8: () => from.readUInt8(step(1)),
    i16: () => from.readInt16BE(step(2)),
    i32: () => from.readInt32BE(step(4)),
    cstring: () => {
      const end = from.indexOf(0, at);
      if (end < 0) throw new Failure("protocol", "a text in a message has no end");
      const text = from.subarray(at, end);
      if (!isUtf8(text)) throw new Failure("protocol", "a text in a message is not UTF-8");
      at = end + 1;
      return text.toString();
    },
    bytes: (count) => {
      const start = step(count);
      return from.subarray(start, start + count);
    },
    left: () => from.length - at,
  };
};

/** An `error` event with nobody listening would end the process. */
export const quiet = (socket: Duplex): Duplex => socket.on("error", ignore);
const ignore = (): void => {};

/** Why nothing more comes: what the socket was destroyed with when that says it, else `code` in these words. */
const gone = (socket: Duplex, { code = "protocol", words = "the connection ended too early" }: TakeOptions): Failure =>
  socket.errored instanceof Failure ? socket.errored : new Failure(code, words, { cause: socket.errored ?? undefined });

export interface TakeOptions {
  /** What the Failure says when the socket ends first. */
  readonly code?: FailureCode;
  readonly words?: string;
  /** How many bytes the socket may hold unread while we wait. */
  readonly hold?: number;
}

/** The bytes when they are all there, null when the stream ended before the first, undefined when it is too early to tell. */
const poll = (socket: Duplex, count: number, options: TakeOptions): Buffer | null | undefined => {
  const { hold } = options;
  if (socket.destroyed) throw gone(socket, options);
  if (hold !== undefined && socket.readableLength > hold)
    throw new Failure("too_large", "too many bytes before the login");
  const bytes: unknown = socket.read(count);
  // at its end a stream gives what is left, however little
  if (Buffer.isBuffer(bytes)) {
    if (bytes.length === count) return bytes;
    throw gone(socket, options);
  }
  if (!socket.readableEnded) return undefined;
  if (socket.errored) throw gone(socket, options);
  return null;
};

/** Exactly `count` bytes; what comes behind them stays in the socket. Undefined when it ended before the first. @throws Failure */
export const takeOrEnd = async (
  socket: Duplex,
  count: number,
  options: TakeOptions = {},
): Promise<Buffer | undefined> => {
  if (count === 0) return Buffer.alloc(0);
  // a login's messages come several at a time: what is there is taken without listening for it
  const bytes = poll(socket, count, options);
  return bytes === undefined ? wait(socket, count, options) : (bytes ?? undefined);
};

const wait = (socket: Duplex, count: number, options: TakeOptions): Promise<Buffer | undefined> =>
  new Promise((resolve, reject) => {
    const events = ["readable", "end", "close", "error"];
    const attempt = (): void => {
      try {
        const bytes = poll(socket, count, options);
        if (bytes === undefined) return;
        resolve(bytes ?? undefined);
      } catch (thrown) {
        reject(thrown);
      }
      for (const event of events) socket.off(event, attempt);
    };
    // one listener for the whole wait: a fresh one is called at once while half a packet is there, and nobody else ever is
    for (const event of events) socket.on(event, attempt);
    attempt();
  });

/** As takeOrEnd, and an end is a Failure. */
export const take = async (socket: Duplex, count: number, options: TakeOptions = {}): Promise<Buffer> => {
  const bytes = await takeOrEnd(socket, count, options);
  if (bytes === undefined) throw gone(socket, options);
  return bytes;
};

const lingerMs = 1_000;

/** Sends the last words, waits for them to arrive, at most a second each way, and closes. Never rejects. */
export const dismiss = (socket: Duplex, words?: Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    quiet(socket);
    if (socket.destroyed) return resolve();
    const timer = setTimeout(() => socket.destroy(), 2 * lingerMs);
    socket.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
    const closing = (): void => {
      // bytes left unread would turn our end into a reset, which may overtake the words
      if (socket.readableEnded) socket.destroy();
      else setTimeout(() => socket.destroy(), lingerMs).unref();
    };
    socket.once("end", () => (socket.writableFinished ? socket.destroy() : undefined));
    if (socket.writableFinished) closing();
    else socket.once("finish", closing);
    if (socket.writable) socket.end(words);
    socket.resume();
  });
