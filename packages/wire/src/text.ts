// Text as an audit line shows it, also when it comes in pieces: UTF-8 as it is, anything else as Latin-1 that says so. No byte
// is lost and no character is cut in two.
import { isUtf8 } from "node:buffer";

export interface Decoded {
  readonly text: string;
  readonly encoding?: "latin1";
}

/** How many bytes at the end begin a character that they don't finish. */
export const unfinished = (bytes: Buffer): number => {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needs > back ? back : 0;
  }
  return 0;
};

export const decode = (bytes: Buffer): Decoded =>
  isUtf8(bytes) ? { text: bytes.toString() } : { text: bytes.toString("latin1"), encoding: "latin1" };

/** Pieces of one text in order; the bytes of a piece are looked at during the call only. */
export const decoder = (): ((piece: Buffer, last: boolean) => Decoded) => {
  let carried = Buffer.alloc(0);
  return (piece, last) => {
    const whole = carried.length > 0 ? Buffer.concat([carried, piece]) : piece;
    const cut = last ? whole.length : whole.length - unfinished(whole);
    carried = Buffer.from(whole.subarray(cut));
    return decode(whole.subarray(0, cut));
  };
};
