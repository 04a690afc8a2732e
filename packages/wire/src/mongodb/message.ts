// MongoDB's messages: a header of 16 bytes, then OP_MSG with its sections; OP_QUERY and OP_REPLY for the first hello of a client
// and for nothing else. Little-endian throughout. Here: laying messages out, reading whole short ones, limits, and what every
// failure of ours is in the protocol's own words. https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
import { Failure, type FailureCode } from "@sallyport/core/failure";
import { type Document, deserialize, serialize } from "bson";
import { crc32c } from "./checksum.ts";
import { documentEnd, elements, malformed, stringOf, textOf, zeroAt } from "./document.ts";

export const headerSize = 16;
/** What servers take, and say that they take. */
export const messageLimit = 48_000_000;
/** What a connection may send in one message before it is logged in. */
export const loginLimit = 16_384;

export const opcodes = { reply: 1, query: 2004, compressed: 2012, msg: 2013 } as const;
const legacy = new Set<number>([2001, 2002, 2003, 2005, 2006, 2007, 2010, 2011]);
export const flags = { checksum: 1, moreToCome: 2, exhaustAllowed: 0x1_0000 } as const;
/** Of the first 16 bits every one must be understood. */
const requiredFlags = 0xffff;

export interface Header {
  readonly length: number;
  readonly requestId: number;
  readonly responseTo: number;
  readonly opcode: number;
}

/** @throws Failure `protocol`, `too_large` or `unsupported` */
export const parseHeader = (bytes: Buffer, at = 0, limit = messageLimit): Header => {
  const length = bytes.readInt32LE(at);
  const opcode = bytes.readInt32LE(at + 12);
  if (opcode === opcodes.compressed)
    throw new Failure("unsupported", "compressed messages are not taken here", {
      hint: "compression was not agreed on: leave compressors out of the connection string",
    });
  if (legacy.has(opcode))
    throw new Failure("unsupported", `opcode ${opcode} is not taken here`, { hint: "use a driver that speaks OP_MSG" });
  if (opcode !== opcodes.msg && opcode !== opcodes.query && opcode !== opcodes.reply)
    throw new Failure("protocol", "not a message of MongoDB's protocol");
  if (length < headerSize + 10) throw new Failure("protocol", "the length of a message is not right");
  if (length > limit) throw new Failure("too_large", `a message of more than ${limit} bytes`);
  return { length, requestId: bytes.readInt32LE(at + 4), responseTo: bytes.readInt32LE(at + 8), opcode };
};

/** @throws Failure `protocol` at a flag that changes what the message means, in ways unknown */
export const parseFlags = (value: number): { checksum: boolean; moreToCome: boolean; exhaustAllowed: boolean } => {
  if ((value & requiredFlags & ~(flags.checksum | flags.moreToCome)) !== 0)
    throw new Failure("protocol", "unknown flags of a message");
  return {
    checksum: (value & flags.checksum) !== 0,
    moreToCome: (value & flags.moreToCome) !== 0,
    exhaustAllowed: (value & flags.exhaustAllowed) !== 0,
  };
};

const header = (length: number, requestId: number, responseTo: number, opcode: number): Buffer => {
  const bytes = Buffer.allocUnsafe(headerSize);
  for (const [at, value] of [length, requestId, responseTo, opcode].entries()) bytes.writeInt32LE(value | 0, 4 * at);
  return bytes;
};

/** An OP_MSG of one section. */
export const message = (document: Document, ids: { requestId?: number; responseTo?: number } = {}): Buffer => {
  const body = serialize(document);
  const { requestId = 0, responseTo = 0 } = ids;
  const length = headerSize + 5 + body.length;
  return Buffer.concat([header(length, requestId, responseTo, opcodes.msg), Buffer.alloc(5), body]);
};

/** The OP_QUERY of a first hello. */
export const query = (document: Document, requestId: number): Buffer => {
  const body = serialize(document);
  const collection = Buffer.from("admin.$cmd\0");
  const numbers = Buffer.alloc(8);
  numbers.writeInt32LE(-1, 4);
  const length = headerSize + 4 + collection.length + 8 + body.length;
  return Buffer.concat([header(length, requestId, 0, opcodes.query), Buffer.alloc(4), collection, numbers, body]);
};

/** Whom an answer is for. */
export interface Asker {
  readonly requestId: number;
  readonly opcode: number;
}

/** The answer to a request, by the opcode that it is expected in. */
export const answer = ({ requestId, opcode }: Asker, document: Document): Buffer => {
  if (opcode !== opcodes.query) return message(document, { responseTo: requestId });
  const body = serialize(document);
  const numbers = Buffer.alloc(20);
  numbers.writeInt32LE(8, 0); // AwaitCapable
  numbers.writeInt32LE(1, 16); // one document
  const length = headerSize + 20 + body.length;
  return Buffer.concat([header(length, 0, requestId, opcodes.reply), numbers, body]);
};

/** The values of a checked document. @throws Failure `protocol` at text that is none, and whatever else makes no value */
export const readDocument = (bytes: Uint8Array): Document => {
  try {
    return deserialize(bytes);
  } catch (cause) {
    throw new Failure("protocol", "a document that can't be read", { cause });
  }
};

/** A whole request, checked: its body's place and what it names. */
export interface Request extends Asker {
  readonly moreToCome: boolean;
  /** The first key of its body. */
  readonly name: string;
  /** Undefined in OP_QUERY, whose collection was `admin.$cmd`. */
  readonly db: string | undefined;
  readonly body: Buffer;
}

/** @throws Failure `protocol` */
const queryBody = (bytes: Buffer): Buffer => {
  const end = zeroAt(bytes, headerSize + 4, bytes.length);
  if (textOf(bytes, headerSize + 4, end) !== "admin.$cmd")
    throw new Failure("unsupported", "OP_QUERY is taken for hello on admin.$cmd only", {
      hint: "use a driver that speaks OP_MSG",
    });
  const from = end + 9;
  const to = documentEnd(bytes, from, bytes.length);
  // a choice of fields may follow; of a hello there is nothing to choose
  if (to !== bytes.length) throw new Failure("protocol", "bytes behind a command");
  return bytes.subarray(from, to);
};
const messageBody = (bytes: Buffer, checksum: boolean): Buffer => {
  const end = bytes.length - (checksum ? 4 : 0);
  if (bytes[headerSize + 4] !== 0) throw new Failure("protocol", "a message that does not begin with its body");
  const from = headerSize + 5;
  if (documentEnd(bytes, from, end) !== end) throw new Failure("protocol", "bytes behind a command");
  if (checksum && crc32c(bytes, 0, 0, end) !== bytes.readUInt32LE(end)) throw badChecksum();
  return bytes.subarray(from, end);
};
export const badChecksum = (): Failure => new Failure("protocol", "the checksum of a message is not right");

/** No server agrees with another on which of two equal keys counts. @throws Failure `protocol` */
export const checkKeys = (keys: readonly string[]): void => {
  if (new Set(keys).size !== keys.length) throw malformed("a key twice in a command");
};

/** Reads a whole short request. @throws Failure */
export const parseRequest = (bytes: Buffer): Request => {
  const { requestId, opcode } = parseHeader(bytes);
  if (opcode === opcodes.reply) throw new Failure("protocol", "an answer to nothing");
  const isQuery = opcode === opcodes.query;
  const said = parseFlags(isQuery ? 0 : bytes.readUInt32LE(headerSize));
  const body = isQuery ? queryBody(bytes) : messageBody(bytes, said.checksum);
  const all = elements(body, 0);
  const keys = all.map(({ key, keyEnd }) => textOf(body, key, keyEnd));
  checkKeys(keys);
  const db = all[keys.indexOf("$db")];
  const [name = ""] = keys;
  return { requestId, opcode, moreToCome: said.moreToCome, name, db: stringOf(body, db), body };
};

/** Exactly the one document of an OP_REPLY or OP_MSG. @throws Failure `protocol` */
export const replyBody = (bytes: Buffer): Buffer => {
  const { opcode } = parseHeader(bytes);
  if (opcode === opcodes.msg) {
    const said = parseFlags(bytes.readUInt32LE(headerSize));
    if (said.moreToCome) throw new Failure("protocol", "more was announced than was asked for");
    return messageBody(bytes, said.checksum);
  }
  if (opcode !== opcodes.reply || bytes.length < headerSize + 25 || bytes.readInt32LE(headerSize + 16) !== 1)
    throw new Failure("protocol", "an answer that is none");
  if (documentEnd(bytes, headerSize + 20, bytes.length) !== bytes.length)
    throw new Failure("protocol", "bytes behind an answer");
  return bytes.subarray(headerSize + 20);
};

type Code = readonly [code: number, codeName: string];
/** What each failure is in the server's own numbers. Drivers try again by themselves what they take for a server going away. */
export const errors = {
  invalid: [2, "BadValue"],
  too_large: [10_334, "BSONObjectTooLarge"],
  not_logged_in: [13, "Unauthorized"],
  bad_token: [18, "AuthenticationFailed"],
  denied: [13, "Unauthorized"],
  not_found: [26, "NamespaceNotFound"],
  conflict: [112, "WriteConflict"],
  too_many: [365, "TemporarilyUnavailable"],
  tls_required: [140, "InvalidSSLConfiguration"],
  protocol: [17, "ProtocolError"],
  unsupported: [115, "CommandNotSupported"],
  timeout: [262, "ExceededTimeLimit"],
  starting: [365, "TemporarilyUnavailable"],
  draining: [91, "ShutdownInProgress"],
  ended: [11_601, "Interrupted"],
  audit_full: [14_031, "OutOfDiskSpace"],
  unavailable: [365, "TemporarilyUnavailable"],
  upstream_unreachable: [6, "HostUnreachable"],
  upstream_untrusted: [141, "SSLHandshakeFailed"],
  upstream_refused: [18, "AuthenticationFailed"],
  internal: [1, "InternalError"],
} as const satisfies Record<FailureCode, Code>;

/** `{ok: 0, …}`, with the hint behind the message. The cause stays with us. */
export const errorDocument = (failure: Failure, options: { readonly code?: Code } = {}): Document => {
  const [code, codeName] = options.code ?? errors[failure.code];
  const { message: words, hint } = failure;
  return { ok: 0, errmsg: hint === undefined ? words : `${words}; hint: ${hint}`, code, codeName };
};
