// The rest of a command that is too long to be seen whole: its bytes pass as they come, and of each argument the beginning is kept
// for the audit. Read byte by byte only in the headers.
import { partSize } from "@sallyport/core/audit";
import type { Command } from "./command.ts";
import { longestBulk, protocolError } from "./frame.ts";
import { isKeyAt, keptBytes, type Piece } from "./statement.ts";

export interface Long {
  /** Reads on from `at`. Where the command ends; -1 when it goes on behind these bytes. @throws Failure `protocol` */
  next(bytes: Buffer, at: number): number;
}
export interface LongOptions {
  /** Arguments that are to come, the open one among them. */
  readonly left: number;
  /** How long the open one is; -1: its header is to come. */
  readonly open: number;
  /** How much of an argument is kept, by how many are to come with it. */
  kept(left: number): number;
  /** An argument has come in full. */
  argument(piece: Piece): void;
}

const cr = 0x0d;
const lf = 0x0a;
const phase = { mark: 0, digits: 1, digitsEnd: 2, bulk: 3, bulkCr: 4, bulkLf: 5 } as const;
type Phase = (typeof phase)[keyof typeof phase];

export const openLong = (options: LongOptions): Long => {
  let { left } = options;
  let now: Phase = options.open < 0 ? phase.mark : phase.bulk;
  let length = Math.max(0, options.open);
  let remaining = length;
  let digits = 0;
  let pieces: Buffer[] = [];
  let keeping = options.kept(left);

  const keep = (bytes: Buffer, from: number, to: number): void => {
    const some = Math.min(keeping, to - from);
    if (some <= 0) return;
    pieces.push(Buffer.from(bytes.subarray(from, from + some)));
    keeping -= some;
  };
  const digit = (byte: number): void => {
    if (byte === cr && digits > 0) {
      now = phase.digitsEnd;
      return;
    }
    const zeroBefore = digits === 1 && length === 0;
    if (byte < 0x30 || byte > 0x39 || zeroBefore) throw protocolError("invalid bulk length");
    length = 10 * length + byte - 0x30;
    digits++;
    if (length > longestBulk) throw protocolError("invalid bulk length");
  };
  const expect = (byte: number | undefined, wanted: number, then: Phase): void => {
    if (byte !== wanted) throw protocolError("invalid bulk length");
    now = then;
  };

  return {
    next: (bytes, from) => {
      for (let at = from; at < bytes.length; ) {
        if (now === phase.bulk) {
          const end = Math.min(bytes.length, at + remaining);
          keep(bytes, at, end);
          remaining -= end - at;
          at = end;
          if (remaining === 0) now = phase.bulkCr;
          continue;
        }
        const byte = bytes[at++] ?? 0;
        if (now === phase.mark) {
          if (byte !== 0x24) throw protocolError("expected '$'");
          now = phase.digits;
          length = 0;
          digits = 0;
        } else if (now === phase.digits) digit(byte);
        else if (now === phase.digitsEnd) {
          expect(byte, lf, phase.bulk);
          remaining = length;
          keeping = options.kept(left);
          pieces = [];
        } else if (now === phase.bulkCr) expect(byte, cr, phase.bulkLf);
        else {
          expect(byte, lf, phase.mark);
          options.argument({ shown: Buffer.concat(pieces), length });
          if (--left === 0) return at;
        }
      }
      return -1;
    },
  };
};

/** How much of an argument the audit keeps, by how many are to come with it: of a key as much as a line has room for. */
export const keptOf = (command: Command | undefined, total: number): ((left: number) => number) => {
  // where the arguments themselves say which are keys, all of them would have to be there
  if (!command || command.find || command.first === 0) return () => keptBytes;
  return (left) => (isKeyAt(command, total, total - left) ? partSize : keptBytes);
};
