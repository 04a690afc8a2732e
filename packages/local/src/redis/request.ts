// What a client sends, cut where the front has to look: logins are handed over whole, all else goes by as it came, unread. It
// takes the bytes exactly as Redis does; where Redis would end the connection for them, it stops looking and leaves
// the words to Redis.
// https://redis.io/docs/latest/develop/reference/protocol-spec/#sending-commands-to-a-redis-server
const argumentLimit = 16 * 1024;
const countLimit = 16;
const lineLimit = 64 * 1024;
const nameLimit = 16;
const [lineFeed, carriageReturn, dollar, asterisk, minus, zero, nine] = [10, 13, 36, 42, 45, 48, 57];

/** Bytes to pass on, or a command that was asked for. */
export type Part = { readonly pass: Buffer } | { readonly words: readonly Buffer[]; readonly raw: Buffer };

const spaces = new Set([" ", "\n", "\r", "\t", "\v", "\f", "\0"]);
const escapes: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", a: "\x07" };

/** The words of an inline command, quoted as for redis-cli; undefined where quotes don't match. */
export const splitInline = (line: Buffer): readonly Buffer[] | undefined => {
  const end = line.indexOf(0);
  const text = (end < 0 ? line : line.subarray(0, end)).toString("latin1");
  const words: Buffer[] = [];
  let at = 0;
  for (;;) {
    while (spaces.has(text[at] ?? "")) at++;
    if (at >= text.length) return words;
    let word = "";
    let quote: string | undefined;
    for (; ; at++) {
      const char = text[at];
      if (quote === undefined) {
        if (char === undefined || spaces.has(char)) break;
        if (char === '"' || char === "'") quote = char;
        else word += char;
      } else if (char === undefined) return undefined;
      else if (quote === '"' && char === "\\" && text[at + 1] !== undefined) {
        const hex = /^x([0-9a-fA-F]{2})/.exec(text.slice(at + 1, at + 4))?.[1];
        const next = text[at + 1] ?? "";
        word += hex === undefined ? (escapes[next] ?? next) : String.fromCharCode(Number.parseInt(hex, 16));
        at += hex === undefined ? 1 : 3;
      } else if (quote === "'" && char === "\\" && text[at + 1] === "'") {
        word += "'";
        at++;
      } else if (char === quote) {
        const next = text[at + 1];
        if (next !== undefined && !spaces.has(next)) return undefined;
        quote = undefined;
      } else word += char;
    }
    words.push(Buffer.from(word, "latin1"));
  }
};

/** A number on a line of its own behind its mark, and where the line ends; undefined while it is not whole, NaN where Redis would not take it. */
const numberAt = (bytes: Buffer, at: number): { readonly value: number; readonly end: number } | undefined => {
  const end = bytes.indexOf(carriageReturn, at);
  if (end < 0 || end + 1 >= bytes.length)
    return bytes.length - at > lineLimit ? { value: Number.NaN, end: bytes.length } : undefined;
  const negative = bytes[at + 1] === minus;
  const first = negative ? at + 2 : at + 1;
  let value = end === first ? Number.NaN : 0;
  for (let digit = first; digit < end; digit++) {
    const code = bytes[digit] ?? 0;
    const leads = value === 0 && digit > first;
    value = code < zero || code > nine || leads ? Number.NaN : value * 10 + code - zero;
  }
  return { value: negative ? -value : value, end: end + 2 };
};

const wait = Symbol("wait");
const broken = Symbol("broken");
type Seen =
  | typeof wait
  | typeof broken
  /** Passes, as do so many arguments behind it. */
  | { readonly end: number; readonly behind: number }
  | { readonly end: number; readonly words: readonly Buffer[] };
type Watch = (name: string, words: number) => boolean;

/** All words of a command; "long" when they are more than any login has. */
const wordsAt = (bytes: Buffer, from: number, count: number) => {
  if (count > countLimit) return "long";
  const words: Buffer[] = [];
  let at = from;
  while (words.length < count) {
    if (at >= bytes.length) return wait;
    if (bytes[at] !== dollar) return broken;
    const length = numberAt(bytes, at);
    if (!length) return wait;
    if (Number.isNaN(length.value) || length.value < 0) return broken;
    if (length.value > argumentLimit) return "long";
    if (bytes.length < length.end + length.value + 2) return wait;
    words.push(bytes.subarray(length.end, length.end + length.value));
    at = length.end + length.value + 2;
  }
  return { words, end: at };
};

const seeMultibulk = (bytes: Buffer, at: number, watched: Watch): Seen => {
  const count = numberAt(bytes, at);
  if (!count) return wait;
  if (Number.isNaN(count.value)) return broken;
  if (count.value <= 0) return { end: count.end, behind: 0 };
  const passing = { end: count.end, behind: count.value };
  const name = wordsAt(bytes, count.end, 1);
  if (name === wait || name === broken) return longName(bytes, count.end) ? passing : name;
  if (name === "long") return passing;
  const [word = Buffer.alloc(0)] = name.words;
  if (word.length > nameLimit || !watched(word.toString("latin1").toUpperCase(), count.value)) return passing;
  const all = wordsAt(bytes, count.end, count.value);
  return all === "long" ? passing : all;
};

/** A name that no watched command has, known before it is whole. */
const longName = (bytes: Buffer, at: number): boolean => {
  const length = at < bytes.length && bytes[at] === dollar ? numberAt(bytes, at) : undefined;
  return length !== undefined && length.value > nameLimit;
};

const seeInline = (bytes: Buffer, at: number, watched: Watch): Seen => {
  const end = bytes.indexOf(lineFeed, at);
  if (end < 0) return bytes.length - at > lineLimit ? broken : wait;
  const words = splitInline(bytes.subarray(at, end));
  if (!words) return broken;
  const name = words[0]?.toString("latin1").toUpperCase();
  return name !== undefined && watched(name, words.length) ? { end: end + 1, words } : { end: end + 1, behind: 0 };
};

/** Takes the stream piece by piece. `watched` says which commands, by name and number of words, are to be handed over. */
export const openScanner = (watched: Watch): ((bytes: Buffer) => readonly Part[]) => {
  let held: Buffer = Buffer.alloc(0);
  /** Bytes of an argument, and whole arguments, that go by. */
  let [skip, behind] = [0, 0];
  let lost = false;

  return (chunk) => {
    if (lost) return [{ pass: chunk }];
    const bytes = held.length > 0 ? Buffer.concat([held, chunk]) : chunk;
    const parts: Part[] = [];
    let [from, at] = [0, 0];
    while (at < bytes.length && !lost) {
      if (skip > 0) {
        const some = Math.min(skip, bytes.length - at);
        skip -= some;
        at += some;
      } else if (behind > 0) {
        const length = bytes[at] === dollar ? numberAt(bytes, at) : { value: Number.NaN, end: 0 };
        if (!length) break;
        if (Number.isNaN(length.value) || length.value < 0) lost = true;
        else [at, skip, behind] = [length.end, length.value + 2, behind - 1];
      } else {
        const seen = (bytes[at] === asterisk ? seeMultibulk : seeInline)(bytes, at, watched);
        if (seen === wait) break;
        if (seen === broken) lost = true;
        else if ("behind" in seen) [at, behind] = [seen.end, seen.behind];
        else {
          if (at > from) parts.push({ pass: bytes.subarray(from, at) });
          parts.push({ words: seen.words, raw: bytes.subarray(at, seen.end) });
          from = at = seen.end;
        }
      }
    }
    if (lost) at = bytes.length;
    if (at > from) parts.push({ pass: bytes.subarray(from, at) });
    held = bytes.subarray(at);
    return parts;
  };
};
