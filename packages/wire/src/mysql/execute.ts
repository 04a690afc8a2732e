// The EXECUTE that most are: in one piece, its values whole numbers, short texts and nulls. It is read and told without an object
// for a value; whatever else an EXECUTE may be is left to parameters.ts, which knows it all.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
import { json, type Line } from "@sallyport/core/line";
import type { Prepared } from "./session.ts";

// a statement with more is rare, and told as any other
const most = 64;
const opening = { execute: json(',"type":"execute"'), statement: json(',"statement":'), values: json(',"values":[') };
const none = json("");
const [comma, nothing, end] = [json(","), json("null"), json("]")];

const whole = 1;
const text = 2;
const absent = 3;

/** Bytes of the numbers that are told here. */
const widths: Readonly<Record<number, number>> = { 1: 1, 2: 2, 3: 4, 8: 8, 9: 4, 13: 2 };

const numberAt = (bytes: Buffer, at: number, width: number, unsigned: boolean): number => {
  if (width < 8) return unsigned ? bytes.readUIntLE(at, width) : bytes.readIntLE(at, width);
  const high = unsigned ? bytes.readUInt32LE(at + 4) : bytes.readInt32LE(at + 4);
  return high * 2 ** 32 + bytes.readUInt32LE(at);
};

export interface PlainExecute {
  size: number;
  /** True when it is one of these; what it binds is then remembered. */
  read(bytes: Buffer, from: number, to: number, prepared: Prepared): boolean;
  /** False when a text needs more care: then nothing was written. */
  say(line: Line): boolean;
}

export const plainExecute = (): PlainExecute => {
  const kinds = new Uint8Array(most);
  const numbers = new Float64Array(most);
  const ends = new Uint32Array(most);
  let said = Buffer.alloc(0) as Buffer;
  let statement = 0;
  let count = 0;

  /** Where its value ends; -1 when it is not plain, or not all there. */
  const value = (bytes: Buffer, at: number, to: number, index: number, type: number, flags: number): number => {
    const width = widths[type];
    if (width !== undefined) {
      if (at + width > to) return -1;
      const number = numberAt(bytes, at, width, (flags & 0x80) !== 0);
      kinds[index] = whole;
      numbers[index] = number;
      return Number.isSafeInteger(number) ? at + width : -1;
    }
    const length = bytes[at] ?? 0xff;
    if (type < 0xf6 || length >= 0xfb || at + 1 + length > to) return -1;
    kinds[index] = text;
    numbers[index] = at + 1;
    ends[index] = at + 1 + length;
    return at + 1 + length;
  };

  const remember = (bytes: Buffer, at: number, to: number, prepared: Prepared): void => {
    const { types } = prepared;
    if (types?.length === to - at && bytes.compare(types, 0, types.length, at, to) === 0) return;
    prepared.types = Buffer.from(bytes.subarray(at, to));
  };

  return {
    size: 0,
    read: (bytes, from, to, prepared) => {
      count = prepared.parameters ?? most + 1;
      if (count > most || prepared.long || to - from < 9) return false;
      said = bytes;
      statement = bytes.readUInt32LE(from);
      let at = from + 9;
      if (count === 0) return at === to;
      const nulls = at;
      at += (count + 7) >> 3;
      const bound = bytes[at++];
      const sent = bound === 1;
      const types = sent ? bytes : prepared.types;
      const typesAt = sent ? at : 0;
      if (sent) at += 2 * count;
      if (at > to || bound === undefined || bound > 1 || !types || types.length < typesAt + 2 * count) return false;
      for (let index = 0; index < count; index++) {
        if (((bytes[nulls + (index >> 3)] ?? 0) >> (index & 7)) & 1) kinds[index] = absent;
        else {
          at = value(bytes, at, to, index, types[typesAt + 2 * index] ?? 0, types[typesAt + 2 * index + 1] ?? 0);
          if (at < 0) return false;
        }
      }
      if (at !== to) return false;
      if (sent) remember(bytes, typesAt, typesAt + 2 * count, prepared);
      return true;
    },
    say: (line) => {
      const start = line.mark();
      line.fixed(opening.execute);
      line.number(opening.statement, statement);
      line.fixed(opening.values);
      for (let index = 0; index < count; index++) {
        if (index > 0) line.fixed(comma);
        if (kinds[index] === absent) line.fixed(nothing);
        else if (kinds[index] === whole) line.number(none, numbers[index] ?? 0);
        else if (!line.text(none, said, numbers[index] ?? 0, ends[index] ?? 0)) {
          line.back(start);
          return false;
        }
      }
      line.fixed(end);
      return true;
    },
  };
};
