// MongoDB's messages laid out by hand, apart from the code under test: only the documents are made by the bson library.
import { type Document, deserialize, serialize } from "bson";

export const i32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes;
};
type Part = Uint8Array | string | number;
const join = (parts: readonly Part[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part))));

/** A header and what follows. */
export const packet = (
  opcode: number,
  ids: { id?: number; to?: number; length?: number },
  ...parts: readonly Part[]
): Buffer => {
  const body = join(parts);
  return Buffer.concat([i32(ids.length ?? body.length + 16), i32(ids.id ?? 1), i32(ids.to ?? 0), i32(opcode), body]);
};
export const doc = (document: Document): Buffer => Buffer.from(serialize(document));
export const body = (document: Document): Buffer => Buffer.concat([Buffer.of(0), doc(document)]);
export const sequence = (name: string, ...documents: readonly Document[]): Buffer => {
  const all = Buffer.concat([Buffer.from(`${name}\0`), ...documents.map(doc)]);
  return Buffer.concat([Buffer.of(1), i32(all.length + 4), all]);
};
export const bits = { checksum: 1, more: 2, exhaust: 0x1_0000 } as const;
/** An OP_MSG of sections. */
export const msg = (ids: { id?: number; to?: number; flags?: number }, ...sections: readonly Buffer[]): Buffer =>
  packet(2013, ids, i32(ids.flags ?? 0), ...sections);
export const ask = (id: number, document: Document, flags = 0): Buffer => msg({ id, flags }, body(document));
export const reply = (to: number, document: Document, ids: { id?: number; flags?: number } = {}): Buffer =>
  msg({ ...ids, to }, body(document));
export const query = (id: number, document: Document, collection = "admin.$cmd"): Buffer =>
  packet(2004, { id }, i32(0), `${collection}\0`, i32(0), i32(-1), doc(document));

/** CRC-32C bit by bit. */
export const crc = (bytes: Uint8Array): number => {
  let value = 0xffff_ffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  }
  return ~value >>> 0;
};
export const checked = (ids: { id?: number; to?: number; flags?: number }, ...sections: readonly Buffer[]): Buffer => {
  const whole = packet(2013, ids, i32((ids.flags ?? 0) | bits.checksum), ...sections, i32(0));
  whole.writeUInt32LE(crc(whole.subarray(0, -4)), whole.length - 4);
  return whole;
};

export interface Heard {
  readonly id: number;
  readonly to: number;
  readonly opcode: number;
  readonly flags: number;
  readonly document: Document;
  readonly raw: Buffer;
}
/** Every whole message of these bytes, by its first section. */
export const messages = (bytes: Buffer): readonly Heard[] => {
  const all: Heard[] = [];
  for (let at = 0; at + 16 <= bytes.length; ) {
    const length = bytes.readInt32LE(at);
    const raw = bytes.subarray(at, at + length);
    if (raw.length < length) break;
    const opcode = raw.readInt32LE(12);
    const from = opcode === 1 ? 36 : opcode === 2004 ? raw.indexOf(0, 20) + 9 : 21;
    at += length;
    // by its first body: what comes before one is a section's
    if (opcode === 2013 && raw[20] !== 0) continue;
    const flags = opcode === 2013 ? raw.readUInt32LE(16) : 0;
    const document = deserialize(raw.subarray(from, from + raw.readInt32LE(from)), {
      promoteLongs: false,
      validation: { utf8: false },
    });
    all.push({ id: raw.readInt32LE(4), to: raw.readInt32LE(8), opcode, flags, document, raw });
  }
  return all;
};
export const documents = (bytes: Buffer): readonly Document[] => messages(bytes).map(({ document }) => document);
