// A command's words in the bytes they came in: compared and read without a string being made.

/** A command as it came: its bytes, and where each argument begins and ends. The first is its name. */
export interface Words {
  readonly bytes: Buffer;
  readonly starts: ArrayLike<number>;
  readonly ends: ArrayLike<number>;
  readonly count: number;
}

const startOf = (words: Words, at: number): number => words.starts[at] ?? 0;
const endOf = (words: Words, at: number): number => words.ends[at] ?? 0;

/** ASCII letters without their case. */
const fold = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte);

/** Is argument `at` this word, whatever its case? `word` is in lower case. */
export const isWord = (words: Words, at: number, word: string): boolean => {
  const start = startOf(words, at);
  if (at >= words.count || endOf(words, at) - start !== word.length) return false;
  for (let index = 0; index < word.length; index++)
    if (fold(words.bytes[start + index] ?? 0) !== word.charCodeAt(index)) return false;
  return true;
};

/** Argument `at` as a whole number that fits 15 digits. */
export const numberAt = (words: Words, at: number): number | undefined => {
  const text = textAt(words, at, 17);
  return /^(?:0|-?[1-9]\d{0,14})$/.test(text) ? Number(text) : undefined;
};

/** Argument `at` as text, or its beginning. */
export const textAt = (words: Words, at: number, most = Number.POSITIVE_INFINITY): string => {
  const start = startOf(words, at);
  return words.bytes.toString("latin1", start, Math.min(endOf(words, at), start + most));
};

/** Argument `at`, not copied. */
export const bytesAt = (words: Words, at: number): Buffer => words.bytes.subarray(startOf(words, at), endOf(words, at));

/** A number for a word that is the same whatever its case. */
export const foldedHash = (bytes: Uint8Array, start: number, end: number): number => {
  let hash = end - start;
  for (let at = start; at < end; at++) hash = (Math.imul(hash, 31) + fold(bytes[at] ?? 0)) | 0;
  return hash;
};
