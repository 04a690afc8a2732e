// The few packets of MySQL's protocol that the laptop's MariaDB and its front need: framing, the server's greeting, the words
// that end a login. Written apart from the product's protocol code, which would else only be tested against itself.
// https://mariadb.com/kb/en/clientserver-protocol/
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { Failure } from "@sallyport/core/failure";
import { take } from "../stream.ts";

/** Capability bits, as the protocol names them. */
export const capability = {
  connectWithDb: 0x8,
  localFiles: 0x80,
  protocol41: 0x200,
  ssl: 0x800,
  secureConnection: 0x8000,
  multiStatements: 0x1_0000,
  multiResults: 0x2_0000,
  pluginAuth: 0x8_0000,
  connectAttrs: 0x10_0000,
  lenencAuth: 0x20_0000,
} as const;

export interface Packet {
  readonly sequence: number;
  readonly body: Buffer;
}

export const framed = ({ sequence, body }: Packet): Buffer => {
  const head = Buffer.alloc(4);
  head.writeUIntLE(body.length, 0, 3);
  head[3] = sequence & 0xff;
  return Buffer.concat([head, body]);
};

/** The next packet; a login has none that is longer than the limit. */
export const takePacket = async (stream: Socket, limit: number): Promise<Packet> => {
  const head = await take(stream, 4);
  const length = head.readUIntLE(0, 3);
  if (length > limit) throw new Failure("protocol", "a packet longer than a login may have");
  return { sequence: head[3] ?? 0, body: await take(stream, length) };
};

export interface Greeting {
  readonly version: string;
  readonly connection: number;
  /** The 20 bytes that a password's scramble is made with. */
  readonly nonce: Buffer;
  /** Where the low and the high half of the capabilities are. */
  readonly lowAt: number;
  readonly highAt: number;
}

export const parseGreeting = (body: Buffer): Greeting => {
  const end = body.indexOf(0, 1);
  if (body[0] !== 10 || end < 0 || body.length < end + 45)
    throw new Failure("upstream_unreachable", `mariadb: ${errorText(body)}`);
  const lowAt = end + 14;
  return {
    version: body.toString("latin1", 1, end),
    connection: body.readUInt32LE(end + 1),
    nonce: Buffer.concat([body.subarray(end + 5, end + 13), body.subarray(end + 32, end + 44)]),
    lowAt,
    highAt: lowAt + 5,
  };
};

/** What mysql_native_password answers to a nonce: it shows that one knows the password, and nothing of it. */
export const nativeScramble = (password: string, nonce: Uint8Array): Buffer => {
  if (password === "") return Buffer.alloc(0);
  const sha1 = (...parts: readonly Uint8Array[]): Buffer => {
    const hash = createHash("sha1");
    for (const part of parts) hash.update(part);
    return hash.digest();
  };
  const once = sha1(Buffer.from(password));
  const mask = sha1(nonce, sha1(once));
  return once.map((byte, at) => byte ^ (mask[at] ?? 0)) as Buffer;
};

/** An ERR packet's body. */
export const errorBody = (errno: number, sqlstate: string, text: string): Buffer => {
  const head = Buffer.from("\xff\0\0#", "latin1");
  head.writeUInt16LE(errno, 1);
  return Buffer.concat([head, Buffer.from(sqlstate + text)]);
};

/** What an ERR packet says: `1045 28000 Access denied …`. */
export const errorText = (body: Buffer): string => {
  if (body[0] !== 0xff || body.length < 3) return "it answers what is no MySQL";
  const text = body.toString("utf8", 3);
  return `${body.readUInt16LE(1)} ${text.startsWith("#") ? `${text.slice(1, 6)} ${text.slice(6)}` : text}`;
};
