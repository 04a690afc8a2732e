// Where keys stand in commands whose arguments say it, as the server's own finders read them. A command that the server will not
// understand has no keys.
// https://redis.io/docs/latest/develop/reference/key-specs/
import { isWord, numberAt, type Words } from "./word.ts";

/** The arguments that are keys, in order; the name is argument 0. */
export type KeyFinder = (words: Words) => readonly number[];

const none: readonly number[] = [];

/** A number of keys at `at`, the keys behind it, and perhaps one that stands for itself before it. */
export const keysAfter =
  (at: number, { step = 1, also }: { readonly step?: number; readonly also?: number } = {}): KeyFinder =>
  (words) => {
    const count = at < words.count ? numberAt(words, at) : undefined;
    if (count === undefined || count < 1 || count * step > words.count - at - 1) return none;
    const keys = Array.from({ length: count }, (_, key) => at + 1 + key * step);
    return also === undefined ? keys : [also, ...keys];
  };

/** SORT key … [STORE destination]: the last one counts, and what BY, GET and LIMIT take is no STORE. */
export const keysOfSort: KeyFinder = (words) => {
  if (words.count < 2) return none;
  let store = 0;
  for (let at = 2; at < words.count; at++) {
    if (isWord(words, at, "limit")) at += 2;
    else if (isWord(words, at, "get") || isWord(words, at, "by")) at += 1;
    else if (isWord(words, at, "store") && at + 1 < words.count) store = at + 1;
  }
  return store > 0 ? [1, store] : [1];
};

/** GEORADIUS and GEORADIUSBYMEMBER key … [STORE | STOREDIST destination]. */
export const keysOfGeo: KeyFinder = (words) => {
  if (words.count < 2) return none;
  let store = 0;
  for (let at = 5; at + 1 < words.count; at++)
    if (isWord(words, at, "store") || isWord(words, at, "storedist")) store = ++at;
  return store > 0 ? [1, store] : [1];
};

/** XREAD and XREADGROUP … STREAMS key… id…: as many ids as keys, behind the first such word from `from` on. */
export const keysOfStreams =
  (from: number): KeyFinder =>
  (words) => {
    let at = from;
    while (at < words.count && !isWord(words, at, "streams")) at++;
    const keys = Math.floor((words.count - at - 1) / 2);
    return keys <= 0 ? none : Array.from({ length: keys }, (_, key) => at + 1 + key);
  };
