// MongoDB's messages as a server reads and writes them: OP_MSG with its sections and checksum, and OP_QUERY for the first hello.
// Written from the specification, apart from the proxy's own code. Nothing is trusted before its length is checked.
// https://github.com/mongodb/specifications/blob/master/source/message/OP_MSG.md
import { Failure } from "@sallyport/core/failure";
import { type Document, deserialize, serialize } from "bson";

export const headerSize = 16;
const longest = 48_000_000;
const opReply = 1;
const opQuery = 2004;
const opMsg = 2013;
export const flag = { checksum: 1, moreToCome: 2, exhaust: 0x1_0000 } as const;

export interface Request {
  readonly id: number;
  readonly legacy: boolean;
  readonly flags: number;
  readonly command: Document;
  /** The command's name: the first field. */
  readonly name: string;
  /** Documents beside the command, as they came. */
  readonly sequences: ReadonlyMap<string, readonly Buffer[]>;
}

const malformed = (why: string): Failure => new Failure("protocol", `a message ${why}`);

/** The length in a header. @throws Failure `protocol` */
export const lengthOf = (head: Buffer): number => {
  const length = head.readInt32LE(0);
  if (length < headerSize || length > longest) throw malformed(`of ${length} bytes`);
  return length;
};

const table = Uint32Array.from({ length: 256 }, (_, value) => {
  let sum = value;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f6_3b78 : sum >>> 1;
  return sum >>> 0;
});
/** CRC-32C. */
export const checksumOf = (bytes: Uint8Array): number => {
  let sum = 0xffff_ffff;
  for (const byte of bytes) sum = (table[(sum ^ byte) & 255] ?? 0) ^ (sum >>> 8);
  return (sum ^ 0xffff_ffff) >>> 0;
};

/** One document at `at`, within the bytes. */
const documentAt = (bytes: Buffer, at: number, end: number): Buffer => {
  if (end - at < 5) throw malformed("ends inside a document");
  const length = bytes.readInt32LE(at);
  if (length < 5 || length > end - at) throw malformed("holds a document of a wrong length");
  return bytes.subarray(at, at + length);
};

const read = (bytes: Buffer): Document =>
  // documents to be kept are kept as they came
  deserialize(bytes, { fieldsAsRaw: { documents: true }, promoteBuffers: false });

const nameOf = (command: Document): string => Object.keys(command)[0] ?? "";

const parseQuery = (whole: Buffer, id: number): Request => {
  const nameEnd = whole.indexOf(0, 20);
  if (nameEnd < 0 || !whole.subarray(20, nameEnd).toString().endsWith(".$cmd")) throw malformed("asks in a way of old");
  const given = read(documentAt(whole, nameEnd + 9, whole.length));
  const command = (given["$query"] ?? given["query"] ?? given) as Document;
  const [db = ""] = whole.subarray(20, nameEnd).toString().split(".");
  return { id, legacy: true, flags: 0, command: { ...command, $db: db }, name: nameOf(command), sequences: new Map() };
};

const parseMsg = (whole: Buffer, id: number): Request => {
  if (whole.length < headerSize + 4) throw malformed("has no flags");
  const flags = whole.readUInt32LE(headerSize);
  if ((flags & 0xffff & ~(flag.checksum | flag.moreToCome)) !== 0) throw malformed("has flags that are not known");
  const end = whole.length - (flags & flag.checksum ? 4 : 0);
  if (flags & flag.checksum && checksumOf(whole.subarray(0, end)) !== whole.readUInt32LE(end))
    throw malformed("does not fit its checksum");
  let command: Document | undefined;
  const sequences = new Map<string, Buffer[]>();
  for (let at = headerSize + 4; at < end; ) {
    const kind = whole[at++];
    if (kind === 0) {
      if (command) throw malformed("has two bodies");
      const body = documentAt(whole, at, end);
      command = read(body);
      at += body.length;
    } else if (kind === 1) {
      if (end - at < 5) throw malformed("ends inside a section");
      const last = at + whole.readInt32LE(at);
      const nameEnd = whole.indexOf(0, at + 4);
      if (last > end || nameEnd < 0 || nameEnd >= last) throw malformed("holds a section of a wrong length");
      const name = whole.subarray(at + 4, nameEnd).toString();
      const documents: Buffer[] = [];
      for (at = nameEnd + 1; at < last; at += documents.at(-1)?.length ?? 0)
        documents.push(documentAt(whole, at, last));
      if (sequences.has(name)) throw malformed("has a section twice");
      sequences.set(name, documents);
    } else throw malformed(`holds a section of kind ${kind}`);
  }
  if (!command) throw malformed("has no body");
  return { id, legacy: false, flags, command, name: nameOf(command), sequences };
};

/** @throws Failure `protocol` */
export const parseRequest = (whole: Buffer): Request => {
  const [id, opcode] = [whole.readInt32LE(4), whole.readInt32LE(12)];
  if (opcode === opMsg) return parseMsg(whole, id);
  if (opcode === opQuery) return parseQuery(whole, id);
  throw malformed(`of type ${opcode}, which is not known here`);
};

let lastId = 0;
/** An answer, in the form that the request came in. `again`: another one follows unasked. */
export const replyTo = (
  { id, legacy, flags }: Request,
  document: Buffer,
  again = false,
  to = id,
): { id: number; bytes: Buffer } => {
  lastId = (lastId + 1) & 0x7fff_ffff;
  const summed = !legacy && (flags & flag.checksum) !== 0;
  const head = Buffer.alloc(legacy ? headerSize + 20 : headerSize + 5);
  const length = head.length + document.length + (summed ? 4 : 0);
  head.writeInt32LE(length, 0);
  head.writeInt32LE(lastId, 4);
  head.writeInt32LE(to, 8);
  head.writeInt32LE(legacy ? opReply : opMsg, 12);
  if (legacy) {
    head.writeInt32LE(8, headerSize);
    head.writeInt32LE(1, headerSize + 16);
  } else head.writeUInt32LE((summed ? flag.checksum : 0) | (again ? flag.moreToCome : 0), headerSize);
  const bytes = Buffer.concat([head, document]);
  if (!summed) return { id: lastId, bytes };
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(checksumOf(bytes));
  return { id: lastId, bytes: Buffer.concat([bytes, sum]) };
};

const element = (type: number, name: string, value: Buffer): Buffer =>
  Buffer.concat([Buffer.from([type]), Buffer.from(`${name}\0`), value]);
const wrap = (...elements: readonly Buffer[]): Buffer => {
  const whole = Buffer.concat([Buffer.alloc(4), ...elements, Buffer.alloc(1)]);
  whole.writeInt32LE(whole.length, 0);
  return whole;
};

/** A batch of a cursor, its documents as they are kept. */
export const cursorReply = (
  batch: "firstBatch" | "nextBatch",
  documents: readonly Buffer[],
  id: bigint,
  ns: string,
): Buffer => {
  const array = wrap(...documents.map((document, at) => element(3, String(at), document)));
  const number = Buffer.alloc(8);
  number.writeBigInt64LE(id);
  // the rest by the library: what stands in a document of its own is the same inside another
  const rest = Buffer.from(serialize({ ns }));
  const cursor = wrap(element(4, batch, array), element(0x12, "id", number), rest.subarray(4, -1));
  const ok = Buffer.from(serialize({ ok: 1 }));
  return wrap(element(3, "cursor", cursor), ok.subarray(4, -1));
};
