// One direction of a session: the original bytes, the other side's backpressure, and two reasons to wait. A record that must be
// durable holds the bytes it tells of and what comes after them; a command that is answered here is taken out, and holds what
// comes after it until it is answered.
import type { Failure } from "@sallyport/core/failure";
import { toFailure } from "@sallyport/core/failure";
import type { Socket } from "./protocol.ts";

export interface Frames {
  /** Where the run ends that begins at `from` and passes, or stays, as one. At `from`: it needs `need()` bytes first. With `once`, ends where a message does. @throws Failure `protocol` */
  scan(bytes: Buffer, from: number, once: boolean): number;
  need(): number;
  /** Is part of a message still to come? */
  inside(): boolean;
  /** Where the last message that passed in full ended in the bytes of the last scan. */
  edge(): number;
  /** Does the run stay here? */
  dropped(): boolean;
  /** What comes after the run waits for this. */
  hold(): Promise<void> | undefined;
}

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
  /** Something has passed, and was written. */
  readonly passed?: () => void;
  /** Asked when a run has passed: what comes behind it waits for this. */
  readonly room?: () => Promise<void> | undefined;
  /** A rule was broken, or a record could not be made. */
  readonly broken: (failure: Failure) => void;
  /** Whole messages before a broken one still pass. */
  readonly lenient: boolean;
  /** Asked when `from` has ended: is that an end for `to` as well, or for somebody to word? */
  readonly over: () => boolean;
}

// a chunk of this size is part of something long: there is nobody whom a few microseconds delay
const bulk = 8_192;
const firstCarry = 131_072;

export const startFlow = (options: FlowOptions): Flow => {
  const { from, to, frames, waits, touch, passed, room, broken, lenient, over } = options;
  let carry: Buffer | undefined; // the beginning of what has to be seen whole
  let carried = 0;
  let wanted = 0; //               how much of it that is
  let backlog: Buffer[] = []; //   came while something was waited for
  let waiting = false;
  let full = false; //             is the other side slow?
  let gathering = false; //        are writes held back until this turn ends?
  let ended = false;
  let stopped = false;
  let spoiled: { readonly whole: boolean } | undefined; // nothing after it can be read
  let finished: ((whole: boolean) => void) | undefined;

  const settle = (): void => {
    if (ended && backlog.length === 0) to.end();
    if (!finished || !(spoiled || !frames.inside())) return;
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
  const write = (bytes: Buffer): void => {
    if (!gathering && bytes.length >= bulk) gatherWrites();
    if (bytes.length > 0 && !to.write(bytes)) {
      full = true;
      from.pause();
    }
    passed?.();
  };

  const wait = (promises: readonly Promise<void>[], then: () => void): void => {
    waiting = true;
    from.pause();
    Promise.all(promises)
      .then(() => {
        waiting = false;
        if (stopped) return;
        then();
        if (!waiting) goOn();
        if (waiting || stopped) return;
        if (!full && !spoiled) from.resume();
        settle();
      })
      .catch(spoil);
  };

  /** False when what comes next has to wait. */
  const give = (run: Buffer, dropped: boolean): boolean => {
    if (!dropped) write(run);
    const crowded = room?.();
    if (crowded) wait([crowded], () => {});
    return !crowded;
  };
  /** A run passes, or stays; then what it holds is waited for. False when there is something to wait for. */
  const pass = (run: Buffer): boolean => {
    const held = frames.hold();
    const promises = waits();
    const dropped = frames.dropped();
    if (!held && !promises) return give(run, dropped);
    const records = promises ?? [];
    wait(held ? [...records, held] : records, () => void give(run, dropped));
    return false;
  };

  /**
   * Takes what has to be seen whole out of several chunks, and as much again as is there: of some messages one knows only of their
   * next part how long it is. Where the next byte is to be read from.
   */
  const gather = (bytes: Buffer, at: number): number => {
    if (!carry) return at;
    const some = Math.min(Math.max(wanted - carried, carried), bytes.length - at);
    if (carried + some > carry.length) {
      // what is claimed is not believed: room is made for what has come, and as much again
      const grown = Buffer.allocUnsafe(Math.max(carried + some, Math.min(wanted, 2 * carry.length)));
      carry.copy(grown, 0, 0, carried);
      carry = grown;
    }
    bytes.copy(carry, carried, at, at + some);
    carried += some;
    return at + some;
  };
  const startCarry = (bytes: Buffer, at: number): void => {
    wanted = Math.max(frames.need(), bytes.length - at);
    carry = Buffer.allocUnsafe(Math.min(wanted, Math.max(firstCarry, bytes.length - at)));
    carried = bytes.copy(carry, 0, at);
  };

  /** Follows a chunk to its end, or to where something has to be waited for. */
  const follow = (chunk: Buffer): void => {
    let bytes = chunk;
    let at = 0;
    let rest: Buffer | undefined; // of the chunk, behind what was carried
    const keepRest = (): void => {
      if (rest) backlog.unshift(rest);
      if (at < bytes.length) backlog.unshift(at > 0 ? bytes.subarray(at) : bytes);
    };
    for (;;) {
      if (carry) {
        const next = gather(bytes, at);
        if (carried < wanted) return;
        rest = next < bytes.length ? bytes.subarray(next) : undefined;
        if (rest && !gathering) gatherWrites();
        bytes = carry.subarray(0, carried);
        at = 0;
        carry = undefined;
      }
      if (at >= bytes.length) {
        if (!rest) return;
        bytes = rest;
        at = 0;
        rest = undefined;
      }
      const end = scan(bytes, at);
      if (finished && !frames.inside() && end === at) return;
      if (end === at) {
        startCarry(bytes, at);
        if (!rest) return;
        bytes = rest;
        at = 0;
        rest = undefined;
        continue;
      }
      const run = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end);
      at = end;
      if (!pass(run)) {
        keepRest();
        return;
      }
    }
  };

  const scan = (bytes: Buffer, at: number): number => {
    const inside = frames.inside();
    try {
      return frames.scan(bytes, at, finished !== undefined);
    } catch (thrown) {
      const edge = frames.edge();
      spoiled = { whole: !inside || edge > at };
      if (lenient && edge > at) pass(bytes.subarray(at, edge));
      throw thrown;
    }
  };

  const spoil = (thrown: unknown): void => {
    if (stopped) return;
    from.off("data", onData).pause();
    backlog = [];
    // what is in pieces has not passed: what did ends where a message does
    spoiled ??= { whole: !frames.inside() };
    broken(toFailure(thrown));
  };

  const goOn = (): void => {
    try {
      for (let next = backlog.shift(); next && !waiting && !stopped && !spoiled; next = backlog.shift()) {
        follow(next);
        if (waiting) return;
      }
    } catch (thrown) {
      spoil(thrown);
    }
  };

  const onData = (chunk: Buffer): void => {
    touch();
    if (waiting) {
      backlog.push(chunk);
      return;
    }
    try {
      follow(chunk);
    } catch (thrown) {
      spoil(thrown);
    }
    if (finished && !waiting) settle();
  };
  const onDrain = (): void => {
    full = false;
    if (!waiting && !spoiled) from.resume();
  };
  const onEnd = (): void => {
    if (!over()) {
      // the rest of a message that it broke off in will not come
      spoiled ??= { whole: !frames.inside() };
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
