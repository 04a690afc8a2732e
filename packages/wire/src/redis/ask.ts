// A command on its way through a cluster: what a node was asked, and whose answer it is. Answers leave in the order in which the
// client asked, whichever node is first; an answer that is due goes on as its bytes come in, others are kept until they are due.
import type { Peer } from "../protocol.ts";
import { openQueue, type Queue } from "./queue.ts";

/** What one node is asked, or several as parts of one answer. */
export interface Ask {
  /** The bytes of the command: kept until it is answered, as another node may have to be asked. */
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
  /** Its place among all that was asked. */
  readonly turn: number;
  /** The slot of its keys; -1 where it has none. */
  readonly slot: number;
  /** How many answers it has: one for each channel of a SUBSCRIBE. */
  replies: number;
  /** Takes an answer in full; what it returns is the answer. Without it answers pass as they come. */
  readonly whole: ((answer: Buffer, ask: Ask) => Buffer | undefined) | undefined;
  /** Does the client wait for it? Not for what we ask ourselves, nor for a part. */
  readonly due: boolean;
  /** What it is a part of. */
  readonly of: Ask | undefined;
  /** Told to the node right before it: CLIENT CACHING. */
  preface: Buffer | undefined;
  /** How often another node was asked. */
  tries: number;
  /** What came while others were due. */
  kept: Buffer[] | undefined;
  /** What comes right behind its answer: a node's pushes stay in the order in which it said them. */
  trail: Buffer[] | undefined;
  /** Has a piece of it left? */
  begun: boolean;
  done: boolean;
  /** Has all of it left? */
  gone: boolean;
  /** `SUBSCRIBE` and its like: the word that its answers begin with. */
  readonly confirms: string | undefined;
  /** Asked first when an error comes: what the answer is instead, or that whoever is asked sees to it. */
  readonly failed: ((line: string, by: Peer) => Buffer | "taken" | undefined) | undefined;
  /** Told which node it goes to, each time. `asking`: to one that does not own the slot yet. */
  readonly sent: ((to: Peer, asking: boolean) => void) | undefined;
}

const nothing = Buffer.alloc(0);

let turns = 0;

export const newAsk = (bytes: Buffer, from: number, to: number, slot: number, more?: Partial<Ask>): Ask => ({
  bytes,
  from,
  to,
  turn: ++turns,
  slot,
  replies: 1,
  whole: undefined,
  due: true,
  of: undefined,
  preface: undefined,
  tries: 0,
  kept: undefined,
  trail: undefined,
  begun: false,
  done: false,
  gone: false,
  confirms: undefined,
  failed: undefined,
  sent: undefined,
  ...more,
});

/** An answer that nobody has to be asked for. */
export const answered = (answer: Buffer): Ask => newAsk(nothing, 0, 0, -1, { done: true, kept: [answer] });

export interface Order {
  readonly asks: Queue<Ask>;
  expect(ask: Ask): void;
  /** A piece of an answer. */
  take(ask: Ask, bytes: Buffer): void;
  /** What came of an answer is half of one and no more will: it was never said. False when the client has it already. */
  unsay(ask: Ask): boolean;
  /** All of it is there. */
  end(ask: Ask): void;
  /** What a node says unasked, behind all that it has answered: `last` is the last of that. */
  tell(bytes: Buffer, last: Ask | undefined): void;
  /** Bytes that are kept for later. */
  kept(): number;
  /** So many more bytes, or fewer, of answers that are seen in full before they leave; how many there are. */
  whole(bytes: number): number;
  /** Bytes of commands that are not answered. */
  open(): number;
}

/** `emit` gets what the client is to read, in order. */
export const openOrder = (emit: (bytes: Buffer) => void): Order => {
  const asks = openQueue<Ask>();
  let kept = 0;
  let open = 0;
  let whole = 0;

  const release = (ask: Ask): void => {
    for (const bytes of ask.kept ?? []) {
      kept -= bytes.length;
      emit(bytes);
      ask.begun = true;
    }
    ask.kept = undefined;
  };
  /** Lets go of all that is due. */
  const advance = (): void => {
    for (let ask = asks.first(); ask; ask = asks.first()) {
      release(ask);
      if (!ask.done) return;
      for (const bytes of ask.trail ?? []) emit(bytes);
      ask.trail = undefined;
      open -= ask.to - ask.from;
      ask.gone = true;
      asks.shift();
    }
  };

  return {
    asks,
    expect: (ask) => {
      open += ask.to - ask.from;
      for (const bytes of ask.kept ?? []) kept += bytes.length;
      asks.push(ask);
      if (ask.done) advance();
    },
    take: (ask, bytes) => {
      if (!ask.due) return;
      if (asks.first() === ask) {
        ask.begun = true;
        emit(bytes);
        return;
      }
      kept += bytes.length;
      ask.kept ??= [];
      ask.kept.push(bytes);
    },
    unsay: (ask) => {
      if (ask.begun) return false;
      for (const bytes of ask.kept ?? []) kept -= bytes.length;
      ask.kept = undefined;
      return true;
    },
    end: (ask) => {
      ask.done = true;
      if (asks.first() === ask) advance();
    },
    tell: (bytes, last) => {
      const first = asks.first();
      const behind = last?.due && !last.gone ? last : undefined;
      // an answer that has left in part is gone on with before anything else is said
      const target = behind ?? (first?.begun ? first : undefined);
      if (!target) {
        emit(bytes);
        return;
      }
      target.trail ??= [];
      target.trail.push(bytes);
    },
    kept: () => kept,
    whole: (bytes) => {
      whole += bytes;
      return whole;
    },
    open: () => open,
  };
};
