// MySQL's packets laid out by hand, apart from the code under test.
export const lenenc = (value: number): Buffer => {
  if (value < 0xfb) return Buffer.of(value);
  const bytes = Buffer.alloc(value < 0x1_0000 ? 3 : 4);
  bytes[0] = value < 0x1_0000 ? 0xfc : 0xfd;
  bytes.writeUIntLE(value, 1, bytes.length - 1);
  return bytes;
};
export const u16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
};
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
};
type Part = string | Buffer | number;
const join = (parts: readonly Part[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part))));
export const counted = (text: string | Buffer): Buffer => join([lenenc(Buffer.byteLength(text)), text]);

/** One packet. */
export const packet = (sequence: number, ...parts: readonly Part[]): Buffer => {
  const body = join(parts);
  const head = Buffer.alloc(4);
  head.writeUIntLE(body.length, 0, 3);
  head[3] = sequence;
  return Buffer.concat([head, body]);
};
/** A payload over as many packets as it needs. */
export const packets = (sequence: number, payload: Buffer): Buffer => {
  const all: Buffer[] = [];
  for (let at = 0; ; at += 0xff_ffff) {
    const piece = payload.subarray(at, at + 0xff_ffff);
    all.push(packet(sequence++ & 0xff, piece));
    if (piece.length < 0xff_ffff) return Buffer.concat(all);
  }
};

export const query = (text: string): Buffer => packet(0, 3, text);
export const ok = (sequence: number, options: { affected?: number; status?: number; state?: Buffer } = {}): Buffer => {
  const { affected = 0, status = 2, state } = options;
  return packet(sequence, 0, lenenc(affected), 0, u16(status), u16(0), ...(state ? [counted(""), counted(state)] : []));
};
export const eof = (sequence: number, status = 2): Buffer => packet(sequence, 0xfe, u16(0), u16(status));
export const err = (sequence: number, errno: number, state: string, text: string): Buffer =>
  packet(sequence, 0xff, u16(errno), `#${state}${text}`);
export const column = (sequence: number, name: string): Buffer =>
  packet(sequence, counted("def"), counted(name), "rest of it");
/** A result of text rows with the EOFs of old. */
export const result = (rows: readonly string[], first = 1, status = 2): Buffer => {
  let next = first;
  const head = [packet(next++, 1), column(next++, "a"), eof(next++)];
  return Buffer.concat([...head, ...rows.map((row) => packet(next++ & 0xff, counted(row))), eof(next & 0xff, status)]);
};

/** The ERR packet that `bytes` end with, and the number it has. */
export const errorOf = (
  bytes: Buffer,
): { sequence: number; errno: number; state: string; text: string } | undefined => {
  for (let at = bytes.length - 7; at >= 0; at--) {
    if (bytes[at + 4] !== 0xff || at + 4 + bytes.readUIntLE(at, 3) !== bytes.length) continue;
    const marked = bytes[at + 7] === 0x23;
    const text = bytes.toString("utf8", at + (marked ? 13 : 7));
    const state = marked ? bytes.toString("latin1", at + 8, at + 13) : "";
    return { sequence: bytes[at + 3] ?? 0, errno: bytes.readUInt16LE(at + 5), state, text };
  }
  return undefined;
};

export const bits = {
  ...{ longPassword: 1, longFlag: 4, withDb: 8, compress: 0x20, localFiles: 0x80, protocol41: 0x200, ssl: 0x800 },
  ...{ secure: 0x8000, statements: 0x1_0000, results: 0x2_0000, psResults: 0x4_0000, plugin: 0x8_0000 },
  ...{ attributes: 0x10_0000, lenenc: 0x20_0000, track: 0x80_0000, noEof: 0x100_0000, optional: 0x200_0000 },
  ...{ queryAttributes: 0x800_0000 },
} as const;
export const usual = bits.longPassword | bits.protocol41 | bits.secure | bits.plugin | bits.lenenc | bits.results;

export const opening = (flags: number, extended = 0): Buffer =>
  join([u32(flags), u32(0x100_0000), 45, Buffer.alloc(19), u32(extended)]);
export interface Said {
  readonly flags?: number;
  readonly extended?: number;
  readonly user?: string;
  readonly auth?: Buffer;
  readonly schema?: string;
  readonly plugin?: string;
  readonly attributes?: Buffer;
}
export const response = (said: Said = {}): Buffer => {
  const { flags = usual, extended = 0, user = "reader", auth = Buffer.alloc(32, 1), schema, plugin, attributes } = said;
  const all = (flags | (schema === undefined ? 0 : bits.withDb) | (attributes ? bits.attributes : 0)) >>> 0;
  return join([
    ...[opening(all, extended), user, 0, counted(auth)],
    ...(schema === undefined ? [] : [schema, 0]),
    ...[plugin ?? "caching_sha2_password", 0],
    ...(attributes ? [counted(attributes)] : []),
  ]);
};
export interface Greeted {
  readonly flags?: number;
  readonly extended?: number;
  readonly version?: string;
  readonly connection?: number;
  readonly plugin?: string;
}
export const greeting = (said: Greeted = {}): Buffer => {
  const {
    flags = (usual | bits.ssl) >>> 0,
    extended = 0,
    version = "8.0.40",
    connection = 77,
    plugin = "caching_sha2_password",
  } = said;
  return packet(
    ...([
      0,
      10,
      version,
      0,
      u32(connection),
      "abcdefgh",
      0,
      u16(flags & 0xffff),
      45,
      u16(2),
      u16(flags >>> 16),
    ] as const),
    ...([21, Buffer.alloc(6), u32(extended), "ijklmnopqrst", 0, plugin, 0] as const),
  );
};
