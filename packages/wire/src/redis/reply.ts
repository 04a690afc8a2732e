// What a server says, read by its headers: where an answer ends, whatever it is made of, in RESP2 and RESP3. Nothing is kept but
// how deep it goes and how much is to come; what an error says, and what kind a push is of. A server is believed as little as a
// client: what can't be read ends the session.
// https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
import { Failure } from "@sallyport/core/failure";

export const types = {
  ...{ text: 0x2b, error: 0x2d, number: 0x3a, bulk: 0x24, array: 0x2a, push: 0x3e, attribute: 0x7c },
  ...{ map: 0x25, set: 0x7e, nothing: 0x5f, double: 0x2c, boolean: 0x23, big: 0x28, verbatim: 0x3d, blob: 0x21 },
} as const;

/** A script's answer may be nested; nobody's is so deep. */
export const deepest = 1_024;
const longestAnswer = 0xffff_ffff;
const mostElements = 0xffff_ffff;
const longestNumber = 20;
/** Of an error so much is kept, and of the word that says what a push is. */
export const keptText = 512;
const keptWord = 16;

const nothing: Buffer = Buffer.alloc(0);
const cr = 0x0d;
const lf = 0x0a;

export interface Replies {
  /** Reads on from `at`. Where the current answer ends; -1 when it goes on behind these bytes. @throws Failure `upstream_refused` */
  next(bytes: Buffer, at: number): number;
  /** Is an answer begun and not ended? */
  inside(): boolean;
  /** The first byte of the current or the last one, attributes apart. */
  kind(): number;
  /** Its text, up to `keptText`, where it is an error. */
  error(): Buffer;
  /** Its first element where that is text, and its last number: `subscribe` and how many, of a push or an array. */
  word(): string;
  number(): number;
}

const malformed = (what: string): Failure =>
  new Failure("upstream_refused", `the database answered with what is no Redis protocol: ${what}`, {
    hint: "look at what stands at the endpoint",
  });

// what the next byte belongs to
const phase = { type: 0, number: 1, numberEnd: 2, line: 3, lineEnd: 4, bulk: 5 } as const;
type Phase = (typeof phase)[keyof typeof phase];

export const openReplies = (): Replies => {
  let now: Phase = phase.type;
  let depth = 0;
  const counts: number[] = []; //    elements to come, by depth
  const aside: boolean[] = []; //    is it an attribute, which is no element of what it stands in?
  let kind = 0;
  let type = 0;
  let value = 0;
  let digits = 0;
  let negative = false;
  let left = 0; //                   of a bulk, with its end
  let opened = false; //             has an answer begun?
  let kept = nothing;
  let keeping = 0; //                bytes that `kept` still takes
  let word = "";
  let last = 0;
  let first = false; //              is the next element the first of the whole?

  const keep = (bytes: Buffer, from: number, to: number): void => {
    const end = Math.min(to, from + keeping);
    if (end <= from) return;
    kept = Buffer.concat([kept, bytes.subarray(from, end)]);
    keeping -= end - from;
  };
  const open = (count: number, attribute: boolean): void => {
    if (depth >= deepest) throw malformed("nested too deep");
    counts[depth] = count;
    aside[depth] = attribute;
    depth++;
  };
  /** An element has ended. Is the whole? */
  const close = (): boolean => {
    now = phase.type;
    while (depth > 0) {
      const some = (counts[depth - 1] ?? 0) - 1;
      counts[depth - 1] = some;
      if (some > 0) return false;
      depth--;
      // what an attribute is of comes behind it
      if (aside[depth]) return false;
    }
    opened = false;
    return true;
  };

  const begin = (byte: number): void => {
    type = byte;
    if (depth === 0) {
      if (byte !== types.attribute) kind = byte;
      opened = true;
      word = "";
      last = 0;
      kept = nothing;
      keeping = byte === types.error || byte === types.blob ? keptText : 0;
      first = byte === types.push || byte === types.array;
    } else if (first) {
      first = false;
      if (depth === 1 && (byte === types.bulk || byte === types.text)) keeping = keptWord;
    }
    switch (byte) {
      case types.text:
      case types.error:
      case types.double:
      case types.big:
      case types.boolean:
      case types.nothing:
        now = phase.line;
        return;
      case types.number:
      case types.bulk:
      case types.verbatim:
      case types.blob:
      case types.array:
      case types.set:
      case types.map:
      case types.push:
      case types.attribute:
        now = phase.number;
        value = 0;
        digits = 0;
        negative = false;
        return;
      default:
        throw malformed("a type that it does not have");
    }
  };

  /** A number and its line have ended. Is the whole? */
  const settle = (): boolean => {
    if (digits === 0) throw malformed("a number without digits");
    const said = negative ? -value : value;
    if (type === types.number) {
      if (depth === 1) last = said;
      return close();
    }
    if (type === types.bulk || type === types.verbatim || type === types.blob) {
      if (said === -1 && type === types.bulk) {
        keeping = 0;
        return close();
      }
      if (said < 0 || said > longestAnswer) throw malformed("a length");
      left = said + 2;
      now = phase.bulk;
      return false;
    }
    if (said === -1 && type === types.array) return close();
    if (said < 0 || said > mostElements) throw malformed("a count");
    const count = type === types.map || type === types.attribute ? 2 * said : said;
    if (type === types.attribute) {
      now = phase.type;
      if (count > 0) open(count, true);
      return false;
    }
    if (count === 0) return close();
    open(count, false);
    now = phase.type;
    return false;
  };
  const keptUp = (): void => {
    if (kept.length === 0 || kind === types.error || kind === types.blob) return;
    word = kept.toString("latin1");
    keeping = 0;
    kept = nothing;
  };

  const next = (bytes: Buffer, from: number): number => {
    const { length } = bytes;
    let at = from;
    while (at < length) {
      if (now === phase.type) begin(bytes[at++] ?? 0);
      else if (now === phase.number) {
        let byte = bytes[at] ?? 0;
        if (digits === 0 && !negative && byte === 0x2d) {
          negative = true;
          at++;
          continue;
        }
        while (byte >= 0x30 && byte <= 0x39) {
          value = 10 * value + byte - 0x30;
          if (++digits > longestNumber) throw malformed("a number");
          if (++at >= length) return -1;
          byte = bytes[at] ?? 0;
        }
        if (byte !== cr) throw malformed("a number");
        at++;
        now = phase.numberEnd;
      } else if (now === phase.numberEnd) {
        if (bytes[at++] !== lf) throw malformed("a line's end");
        if (settle()) return at;
      } else if (now === phase.bulk) {
        const some = Math.min(left, length - at);
        if (keeping > 0 && left > 2) keep(bytes, at, Math.min(at + some, at + left - 2));
        // the two bytes behind a bulk, as far as they are here
        const end = at + left;
        if (left > 0 && end - 2 >= at && end - 2 < length && bytes[end - 2] !== cr) throw malformed("a bulk's end");
        if (end - 1 >= at && end - 1 < length && bytes[end - 1] !== lf) throw malformed("a bulk's end");
        left -= some;
        at += some;
        if (left > 0) return -1;
        keptUp();
        if (close()) return at;
      } else if (now === phase.line) {
        const start = at;
        let byte = bytes[at] ?? 0;
        while (byte !== cr && at < length) byte = bytes[++at] ?? 0;
        if (keeping > 0) keep(bytes, start, at);
        if (at >= length) return -1;
        at++;
        now = phase.lineEnd;
      } else {
        if (bytes[at++] !== lf) throw malformed("a line's end");
        keptUp();
        if (close()) return at;
      }
    }
    return -1;
  };

  return {
    next,
    inside: () => opened || now !== phase.type || depth > 0,
    kind: () => kind,
    error: () => kept,
    word: () => word,
    number: () => last,
  };
};
