// Walks a Bind message piece by piece, in order: on the way to check it, later to tell its values. Lengths are checked as they
// come and nothing is gathered here.
// https://www.postgresql.org/docs/18/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND
import { Failure } from "@sallyport/core/failure";

export interface BindVisitor {
  /** Bytes of the portal's (0) or the statement's (1) name. */
  name(which: 0 | 1, bytes: Buffer): void;
  /** Bytes of the parameters' format codes. */
  formats(bytes: Buffer): void;
  /** A value of `length` bytes begins; -1 is null. */
  value(length: number): void;
  bytes(bytes: Buffer, ends: boolean): void;
}

interface BindWalker {
  reset(): void;
  /** @throws Failure `protocol` at a length that can't be, or bytes behind the end */
  step(bytes: Buffer, from: number, to: number): void;
  /** Are both names read? */
  named(): boolean;
  done(): boolean;
}

const stages = {
  ...{ portal: 0, statement: 1, formatCount: 2, formats: 3, valueCount: 4 },
  ...{ length: 5, value: 6, resultCount: 7, results: 8, end: 9 },
} as const;

export const bindWalker = (visit?: BindVisitor): BindWalker => {
  let stage: number = stages.portal;
  let number = 0;
  let digits = 0;
  let left = 0; //   bytes of this run
  let values = 0; // values to come

  const nextValue = (): void => {
    stage = values-- > 0 ? stages.length : stages.resultCount;
  };
  const counted = (value: number): void => {
    if (stage === stages.formatCount || stage === stages.resultCount) {
      left = 2 * value;
      stage = left > 0 ? stage + 1 : stage + 2;
    } else if (stage === stages.valueCount) {
      values = value;
      nextValue();
    } else {
      left = value | 0;
      if (left < -1) throw new Failure("protocol", "malformed Bind message");
      visit?.value(left);
      if (left > 0) stage = stages.value;
      else nextValue();
    }
  };
  const run = (bytes: Buffer, from: number, to: number): void => {
    left -= to - from;
    if (visit && stage === stages.formats) visit.formats(bytes.subarray(from, to));
    if (visit && stage === stages.value) visit.bytes(bytes.subarray(from, to), left === 0);
    if (left > 0) return;
    if (stage === stages.value) nextValue();
    else stage++;
  };

  return {
    reset: () => {
      stage = stages.portal;
      number = digits = left = values = 0;
    },
    step: (bytes, from, to) => {
      for (let at = from; at < to; ) {
        if (stage <= stages.statement) {
          const found = bytes.indexOf(0, at);
          const end = found < 0 || found >= to ? to : found;
          visit?.name(stage === stages.portal ? 0 : 1, bytes.subarray(at, end));
          if (end < to) stage++;
          at = end + 1;
        } else if (stage === stages.formats || stage === stages.value || stage === stages.results) {
          const end = Math.min(to, at + left);
          run(bytes, at, end);
          at = end;
        } else if (stage === stages.end) throw new Failure("protocol", "malformed Bind message");
        else {
          number = number * 256 + (bytes[at++] ?? 0);
          if (++digits < (stage === stages.length ? 4 : 2)) continue;
          const value = number;
          number = digits = 0;
          counted(value);
        }
      }
    },
    named: () => stage > stages.statement,
    done: () => stage === stages.end,
  };
};
