// The packets a PostgreSQL client sends before it logs in. The parser is strict where the server is lenient (duplicates,
// odd counts), so that the user who is checked is the user who is let in.
// https://www.postgresql.org/docs/18/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-STARTUPMESSAGE
import type { Socket } from "node:net";
import { Failure } from "@sallyport/core/failure";
import { take } from "../stream.ts";

export const sslRequest = 80_877_103;
export const gssRequest = 80_877_104;
export const cancelRequest = 80_877_102;

const startupLimit = 10_000;
const messageLimit = 64 * 1024;
const nameLimit = 63;

/** A packet without a type: a startup message or one of the special requests; at least 8 bytes. */
export const takeStartup = async (stream: Socket): Promise<Buffer> => {
  const head = await take(stream, 4);
  const length = head.readInt32BE();
  if (length < 8 || length > startupLimit) throw new Failure("protocol", "invalid length of startup packet");
  return Buffer.concat([head, await take(stream, length - 4)]);
};

/** A message with its type and length. */
export const takeMessage = async (stream: Socket, limit = messageLimit): Promise<Buffer> => {
  const head = await take(stream, 5);
  const length = head.readInt32BE(1);
  if (length < 4 || length > limit) throw new Failure("protocol", "invalid message length");
  return Buffer.concat([head, await take(stream, length - 4)]);
};

export interface Startup {
  readonly user: string;
  readonly database: string;
}

const textOf = (bytes: Buffer): string => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new Failure("protocol", "invalid byte sequence in startup packet", { cause });
  }
};

const parametersOf = (packet: Buffer): ReadonlyMap<string, string> => {
  const malformed = (why: string): Failure => new Failure("protocol", `invalid startup packet layout: ${why}`);
  if (packet.length < 9 || packet.at(-1) !== 0) throw malformed("expected terminator as last byte");
  const parameters = new Map<string, string>();
  if (packet.length === 9) return parameters;
  if (packet.at(-2) !== 0) throw malformed("the last parameter is cut off");
  const words = textOf(packet.subarray(8, -2)).split("\0");
  if (words.length % 2 !== 0) throw malformed("a name without a value");
  for (let at = 0; at < words.length; at += 2) {
    const name = words[at] ?? "";
    if (name === "") throw malformed("an empty name");
    if (parameters.has(name)) throw malformed(`${name} is given twice`);
    parameters.set(name, words[at + 1] ?? "");
  }
  return parameters;
};

/** Who wants in, and where; the packet itself goes to the server as it came. */
export const parseStartup = (packet: Buffer): Startup => {
  const [major, minor] = [packet.readUInt16BE(4), packet.readUInt16BE(6)];
  if (major !== 3)
    throw new Failure("unsupported", `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.2`);
  const parameters = parametersOf(packet);
  const user = parameters.get("user") ?? "";
  const database = parameters.get("database") || user;
  if (user === "") throw new Failure("not_logged_in", "no PostgreSQL user name specified in startup packet");
  // the server cuts a longer name off, and would let in somebody else than was checked
  for (const name of [user, database])
    if (Buffer.byteLength(name) > nameLimit) throw new Failure("protocol", "a name of more than 63 bytes");
  return { user, database };
};

/** The password in a PasswordMessage. */
export const parsePassword = (message: Buffer): string => {
  if (message[0] !== 0x70) throw new Failure("protocol", "expected password response");
  if (message.indexOf(0, 5) !== message.length - 1) throw new Failure("protocol", "invalid password packet size");
  return textOf(message.subarray(5, -1));
};

/** An ErrorResponse that ends the connection. */
export const fatal = (sqlstate: string, text: string): Buffer => {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${sqlstate}\0M${text}\0\0`);
  const head = Buffer.from("E\0\0\0\0");
  head.writeInt32BE(4 + fields.length, 1);
  return Buffer.concat([head, fields]);
};
