// MySQL's packets: three bytes of length, a sequence number, a payload; a payload of 16 MiB and more goes on in further packets
// until one is shorter. Little-endian throughout. Here: laying payloads out, reading their fields, and taking packets one by
// one from a socket while a login lasts. No length is trusted before it is checked.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html
import { Failure, type FailureCode } from "@sallyport/core/failure";
import { take, takeOrEnd } from "../bytes.ts";
import type { Socket } from "../protocol.ts";

export const headerSize = 4;
/** A packet of this length is not its payload's last. */
export const fullPacket = 0xff_ffff;

/** Lays out one payload; `packet` puts its header before it. */
export interface Writer {
  u8(value: number): Writer;
  u16(value: number): Writer;
  u24(value: number): Writer;
  u32(value: number): Writer;
  /** A length-encoded integer. */
  lenenc(value: number): Writer;
  /** Text and a zero byte. */
  cstring(text: string): Writer;
  /** Length-encoded bytes. */
  counted(bytes: Uint8Array): Writer;
  bytes(bytes: Uint8Array): Writer;
  zeros(count: number): Writer;
  payload(): Buffer;
  packet(sequence: number): Buffer;
}

const numeric = (size: 1 | 2 | 3 | 4 | 6, value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeUIntLE(size === 4 ? value >>> 0 : value, 0, size);
  return bytes;
};

const lenencOf = (value: number): Buffer => {
  if (value < 0xfb) return numeric(1, value);
  if (value < 0x1_0000) return Buffer.concat([Buffer.of(0xfc), numeric(2, value)]);
  if (value < 0x100_0000) return Buffer.concat([Buffer.of(0xfd), numeric(3, value)]);
  return Buffer.concat([Buffer.of(0xfe), numeric(6, value), Buffer.alloc(2)]);
};

const header = (length: number, sequence: number): Buffer => {
  const bytes = Buffer.allocUnsafe(headerSize);
  bytes.writeUIntLE(length, 0, 3);
  bytes[3] = sequence & 0xff;
  return bytes;
};

/** A payload in as many packets as it needs. */
export const packets = (payload: Buffer, sequence = 0): Buffer => {
  const pieces: Buffer[] = [];
  for (let at = 0; ; at += fullPacket, sequence++) {
    const piece = payload.subarray(at, at + fullPacket);
    pieces.push(header(piece.length, sequence), piece);
    if (piece.length < fullPacket) return Buffer.concat(pieces);
  }
};

export const compose = (): Writer => {
  const pieces: Uint8Array[] = [];
  const add = (...more: readonly Uint8Array[]): Writer => {
    pieces.push(...more);
    return writer;
  };
  const writer: Writer = {
    u8: (value) => add(numeric(1, value)),
    u16: (value) => add(numeric(2, value)),
    u24: (value) => add(numeric(3, value)),
    u32: (value) => add(numeric(4, value)),
    lenenc: (value) => add(lenencOf(value)),
    // a zero byte inside would begin the next field
    cstring: (text) => add(Buffer.from(`${text.replaceAll("\0", "")}\0`)),
    counted: (bytes) => add(lenencOf(bytes.length), bytes),
    bytes: (bytes) => add(bytes),
    zeros: (count) => add(Buffer.alloc(count)),
    payload: () => Buffer.concat(pieces),
    packet: (sequence) => packets(Buffer.concat(pieces), sequence),
  };
  return writer;
};

/** Reads fields in order. @throws Failure `protocol` at anything that is not there */
export interface Reader {
  u8(): number;
  u16(): number;
  u32(): number;
  /** A length-encoded integer; one beyond 2^53 can't be. */
  lenenc(): number;
  cstring(): Buffer;
  /** The same, where some leave out the zero byte of a packet's last field. */
  lastString(): Buffer;
  counted(): Buffer;
  bytes(count: number): Buffer;
  rest(): Buffer;
  left(): number;
}

const short = (): Failure => new Failure("protocol", "malformed communication packet");

export const reader = (from: Buffer, start = 0): Reader => {
  let at = start;
  const step = (count: number): number => {
    if (count < 0 || count > from.length - at) throw short();
    at += count;
    return at - count;
  };
  const bytes = (count: number): Buffer => {
    const begins = step(count);
    return from.subarray(begins, begins + count);
  };
  const lenenc = (): number => {
    const first = from.readUInt8(step(1));
    if (first < 0xfb) return first;
    if (first === 0xfc) return from.readUInt16LE(step(2));
    if (first === 0xfd) return from.readUIntLE(step(3), 3);
    if (first !== 0xfe) throw short();
    const value = Number(from.readBigUInt64LE(step(8)));
    if (!Number.isSafeInteger(value)) throw short();
    return value;
  };
  return {
    u8: () => from.readUInt8(step(1)),
    u16: () => from.readUInt16LE(step(2)),
    u32: () => from.readUInt32LE(step(4)),
    lenenc,
    cstring: () => {
      const end = from.indexOf(0, at);
      if (end < 0) throw short();
      const text = from.subarray(at, end);
      at = end + 1;
      return text;
    },
    lastString: () => {
      const end = from.indexOf(0, at);
      const text = from.subarray(at, end < 0 ? from.length : end);
      at = end < 0 ? from.length : end + 1;
      return text;
    },
    counted: () => bytes(lenenc()),
    bytes,
    rest: () => bytes(from.length - at),
    left: () => from.length - at,
  };
};

export interface ExchangeOptions {
  /** All that may be taken, headers included. */
  readonly budget: number;
  /** What a Failure says when the other side is gone, or breaks the order. */
  readonly code: FailureCode;
  readonly words: string;
  /** How many bytes the socket may hold unread while we wait. */
  readonly hold?: number;
}

/** Packets one by one while both sides take turns: the numbers go up by one whoever speaks, and a jump ends it. */
export interface Exchange {
  /** Undefined when the other side left instead of beginning. */
  takeOrEnd(): Promise<Buffer | undefined>;
  take(): Promise<Buffer>;
  put(payload: Buffer): void;
  /** On from here: after TLS, say. */
  over(socket: Socket): void;
  /** The number of the packet that comes next, from whichever side. */
  next(): number;
  /** The next exchange begins: a command, after the login. */
  restart(): void;
}

export const exchange = (first: Socket, options: ExchangeOptions, begins = 0): Exchange => {
  let { budget } = options;
  let socket = first;
  let sequence = begins;
  const wait = {
    code: options.code,
    words: options.words,
    ...(options.hold === undefined ? {} : { hold: options.hold }),
  };

  const body = async (head: Buffer): Promise<Buffer> => {
    const length = head.readUIntLE(0, 3);
    if (head[3] !== (sequence & 0xff)) throw new Failure("protocol", "got packets out of order");
    budget -= headerSize + length;
    // no login needs a payload of more than one packet, and no budget here lets one through
    if (budget < 0 || length === fullPacket) throw new Failure("too_large", "too many bytes before the login");
    sequence++;
    return take(socket, length, wait);
  };

  return {
    takeOrEnd: async () => {
      const head = await takeOrEnd(socket, headerSize, wait);
      return head && body(head);
    },
    take: async () => body(await take(socket, headerSize, wait)),
    put: (payload) => {
      socket.write(packets(payload, sequence++));
    },
    over: (next) => {
      socket = next;
    },
    next: () => sequence & 0xff,
    restart: () => {
      sequence = 0;
    },
  };
};
