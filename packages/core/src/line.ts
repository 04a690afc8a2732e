// One line of the audit, written straight into bytes: what passes through a relay is worded while it is at hand, without a
// string or an object for what is plain. Rule: a line is one JSON object of printable ASCII and whole characters, whatever
// somebody said; nothing in it ends the line, moves a cursor or hides text. https://www.rfc-editor.org/rfc/rfc8259

/** What a protocol writes a statement's members with, after the line's own. `name` is the member's opening, `,"text":`, as bytes. */
export interface Line {
  /** JSON that needs no care: `,"type":"query"`. */
  fixed(json: Uint8Array): void;
  /** A string of plain ASCII, escaped as need be. False when it is not that: then nothing was written, and it goes by `members`. */
  text(name: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean;
  /** A whole number from 0 on. */
  number(name: Uint8Array, value: number): void;
  /** Anything that JSON can say. The line's own members are left out. */
  members(said: Readonly<Record<string, unknown>>): void;
  /** The place reached, and the way back to it. */
  mark(): number;
  back(mark: number): void;
}

/** Bytes that lines are written into; grown as they need. */
export interface Sheet {
  bytes: Uint8Array;
  /** How many are written. */
  at: number;
}

export interface Pen extends Line {
  /** On this sheet from now on. */
  take(sheet: Sheet): void;
  /** The member `at`, whose digits are the same for a thousand statements. */
  time(at: number): void;
}

const encoder = new TextEncoder();
/** The opening of members, ready for `fixed` and the names of the others. */
export const json = (text: string): Uint8Array => encoder.encode(text);

/** The members that a line has whatever is said in it. */
const ours = new Set(["session", "chain", "seq", "at"]);

/** By byte: 0 as it is, 1 not plain, else the letter behind the backslash. */
const plain = new Uint8Array(256).fill(1, 0x7f).fill(1, 0, 0x20);
for (const [byte, letter] of ['""', "\\\\", "\nn", "\rr", "\tt"].map((pair) => [...pair].map((c) => c.charCodeAt(0))))
  plain[byte ?? 0] = letter ?? 1;

/** A text from so long on is copied in pieces, each looked at four bytes at once and gone through from its first byte that needs care. */
const longText = 256;
const pieceSize = 1_024;
/** How many of these bytes, at the least, are as they should be; `words` are the same bytes by four. */
const cleanLength = (bytes: Uint8Array, words: Int32Array, from: number, to: number): number => {
  const shift = bytes.byteOffset;
  let at = from;
  for (; at < to && ((at + shift) & 3) !== 0; at++) if (plain[bytes[at] ?? 0] !== 0) return at - from;
  const last = (to + shift) >> 2;
  let next = (at + shift) >> 2;
  for (; next < last; next++) {
    const word = words[next] ?? 0;
    // the highest bit of a byte: not ASCII, 0x7f, below a space, a quote, a backslash
    const care =
      word |
      (word + 0x0101_0101) |
      (word - 0x2020_2020) |
      ((word ^ 0x2222_2222) - 0x0101_0101) |
      ((word ^ 0x5c5c_5c5c) - 0x0101_0101);
    if ((care & 0x8080_8080) !== 0) break;
  }
  return Math.max(at, 4 * next - shift) - from;
};

/** Writes plain text byte by byte. The place reached; -1 when it is not plain. */
const careful = (bytes: Uint8Array, start: number, from: Uint8Array, first: number, end: number): number => {
  let at = start;
  for (let next = first; next < end; next++) {
    const byte = from[next] ?? 0;
    const how = plain[byte] ?? 1;
    if (how === 0) bytes[at++] = byte;
    else if (how === 1) return -1;
    else {
      bytes[at++] = 0x5c;
      bytes[at++] = how;
    }
  }
  return at;
};

// what JSON allows in a string and a terminal, a log reader or a page does not take for text
const unsafe = /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const escapeUnsafe = (text: string): string =>
  text.replace(unsafe, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

const opening = json(',"at":');

export const makePen = (): Pen => {
  let sheet: Sheet = { bytes: new Uint8Array(0), at: 0 };
  let lastAt = -1;
  let lastTime: Uint8Array = new Uint8Array(0);
  let wordsOf: Uint8Array | undefined;
  let words: Int32Array = new Int32Array(0);

  /** Copies these bytes; how many of them need no care. */
  const copyText = (from: Uint8Array, start: number, end: number, at: number): number => {
    const { bytes } = sheet;
    if (wordsOf !== bytes) {
      wordsOf = bytes;
      words = new Int32Array(bytes.buffer, 0, bytes.buffer.byteLength >> 2);
    }
    bytes.set(from.subarray(start, end), at);
    return cleanLength(bytes, words, at, at + end - start);
  };
  const room = (more: number): void => {
    const needed = sheet.at + more;
    if (needed <= sheet.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * sheet.bytes.length));
    grown.set(sheet.bytes.subarray(0, sheet.at));
    sheet.bytes = grown;
  };
  const copy = (from: Uint8Array): void => {
    const { bytes } = sheet;
    let { at } = sheet;
    if (from.length > 128) {
      bytes.set(from, at);
      sheet.at += from.length;
      return;
    }
    // short: a loop is faster than a call that makes a view
    for (let next = 0; next < from.length; next++) bytes[at++] = from[next] ?? 0;
    sheet.at = at;
  };
  const fixed = (bytes: Uint8Array): void => {
    room(bytes.length);
    copy(bytes);
  };
  const number = (name: Uint8Array, value: number): void => {
    room(name.length + 16);
    copy(name);
    if (value > 0x7fff_ffff || value < 0 || (value | 0) !== value) {
      copy(json(String(value)));
      return;
    }
    let digits = 1;
    for (let rest = value; rest >= 10; rest = (rest / 10) | 0) digits++;
    let rest = value;
    for (let place = sheet.at + digits - 1; place >= sheet.at; place--) {
      const shorter = (rest / 10) | 0;
      sheet.bytes[place] = 0x30 + rest - 10 * shorter;
      rest = shorter;
    }
    sheet.at += digits;
  };
  const string = (text: string): void => {
    room(3 * text.length);
    sheet.at += encoder.encodeInto(text, sheet.bytes.subarray(sheet.at)).written;
  };

  return {
    take: (next) => {
      sheet = next;
    },
    time: (at) => {
      if (at !== lastAt) {
        lastAt = at;
        lastTime = json(`${at}`);
      }
      room(opening.length + lastTime.length);
      copy(opening);
      copy(lastTime);
    },
    fixed,
    text: (name, from, start, end) => {
      const before = sheet.at;
      room(name.length + 2 * (end - start) + 2);
      copy(name);
      const { bytes } = sheet;
      let { at } = sheet;
      bytes[at++] = 0x22;
      for (let next = start; next < end; ) {
        const stop = end - next < 2 * pieceSize ? end : next + pieceSize;
        if (stop - next >= longText) {
          const clean = copyText(from, next, stop, at);
          next += clean;
          at += clean;
        }
        at = careful(bytes, at, from, next, stop);
        if (at < 0) {
          sheet.at = before;
          return false;
        }
        next = stop;
      }
      bytes[at++] = 0x22;
      sheet.at = at;
      return true;
    },
    number,
    members: (said) => {
      const own = Object.keys(said).some((name) => ours.has(name));
      const shown = own ? Object.fromEntries(Object.entries(said).filter(([name]) => !ours.has(name))) : said;
      const text = JSON.stringify(shown);
      if (text.length > 2) string(`,${escapeUnsafe(text.slice(1, -1))}`);
    },
    mark: () => sheet.at,
    back: (mark) => {
      sheet.at = mark;
    },
  };
};
