// What a client says, command by command, as fast as it can be taken: a command that has to wait stays where it is, and one that comes
// in pieces is gathered. Bounded: nothing is believed about a length before that many bytes are there.
import { Failure } from "@sallyport/core/failure";
import { openReader } from "./frame.ts";
import type { Words } from "./word.ts";

/** In a cluster a command is kept whole until it is answered, as another node may have to be asked. */
export const longestCommand = 64 * 1_048_576;
const firstRoom = 131_072;

export interface Intake {
  /** What came; only when all of the last has been taken. */
  push(chunk: Buffer): void;
  /** Takes what can be taken now. @throws Failure */
  go(): void;
  /** Is there nothing left but the beginning of a command? */
  empty(): boolean;
}

export interface IntakeOptions {
  /** False: it has to wait, and is offered again. */
  take(words: Words, from: number, to: number): boolean;
  free(): boolean;
}

export const openIntake = ({ take, free }: IntakeOptions): Intake => {
  const reader = openReader();
  let chunk: Buffer = Buffer.alloc(0);
  let at = 0;
  let carry: Buffer | undefined; // a command that came in pieces
  let carried = 0;
  let wanted = 0;

  const want = (): void => {
    wanted = reader.need();
    if (wanted > longestCommand)
      throw new Failure("too_large", "a command for a cluster may have 64 MiB", {
        hint: "store large values in parts",
      });
  };
  /** Takes out of the chunk what is missing, and as much again as is there: of a command of many arguments one is known of at a time. */
  const gather = (into: Buffer): Buffer => {
    const some = Math.min(Math.max(wanted - carried, carried), chunk.length - at);
    const least = carried + some;
    let room = into;
    if (least > room.length) {
      const twice = 2 * room.length;
      room = Buffer.allocUnsafe(Math.max(least, wanted > least ? Math.min(wanted, twice) : twice));
      into.copy(room, 0, 0, carried);
    }
    chunk.copy(room, carried, at, at + some);
    at += some;
    carried += some;
    return room;
  };
  /** Goes on with a command in pieces. False when it has to wait, for more or for its turn. */
  const goOn = (into: Buffer): boolean => {
    for (let room = into; ; ) {
      const bytes = room.subarray(0, carried);
      const end = carried < wanted ? -1 : reader.read(bytes, 0);
      if (end >= 0) {
        carry = room;
        // what is behind it came with this chunk
        at -= carried - end;
        carried = end;
        wanted = end;
        if (!take(reader.reading, 0, end)) return false;
        carry = undefined;
        return true;
      }
      if (carried >= wanted) want();
      if (at >= chunk.length) {
        carry = room;
        return false;
      }
      room = gather(room);
    }
  };

  return {
    push: (bytes) => {
      chunk = bytes;
      at = 0;
    },
    go: () => {
      while (free()) {
        if (carry) {
          if (!goOn(carry)) return;
          continue;
        }
        if (at >= chunk.length) return;
        const end = reader.read(chunk, at);
        if (end < 0) {
          want();
          carried = chunk.length - at;
          carry = Buffer.allocUnsafe(Math.min(wanted, Math.max(firstRoom, carried)));
          chunk.copy(carry, 0, at);
          at = chunk.length;
          return;
        }
        if (!take(reader.reading, at, end)) return;
        at = end;
      }
    },
    empty: () => at >= chunk.length,
  };
};
