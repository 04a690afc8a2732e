// One direction of a session: the original bytes, one write a chunk (or one for several long ones), the other side's
// backpressure. What the audit wants waits until it is whole and recorded; a record that must be durable first holds its
// chunk, and what comes after it.

import type { Failure } from "@sallyport/core/failure";
import { toFailure } from "@sallyport/core/failure";
import type { Socket } from "../protocol.ts";
import type { Frames } from "./frame.ts";

export interface Flow {
  /** Passes on no more than the rest of the current message, then stops and calls `done`: is what has passed whole messages? */
  finish(done: (whole: boolean) => void): void;
  /** Nothing more is passed on. */
  stop(): void;
}

export interface FlowOptions {
  readonly from: Socket;
  readonly to: Socket;
  readonly frames: Frames;
  /** The promises of records made since it was last asked; undefined when there are none. */
  readonly waits: () => readonly Promise<void>[] | undefined;
  readonly touch: () => void;
  /** A rule was broken, or a record could not be made. */
  readonly broken: (failure: Failure) => void;
  /** Whole messages before a broken one still pass. */
  readonly lenient: boolean;
  /** Asked when `from` has ended: is that an end for `to` as well, or for somebody to word? */
  readonly over: () => boolean;
}

// a chunk of this size is part of something long: there is nobody whom a few microseconds delay
const bulk = 8_192;
// so many bytes may wait for a slow side: stopping and going again for less costs bulk more than it spares memory
const mostWaiting = 262_144;

export const startFlow = ({ from, to, frames, waits, touch, broken, lenient, over }: FlowOptions): Flow => {
  let carry: Buffer | undefined; // a header, or a piece for the audit, that is not whole yet
  let carried = 0;
  let waiting = false; //            for records to be durable
  let full = false; //               is the other side slow?
  let gathering = false; //          are writes held back until this turn ends?
  let ended = false;
  let stopped = false;
  let spoiled: { readonly whole: boolean } | undefined; // nothing after it can be read
  let finished: ((whole: boolean) => void) | undefined;

  const settle = (): void => {
    if (ended) to.end();
    if (!finished || !(spoiled || frames.left() === 0)) return;
    stop();
    finished(spoiled?.whole ?? true);
  };

  const release = (): void => {
    gathering = false;
    to.uncork();
  };
  /** Chunks that come in one turn of the loop leave in one write. */
  const gatherWrites = (): void => {
    gathering = true;
    to.cork();
    setImmediate(release);
  };

  const write = (whole: Buffer | undefined, rest: Buffer): void => {
    if (!gathering && rest.length >= bulk) gatherWrites();
    let room = true;
    if (whole) {
      to.cork();
      room = to.write(whole);
    }
    if (rest.length > 0) room = to.write(rest);
    if (whole) to.uncork();
    if (room || !to.writableNeedDrain || to.writableLength < mostWaiting) return;
    full = true;
    from.pause();
  };

  const pass = (whole: Buffer | undefined, rest: Buffer): void => {
    const promises = waits();
    if (!promises) {
      write(whole, rest);
      if (finished) settle();
      return;
    }
    waiting = true;
    from.pause();
    Promise.all(promises)
      .then(() => {
        waiting = false;
        if (stopped) return;
        write(whole, rest);
        if (!full && !spoiled) from.resume();
        settle();
      })
      .catch((thrown: unknown) => broken(toFailure(thrown)));
  };

  const gather = (bytes: Buffer, at: number): number => {
    carry ??= Buffer.allocUnsafe(frames.need());
    const some = bytes.copy(carry, carried, at);
    carried += some;
    return some;
  };

  const follow = (chunk: Buffer): void => {
    let whole: Buffer | undefined;
    let rest = chunk;
    if (carry) {
      const some = gather(chunk, 0);
      if (carried < carry.length) return;
      whole = carry;
      carry = undefined;
      carried = 0;
      frames.scan(whole);
      rest = chunk.subarray(some);
    }
    const inside = frames.left() > 0;
    let some = 0;
    try {
      some = frames.scan(rest, finished !== undefined);
    } catch (thrown) {
      spoiled = { whole: !inside || frames.edge() > 0 };
      if (lenient) pass(whole, rest.subarray(0, frames.edge()));
      throw thrown;
    }
    const done = finished !== undefined && frames.left() === 0;
    if (some < rest.length && !done) gather(rest, some);
    pass(whole, some === rest.length ? rest : rest.subarray(0, some));
  };

  const onData = (chunk: Buffer): void => {
    touch();
    try {
      follow(chunk);
    } catch (thrown) {
      from.off("data", onData).pause();
      // a header in pieces has not passed: what did ends where a message does
      spoiled ??= { whole: frames.left() === 0 };
      broken(toFailure(thrown));
    }
  };
  const onDrain = (): void => {
    full = false;
    if (!waiting && !spoiled) from.resume();
  };
  const onEnd = (): void => {
    if (!over()) {
      // the rest of a message that it broke off in will not come
      spoiled ??= { whole: frames.left() === 0 };
      return;
    }
    ended = true;
    if (!waiting) to.end();
  };
  const stop = (): void => {
    if (stopped) return;
    stopped = true;
    from.off("data", onData).off("end", onEnd).pause();
    to.off("drain", onDrain);
  };

  from.on("data", onData).on("end", onEnd);
  to.on("drain", onDrain);
  return {
    finish: (done) => {
      finished = done;
      if (!waiting) settle();
    },
    stop,
  };
};
