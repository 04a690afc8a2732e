// Text as a JSON string of ASCII, written from its bytes: plain text by the line itself, other text piece by piece, and what is
// not UTF-8 as the platform's decoder reads it. https://www.rfc-editor.org/rfc/rfc8259 https://www.rfc-editor.org/rfc/rfc3629
import { json, type Line } from "@sallyport/core/line";

/** Where it is written. */
export type Out = Pick<Line, "fixed" | "text" | "number">;

const quote = json('"');
const digits = Buffer.from("0123456789abcdef");

/** Any text as a JSON string of ASCII. */
export const jsonText = (text: string): Uint8Array => {
  const said = JSON.stringify(text.toWellFormed());
  const bytes = new Uint8Array(6 * said.length);
  let at = 0;
  for (let next = 0; next < said.length; next++) {
    const code = said.charCodeAt(next);
    if (code < 0x7f) {
      bytes[at++] = code;
      continue;
    }
    bytes[at++] = 0x5c;
    bytes[at++] = 0x75;
    for (let shift = 12; shift >= 0; shift -= 4) bytes[at++] = digits[(code >> shift) & 15] ?? 0;
  }
  return bytes.slice(0, at);
};

// room for a piece of a text; written over by the next
const pieceRoom = Buffer.alloc(6 * 16_384);
const escapes = (code: number, at: number): number => {
  pieceRoom[at] = 0x5c;
  pieceRoom[at + 1] = 0x75;
  pieceRoom[at + 2] = digits[code >> 12] ?? 0;
  pieceRoom[at + 3] = digits[(code >> 8) & 15] ?? 0;
  pieceRoom[at + 4] = digits[(code >> 4) & 15] ?? 0;
  pieceRoom[at + 5] = digits[code & 15] ?? 0;
  return at + 6;
};
const isTail = (byte: number | undefined): boolean => ((byte ?? 0) & 0xc0) === 0x80;
/** By byte: what JSON writes behind a backslash; 1 where it is \\u and a number. */
const letters = new Uint8Array(128).fill(1, 0, 0x20).fill(1, 0x7f);
for (const [byte, letter] of ['""', "\\\\", "\nn", "\rr", "\tt", "\bb", "\ff"].map((pair) => [...Buffer.from(pair)]))
  letters[byte ?? 0] = letter ?? 1;
/** Words a piece of text into `pieceRoom`. How long it is there; -1 when it is not UTF-8. */
const wordPiece = (bytes: Buffer, from: number, to: number): number => {
  let at = 0;
  for (let next = from; next < to; ) {
    const byte = bytes[next++] ?? 0;
    if (byte < 0x80) {
      const letter = letters[byte] ?? 1;
      if (letter === 0) pieceRoom[at++] = byte;
      else if (letter === 1) at = escapes(byte, at);
      else {
        pieceRoom[at++] = 0x5c;
        pieceRoom[at++] = letter;
      }
      continue;
    }
    const more = byte < 0xc2 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : byte < 0xf5 ? 3 : 0;
    if (more === 0 || next + more > to) return -1;
    let code = byte & (0x3f >> more);
    for (let rest = more; rest > 0; rest--) {
      const tail = bytes[next++];
      if (!isTail(tail)) return -1;
      code = (code << 6) | ((tail ?? 0) & 0x3f);
    }
    if (more === 1) at = escapes(code, at);
    else if (more === 2) {
      if (code < 0x800 || (code >= 0xd800 && code <= 0xdfff)) return -1;
      at = escapes(code, at);
    } else {
      if (code < 0x1_0000 || code > 0x10_ffff) return -1;
      at = escapes(0xd800 + ((code - 0x1_0000) >> 10), at);
      at = escapes(0xdc00 + (code & 0x3ff), at);
    }
  }
  return at;
};

/** So much of a text that is not plain is worded at once: it takes several times the room. */
const textPiece = 16_384;
/** Where a piece ends that begins at `from`: no character is cut. */
const pieceEnd = (bytes: Buffer, from: number, to: number): number => {
  let end = Math.min(to, from + textPiece);
  for (let back = 3; back > 0 && end < to && ((bytes[end] ?? 0) & 0xc0) === 0x80; back--) end--;
  return end;
};

/** `before` and then the text of these bytes as a JSON string. */
export const sayText = (out: Out, before: Uint8Array, bytes: Buffer, from: number, to: number): void => {
  if (out.text(before, bytes, from, to)) return;
  out.fixed(before);
  out.fixed(quote);
  for (let at = from; at < to; ) {
    const end = pieceEnd(bytes, at, to);
    const length = wordPiece(bytes, at, end);
    out.fixed(length < 0 ? jsonText(bytes.toString("utf8", at, end)).subarray(1, -1) : pieceRoom.subarray(0, length));
    at = end;
  }
  out.fixed(quote);
};
