// What a client says, read by its headers: where a command ends and where its arguments stand, without a copy. A command that is
// not there in full is gone on with where it stopped. Lengths are checked as they are read, as strictly as Redis does at least:
// what two readers could understand differently is understood by none.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
import { Failure } from "@sallyport/core/failure";
import type { Words } from "./word.ts";

export const mostArguments = 1_048_576;
export const longestBulk = 512 * 1_048_576;
export const longestInline = 65_536;
/** "-1048576" and a sign more than anybody needs. */
const longestNumber = 12;

const cr = 0x0d;
const lf = 0x0a;
const star = 0x2a;
const dollar = 0x24;

/** In Redis' own words, which clients know. */
export const protocolError = (what: string): Failure => new Failure("protocol", `Protocol error: ${what}`);

/** What of a command is at hand. `starts`, `ends` and `count` are good until the next read. */
export interface Reading extends Words {
  bytes: Buffer;
  starts: number[];
  ends: number[];
  /** Arguments that are there in full. */
  count: number;
  /** How many it says it has. */
  total: number;
  /** Where its next byte is read: in the argument that is not there in full, or in a header. */
  place: number;
  /** Of the argument behind `count`, when its header was read: how long it is; -1 before. */
  open: number;
}

export interface Reader {
  readonly reading: Reading;
  /** Where the command at `from` ends; -1 when it is not all there: then read again from its first byte with more behind it. @throws Failure `protocol` */
  read(bytes: Buffer, from: number): number;
  /** How many bytes from its first one are needed at least to come further. */
  need(): number;
  /** What was read is not gone on with. */
  forget(): void;
}

/** The head of a line: `*3` or `$11`. */
interface Head {
  value: number;
  /** Behind its end; -1: not there. */
  end: number;
}

/** A whole number as Redis takes it: no plus, no zero before it. @throws Failure `protocol` with `what` */
const readNumber = (bytes: Buffer, from: number, into: Head, what: string): void => {
  const length = bytes.length;
  let at = from;
  let value = 0;
  let byte = bytes[at] ?? 0;
  const negative = byte === 0x2d;
  if (negative) byte = bytes[++at] ?? 0;
  const first = at;
  while (at < length && byte >= 0x30 && byte <= 0x39) {
    value = 10 * value + byte - 0x30;
    byte = bytes[++at] ?? 0;
    if (at - from > longestNumber) throw protocolError(what);
  }
  into.end = -1;
  if (at >= length) return;
  const digits = at - first;
  if (byte !== cr || digits === 0 || (digits > 1 && bytes[first] === 0x30)) throw protocolError(what);
  if (at + 1 >= length) return;
  if (bytes[at + 1] !== lf) throw protocolError(what);
  into.value = negative ? -value : value;
  into.end = at + 2;
};

const shown = (byte: number): string => (byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?");

/** Reads arrays of bulk strings: what begins with anything but `*` is not its to read. */
export const openReader = (): Reader => {
  const reading: Reading = {
    ...{ bytes: Buffer.alloc(0), starts: [], ends: [], count: 0, total: 0, place: 0, open: -1 },
  };
  const head: Head = { value: 0, end: -1 };
  let base = -1; // where it began; -1: none is being read
  let needed = 0;

  const begin = (bytes: Buffer, from: number): boolean => {
    readNumber(bytes, from + 1, head, "invalid multibulk length");
    if (head.end < 0) return false;
    if (head.value > mostArguments) throw protocolError("invalid multibulk length");
    base = from;
    reading.count = 0;
    reading.total = Math.max(0, head.value);
    reading.place = head.end;
    reading.open = -1;
    return true;
  };
  /** The same command, elsewhere. */
  const move = (from: number): void => {
    const by = from - base;
    base = from;
    reading.place += by;
    for (let next = 0; next < reading.count; next++) {
      reading.starts[next] = (reading.starts[next] ?? 0) + by;
      reading.ends[next] = (reading.ends[next] ?? 0) + by;
    }
  };
  const lacks = (end: number): -1 => {
    needed = end - base;
    return -1;
  };

  return {
    reading,
    need: () => needed,
    forget: () => {
      base = -1;
    },
    read: (bytes, from) => {
      reading.bytes = bytes;
      if (base < 0) {
        if (!begin(bytes, from)) {
          needed = bytes.length - from + 1;
          return -1;
        }
      } else if (from !== base) move(from);
      const { starts, ends, total } = reading;
      const { length } = bytes;
      let { place, count, open } = reading;
      for (; count < total; count++) {
        if (open < 0) {
          reading.count = count;
          reading.place = place;
          reading.open = -1;
          if (place >= length) return lacks(place + 1);
          if (bytes[place] !== dollar) throw protocolError(`expected '$', got '${shown(bytes[place] ?? 0)}'`);
          readNumber(bytes, place + 1, head, "invalid bulk length");
          if (head.end < 0) return lacks(length + 1);
          if (head.value < 0 || head.value > longestBulk) throw protocolError("invalid bulk length");
          open = head.value;
          place = head.end;
        }
        const end = place + open;
        if (end + 2 > length) {
          reading.count = count;
          reading.place = place;
          reading.open = open;
          return lacks(end + 2);
        }
        if (bytes[end] !== cr || bytes[end + 1] !== lf) throw protocolError("invalid bulk length");
        starts[count] = place;
        ends[count] = end;
        place = end + 2;
        open = -1;
      }
      reading.count = count;
      reading.open = -1;
      reading.place = place;
      base = -1;
      return place;
    },
  };
};

export const isArray = (byte: number | undefined): boolean => byte === star;

/** Where the line that begins at `from` ends, behind its newline; -1 when it is not there. @throws Failure `protocol` */
export const lineEnd = (bytes: Buffer, from: number): number => {
  const at = bytes.indexOf(lf, from);
  if ((at < 0 ? bytes.length : at) - from > longestInline) throw protocolError("too big inline request");
  return at < 0 ? -1 : at + 1;
};
