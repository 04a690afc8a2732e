// Follows one direction of a session message by message. Headers are checked, bodies that the audit wants are shown piece by
// piece before they may pass, all else is only counted: no string, no copy, no object for a message.
import { partSize } from "@sallyport/core/audit";
import { audited, checkLength, seen } from "./message.ts";
import type { Observe } from "./statement.ts";

export interface Frames {
  /** How many of these bytes may pass. The rest is to be shown again once there are `need()` of them. With `once`, stops where a message ends. @throws Failure `protocol` */
  scan(bytes: Buffer, once?: boolean): number;
  need(): number;
  /** Bytes of the current message that have not passed yet: 0 where one has ended. */
  left(): number;
  /** The type of the message that came last, whole or not; 0 before the first. */
  last(): number;
  /** Where the last message that passed in full ended in the bytes of the last scan. */
  edge(): number;
  /** Bytes in CopyData since last asked. */
  copied(): number;
}

const header = 5;
const copyData = 0x64;

export const frames = (kinds: Uint8Array, observe: Observe): Frames => {
  let type = 0;
  let left = 0; //      of the current message's body
  let shown = false; // does the audit want it?
  let first = false; // is nothing of it shown yet?
  let need = 0;
  let copied = 0;
  let edge = 0;

  const body = (bytes: Buffer, at: number): number => {
    const have = bytes.length - at;
    if (!shown) {
      const some = Math.min(left, have);
      left -= some;
      return some;
    }
    const piece = Math.min(left, partSize);
    if (piece > have) {
      need = piece;
      return 0;
    }
    observe(type, bytes, at, at + piece, first, left === piece);
    left -= piece;
    first = false;
    if (kinds[type] === seen.first) shown = false;
    return piece;
  };

  const follow = (bytes: Buffer, once: boolean): number => {
    const size = bytes.length;
    let at = 0;
    edge = 0;
    while (at < size) {
      if (left > 0) {
        const some = body(bytes, at);
        if (some === 0) return at;
        at += some;
        if (left === 0) edge = at;
        continue;
      }
      if (once) return at;
      if (size - at < header) {
        need = header;
        return at;
      }
      type = bytes[at] ?? 0;
      const length = bytes.readInt32BE(at + 1);
      const kind = kinds[type] ?? 0;
      checkLength(kind, type, length);
      left = length - 4;
      shown = kind >= audited;
      first = true;
      if (type === copyData) copied += left;
      at += header;
      if (left === 0) edge = at;
    }
    return at;
  };

  return {
    scan: (bytes, once = false) => {
      try {
        return follow(bytes, once);
      } finally {
        observe.settle?.();
      }
    },
    need: () => need,
    left: () => left,
    last: () => type,
    edge: () => edge,
    copied: () => {
      const count = copied;
      copied = 0;
      return count;
    },
  };
};
