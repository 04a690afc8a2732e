// The parameters of an EXECUTE, of MariaDB's bulk EXECUTE and of a query's attributes, piece by piece and in order: on the way to
// check them, and to tell their values. How they are laid out depends on the statement (how many), on an earlier EXECUTE (their
// types) and on SEND_LONG_DATA (which are not here). Lengths are checked as they come; only the head is gathered, and bounded.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
// https://mariadb.com/kb/en/com_stmt_bulk_execute/
import { Failure } from "@sallyport/core/failure";
import { type Reader, reader } from "./packet.ts";

/** What is known before the packet. */
export interface Shape {
  /** How many the statement has. */
  readonly parameters: number;
  /** Two bytes each, as last sent; undefined when they never were. */
  readonly types: Buffer | undefined;
  /** Which were sent ahead. */
  readonly long: ReadonlySet<number> | undefined;
  /** QUERY_ATTRIBUTES is in force: parameters have names, and there may be more of them. */
  readonly named: boolean;
}
export interface Head {
  readonly statement: number;
  readonly flags: number;
  readonly count: number;
  readonly nulls: Buffer;
  readonly types: Buffer;
  readonly names: readonly Buffer[];
  /** Where the values begin. */
  readonly at: number;
  /** Rows, each value behind an indicator. */
  readonly bulk: boolean;
}
export interface ValueVisitor {
  /** A value begins: of this type, unless it is not there. */
  value(type: number, length: number, what: "value" | "null" | "default" | "ignore" | "long"): void;
  bytes(bytes: Buffer, ends: boolean): void;
}

const headLimit = 1_048_576;
const malformed = (): Failure => new Failure("protocol", "malformed parameters of a statement");
const countAvailable = 0x08;
const sendTypes = 0x80;
const empty = Buffer.alloc(0);

/** Bytes of a value by its type; -1: behind a length-encoded length, -2: behind a byte of length. */
const sizes: Readonly<Record<number, number>> = {
  ...{
    0: -1,
    1: 1,
    2: 2,
    3: 4,
    4: 4,
    5: 8,
    6: 0,
    7: -2,
    8: 8,
    9: 4,
    10: -2,
    11: -2,
    12: -2,
    13: 2,
    14: -2,
    15: -1,
    16: -1,
  },
  ...{
    17: -2,
    18: -2,
    19: -2,
    242: -1,
    244: 1,
    245: -1,
    246: -1,
    247: -1,
    248: -1,
    249: -1,
    250: -1,
    251: -1,
    252: -1,
  },
  ...{ 253: -1, 254: -1, 255: -1 },
};

const typesOf = (fields: Reader, count: number, named: boolean): Pick<Head, "types" | "names"> => {
  if (!named) return { types: fields.bytes(2 * count), names: [] };
  const types = Buffer.allocUnsafe(2 * count);
  const names: Buffer[] = [];
  for (let index = 0; index < count; index++) {
    fields.bytes(2).copy(types, 2 * index);
    names.push(fields.counted());
  }
  return { types, names };
};

const parametersOf = (fields: Reader, count: number, shape: Shape): Pick<Head, "nulls" | "types" | "names"> => {
  if (count === 0) return { nulls: empty, types: empty, names: [] };
  const nulls = fields.bytes((count + 7) >> 3);
  const bound = fields.u8();
  if (bound === 1) return { nulls, ...typesOf(fields, count, shape.named) };
  if (bound !== 0 || (shape.types?.length ?? 0) < 2 * count) throw malformed();
  return { nulls, types: shape.types ?? empty, names: [] };
};

const executeHead = (bytes: Buffer, shape: Shape): Head => {
  const fields = reader(bytes);
  const statement = fields.u32();
  const flags = fields.u8();
  fields.u32();
  const counted = shape.named && (flags & countAvailable) !== 0;
  let count = shape.parameters;
  if (counted && fields.left() > 0) count = fields.lenenc();
  if (count < shape.parameters || count > 0xffff) throw malformed();
  const parameters = parametersOf(fields, count, shape);
  return { statement, flags, count, ...parameters, at: bytes.length - fields.left(), bulk: false };
};

const bulkHead = (bytes: Buffer, shape: Shape): Head => {
  const fields = reader(bytes);
  const statement = fields.u32();
  const flags = fields.u16();
  const count = shape.parameters;
  const types = flags & sendTypes ? fields.bytes(2 * count) : shape.types;
  if (types === undefined || types.length < 2 * count || count === 0) throw malformed();
  return { statement, flags, count, nulls: empty, types, names: [], at: bytes.length - fields.left(), bulk: true };
};

/** A query's attributes; what follows them is its text. */
export const attributesHead = (bytes: Buffer): Head => {
  const fields = reader(bytes);
  const count = fields.lenenc();
  if (fields.lenenc() !== 1 || count > 0xffff) throw malformed();
  const shape = { parameters: count, types: undefined, long: undefined, named: true };
  return {
    statement: 0,
    flags: 0,
    count,
    ...parametersOf(fields, count, shape),
    at: bytes.length - fields.left(),
    bulk: false,
  };
};

export interface Values {
  /** How many of these bytes belong to the values. @throws Failure `protocol` at a length that can't be */
  step(bytes: Buffer, from: number, to: number): number;
  /** May the packet end here? */
  done(): boolean;
}

/** The values behind a head. */
export const values = (head: Head, long: ReadonlySet<number> | undefined, visit?: ValueVisitor): Values => {
  const { count, nulls, types, bulk } = head;
  let index = -1; //   of the value we are at
  let type = 0;
  let left = 0; //     of its bytes
  let digits = 0; //   of its length still to come
  let width = 0; //    how many its length has
  let number = 0;
  let marked = false; // is its indicator to come?
  let ended = count === 0;

  const skip = (what: "null" | "default" | "ignore" | "long"): void => visit?.value(type, 0, what);
  const begin = (length: number): void => {
    visit?.value(type, length, "value");
    left = length;
  };
  const measure = (): void => {
    const size = sizes[type];
    if (size === undefined) throw malformed();
    if (size >= 0) begin(size);
    else {
      digits = width = 1;
      number = 0;
    }
  };
  /** To the next value that has bytes. */
  const next = (): void => {
    for (;;) {
      index++;
      if (index === count) {
        if (bulk) index = 0;
        else {
          ended = true;
          return;
        }
      }
      type = types[2 * index] ?? 0;
      if (bulk) {
        marked = true;
        return;
      }
      // what was sent ahead is what servers take, whatever the nulls say
      if (long?.has(index)) skip("long");
      else if (((nulls[index >> 3] ?? 0) >> (index & 7)) & 1 || type === 6) skip("null");
      else {
        measure();
        return;
      }
    }
  };
  const indicator = (byte: number): void => {
    marked = false;
    const what = (["value", "null", "default", "ignore"] as const)[byte];
    if (what === undefined) throw malformed();
    if (what === "value") measure();
    else {
      skip(what);
      next();
    }
  };
  const counted = (byte: number): void => {
    if (width === 1) {
      if (sizes[type] === -2) {
        if (byte > 13) throw malformed();
        number = byte;
      } else if (byte < 0xfb) number = byte;
      else {
        width = byte === 0xfc ? 3 : byte === 0xfd ? 4 : byte === 0xfe ? 9 : 0;
        if (width === 0) throw malformed();
        digits = width;
      }
    } else number += byte * 256 ** (width - digits - 1);
    if (--digits > 0) return;
    // a payload has less than 4 GiB, whatever is said
    if (number > 0xffff_ffff) throw malformed();
    begin(number);
    if (number === 0) next();
  };

  if (!ended) next();
  return {
    step: (bytes, from, to) => {
      let at = from;
      while (at < to && !ended) {
        if (left > 0) {
          const end = Math.min(to, at + left);
          left -= end - at;
          visit?.bytes(bytes.subarray(at, end), left === 0);
          at = end;
          if (left === 0) next();
        } else if (marked) indicator(bytes[at++] ?? 0);
        else counted(bytes[at++] ?? 0);
      }
      return at - from;
    },
    done: () => ended || (bulk && marked && index === 0),
  };
};

/** A whole packet of parameters in pieces. */
export interface Binding {
  /** @throws Failure `protocol` at what can't be, or bytes behind the end */
  step(bytes: Buffer, from: number, to: number): void;
  done(): boolean;
  /** Undefined until it is all there. */
  head(): Head | undefined;
}

export const binding = (
  kind: "execute" | "bulk",
  shape: Shape,
  watch: { readonly visit?: ValueVisitor; readonly begun?: (head: Head) => void } = {},
): Binding => {
  let head: Head | undefined;
  let gathered: Buffer | undefined;
  let walk: Values | undefined;
  const parse = kind === "execute" ? executeHead : bulkHead;

  const begin = (bytes: Buffer): Head | undefined => {
    try {
      return parse(bytes, shape);
    } catch (thrown) {
      // it may go on in the next piece
      if (thrown instanceof Failure && bytes.length < headLimit) return undefined;
      throw thrown;
    }
  };
  const rest = (bytes: Buffer, from: number, to: number): void => {
    if ((walk?.step(bytes, from, to) ?? 0) !== to - from) throw malformed();
  };
  return {
    step: (bytes, from, to) => {
      if (walk) {
        rest(bytes, from, to);
        return;
      }
      const piece = bytes.subarray(from, to);
      const all = gathered ? Buffer.concat([gathered, piece]) : piece;
      head = begin(all);
      if (!head) {
        gathered = Buffer.from(all);
        return;
      }
      gathered = undefined;
      watch.begun?.(head);
      walk = values(head, shape.long, watch.visit);
      rest(all, head.at, all.length);
    },
    done: () => walk?.done() ?? false,
    head: () => head,
  };
};

/** The types that an EXECUTE binds, where its head is there and says them. */
export const boundTypes = (kind: "execute" | "bulk", bytes: Buffer, shape: Shape): Buffer | undefined => {
  try {
    return Buffer.from((kind === "execute" ? executeHead : bulkHead)(bytes, shape).types);
  } catch {
    return undefined;
  }
};
