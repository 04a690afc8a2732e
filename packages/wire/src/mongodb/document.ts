// BSON as it passes: where a document's parts lie, without making anything of them. Every length is checked before it is used,
// nesting is bounded, and what does not add up to the byte is refused; the last byte of a document is looked at before any of
// it is believed. https://bsonspec.org/spec.html
import { Failure } from "@sallyport/core/failure";

/** What a server takes as one command or answers as one document: 16 MiB and some room for what surrounds a stored one. */
export const documentLimit = 16 * 1_048_576 + 16_384;
/** Servers stop at about 200 themselves. */
const depthLimit = 200;
const smallest = 5;

export const types = {
  ...{ double: 0x01, string: 0x02, document: 0x03, array: 0x04, binary: 0x05, undefined: 0x06, objectId: 0x07 },
  ...{ boolean: 0x08, date: 0x09, null: 0x0a, regex: 0x0b, pointer: 0x0c, code: 0x0d, symbol: 0x0e, scoped: 0x0f },
  ...{ int: 0x10, timestamp: 0x11, long: 0x12, decimal: 0x13, max: 0x7f, min: 0xff },
} as const;

/** How long a value is, by type: -1 it says so itself, -2 there is no such type. */
const sizes = new Int8Array(256).fill(-2);
for (const [type, size] of [
  ...[[types.double, 8] as const, [types.undefined, 0] as const, [types.objectId, 12] as const],
  ...[[types.boolean, 1] as const, [types.date, 8] as const, [types.null, 0] as const, [types.int, 4] as const],
  ...[[types.timestamp, 8] as const, [types.long, 8] as const, [types.decimal, 16] as const],
  ...[[types.max, 0] as const, [types.min, 0] as const],
] as const)
  sizes[type] = size;
for (const type of [types.string, types.document, types.array, types.binary, types.regex, types.pointer])
  sizes[type] = -1;
for (const type of [types.code, types.symbol, types.scoped]) sizes[type] = -1;

/** How many bytes a value of this type has where that follows from the type; -1: it says so itself. @throws Failure `protocol` */
export const sizeOf = (type: number): number => {
  const size = sizes[type] ?? -2;
  if (size === -2) throw malformed("an element of unknown type");
  return size;
};

export const malformed = (what: string): Failure => new Failure("protocol", `BSON that is not right: ${what}`);

/** A length that somebody claims for a document. @throws Failure */
export const checkLength = (length: number): number => {
  if (length < smallest) throw malformed("a document's length");
  if (length > documentLimit) throw new Failure("too_large", `a document of more than ${documentLimit} bytes`);
  return length;
};

/** Where the zero byte is that ends a text before `end`. */
export const zeroAt = (bytes: Buffer, from: number, end: number): number => {
  let at = from;
  while (at < end && bytes[at] !== 0) at++;
  if (at >= end) throw malformed("a text without an end");
  return at;
};

const stringEnd = (bytes: Buffer, at: number, end: number): number => {
  if (end - at < 5) throw malformed("a string that is cut off");
  const length = bytes.readInt32LE(at);
  if (length < 1 || length > end - at - 4 || bytes[at + 3 + length] !== 0) throw malformed("a string's length");
  return at + 4 + length;
};

const scopedEnd = (bytes: Buffer, at: number, end: number, depth: number): number => {
  if (end - at < 14) throw malformed("code that is cut off");
  const length = bytes.readInt32LE(at);
  if (length < 14 || length > end - at) throw malformed("the length of code");
  const scope = stringEnd(bytes, at + 4, at + length);
  if (documentEnd(bytes, scope, at + length, depth + 1) !== at + length) throw malformed("the length of code");
  return at + length;
};

/** Where a value ends that begins at `at`. @throws Failure `protocol` when it can't, or does not add up inside */
const valueEnd = (bytes: Buffer, type: number, at: number, end: number, depth: number): number => {
  const size = sizeOf(type);
  if (size >= 0) {
    if (size > end - at) throw malformed("a value that is cut off");
    if (type === types.boolean && (bytes[at] ?? 2) > 1) throw malformed("a boolean that is neither");
    return at + size;
  }
  if (type === types.document || type === types.array) return documentEnd(bytes, at, end, depth + 1);
  if (type === types.binary) {
    if (end - at < 5) throw malformed("bytes that are cut off");
    const length = bytes.readInt32LE(at);
    if (length < 0 || length > end - at - 5) throw malformed("a length of bytes");
    return at + 5 + length;
  }
  if (type === types.regex) return zeroAt(bytes, zeroAt(bytes, at, end) + 1, end) + 1;
  if (type === types.scoped) return scopedEnd(bytes, at, end, depth);
  const next = stringEnd(bytes, at, end);
  if (type !== types.pointer) return next;
  if (end - next < 12) throw malformed("a value that is cut off");
  return next + 12;
};

/** Checks a whole document, everything in it too. Where it ends. @throws Failure */
export const documentEnd = (bytes: Buffer, from: number, end: number, depth = 0): number => {
  if (depth > depthLimit) throw malformed(`nested deeper than ${depthLimit}`);
  if (end - from < smallest) throw malformed("a document that is cut off");
  const length = checkLength(bytes.readInt32LE(from));
  if (length > end - from) throw malformed("a document longer than what it is in");
  const last = from + length - 1;
  if (bytes[last] !== 0) throw malformed("a document without an end");
  let at = from + 4;
  while (at < last) {
    const type = bytes[at] ?? 0;
    at = valueEnd(bytes, type, zeroAt(bytes, at + 1, last) + 1, last, depth);
  }
  return last + 1;
};

/** One element of a document that was checked: its key and its value, by place. */
export interface Element {
  readonly type: number;
  readonly key: number;
  readonly keyEnd: number;
  readonly value: number;
  readonly end: number;
}

/** The elements of a checked document, in order. @throws Failure `protocol` at more than `most` */
export const elements = (bytes: Buffer, from: number, most = Number.POSITIVE_INFINITY): readonly Element[] => {
  const found: Element[] = [];
  const last = from + bytes.readInt32LE(from) - 1;
  for (let at = from + 4; at < last; ) {
    if (found.length >= most) throw malformed(`more than ${most} keys`);
    const type = bytes[at] ?? 0;
    const keyEnd = zeroAt(bytes, at + 1, last);
    const end = checkedEnd(bytes, type, keyEnd + 1);
    found.push({ type, key: at + 1, keyEnd, value: keyEnd + 1, end });
    at = end;
  }
  return found;
};

/** As valueEnd, of a value that was checked: nothing in it is looked at again. */
export const checkedEnd = (bytes: Buffer, type: number, at: number): number => {
  const size = sizes[type] ?? 0;
  if (size >= 0) return at + size;
  if (type === types.regex) {
    const middle = bytes.indexOf(0, at);
    return bytes.indexOf(0, middle + 1) + 1;
  }
  const length = bytes.readInt32LE(at);
  if (type === types.document || type === types.array || type === types.scoped) return at + length;
  if (type === types.binary) return at + 5 + length;
  return at + 4 + length + (type === types.pointer ? 12 : 0);
};

export const textOf = (bytes: Buffer, from: number, to: number): string => bytes.toString("utf8", from, to);
/** A string's value, when it is one. */
export const stringOf = (bytes: Buffer, element: Element | undefined): string | undefined =>
  element?.type === types.string ? textOf(bytes, element.value + 4, element.end - 1) : undefined;
