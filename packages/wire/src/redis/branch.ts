// The connection to one node of a cluster: commands go out in runs of the bytes that came in, answers are counted by their headers.
// An answer that is due passes as it comes; what may be a redirection, a push or a part of something is seen in full first.
import { Failure, toFailure } from "@sallyport/core/failure";
import { quiet } from "../bytes.ts";
import type { Peer } from "../protocol.ts";
import type { Ask, Order } from "./ask.ts";
import type { Node } from "./lane.ts";
import { openQueue } from "./queue.ts";
import { openReplies, types } from "./reply.ts";

export interface Branch {
  readonly peer: Peer;
  /** Its answer to HELLO and the like; undefined until it is there. */
  readonly node: () => Node | undefined;
  /** Another answer is expected. */
  expect(ask: Ask): void;
  /** Bytes as they came, which go out with what goes on where they end. */
  run(bytes: Buffer, from: number, to: number): void;
  put(bytes: Buffer): void;
  /** Everything up to here goes out. */
  flush(): void;
  /** How many answers are to come. */
  waiting(): number;
  /** Is this one, or a part of it, to be answered here? */
  owes(ask: Ask): boolean;
  /** Is it as far ahead of the node as it may be? */
  full(): boolean;
  /** Channels and patterns, and channels of shards, by what it said last. */
  readonly subscribed: { channels: number; shards: number };
  hold(): void;
  resume(): void;
  end(): void;
  destroy(): void;
  /** Has it gone? */
  gone(): boolean;
}

export interface BranchHooks {
  readonly order: Order;
  /** RESP2's messages look like answers. */
  version(): 2 | 3;
  /** An error that may be a redirection; true when it is taken care of. */
  failed(branch: Branch, ask: Ask, line: string): boolean;
  /** One of the words of SUBSCRIBE and its like, in full; `ask` where it was asked for. What comes back is said instead. */
  confirmed(branch: Branch, word: string, bytes: Buffer, ask: Ask | undefined): Buffer | undefined;
  /** All that came at once has been read. */
  read(): void;
  drained(): void;
  /** What it says can't be read. */
  broken(failure: Failure): void;
  /** It is gone, with these asks without an answer. `sent`: may they have been carried out? */
  lost(branch: Branch, asks: readonly Ask[], failure: Failure, sent: boolean): void;
}

const confirmations = new Set(["subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"]);
const messages = new Set(["message", "pmessage", "smessage"]);
const copied = 16_384;
/** Of answers that are seen in full, with the parts of others, a session has so much at once. */
const mostWhole = 256 * 1_048_576;
const tooLarge = (): Failure =>
  new Failure("too_large", "what nodes of a cluster answer together, or say unasked, may have 256 MiB", {
    hint: "ask for fewer keys at once",
  });

const malformed = (): Failure =>
  new Failure("upstream_refused", "a node of the cluster answered what was not asked", {
    hint: "look at what stands at the endpoint",
  });

export const openBranch = (peer: Peer, entering: Promise<Node> | Node, hooks: BranchHooks): Branch => {
  const { order } = hooks;
  const asks = openQueue<Ask>();
  const replies = openReplies();
  let node: Node | undefined;
  let gone = false;
  let ending = false;
  let out: Buffer[] = [];
  let runOf: Buffer | undefined; // what is gathered of the bytes that came
  let runFrom = 0;
  let runTo = 0;
  let held: Buffer[] | undefined; // an answer that is seen in full first
  let last: Ask | undefined; //      the last that has its answer

  const endRun = (): void => {
    if (runOf) out.push(runOf.subarray(runFrom, runTo));
    runOf = undefined;
  };
  const flush = (): void => {
    endRun();
    if (!node || out.length === 0 || gone) return;
    const { socket } = node;
    const pieces = out;
    out = [];
    const [only] = pieces;
    if (only && pieces.length === 1) {
      socket.write(only);
      return;
    }
    if (pieces.reduce((sum, { length }) => sum + length, 0) <= copied) {
      socket.write(Buffer.concat(pieces));
      return;
    }
    socket.cork();
    for (const bytes of pieces) socket.write(bytes);
    socket.uncork();
  };

  const lose = (failure: Failure): void => {
    if (gone) return;
    gone = true;
    const sent = node !== undefined;
    node?.socket.destroy();
    for (const bytes of held ?? []) order.whole(-bytes.length);
    const cutOff = replies.inside() && !held ? asks.first() : undefined;
    if (cutOff && !order.unsay(cutOff)) {
      hooks.broken(failure);
      return;
    }
    hooks.lost(branch, ending ? [] : asks.drain(), failure, sent);
    hooks.read();
  };

  const finish = (ask: Ask): void => {
    if (--ask.replies > 0) return;
    asks.shift();
    last = ask.of ?? (ask.due ? ask : last);
    order.end(ask);
  };
  /** In RESP2 who listens takes nothing but messages and words of subscriptions: at any other time an array is an answer. */
  const listens = (): boolean => hooks.version() === 2 && branch.subscribed.channels + branch.subscribed.shards > 0;
  /** Takes an answer that is there in full to where it belongs. */
  const settle = (bytes: Buffer, kind: number): void => {
    const word = kind === types.push || kind === types.array ? replies.word() : "";
    const ask = asks.first();
    // who listens to a slot that goes elsewhere is told, unasked
    const taken = word === "sunsubscribe" && ask?.confirms !== word;
    const aside = kind === types.push || (listens() && kind === types.array && (taken || messages.has(word)));
    if (confirmations.has(word) && (aside || ask?.confirms === word)) {
      const asked = ask?.confirms === word ? ask : undefined;
      const said = hooks.confirmed(branch, word, bytes, asked);
      if (said && asked) order.take(asked, said);
      else if (said) order.tell(said, last);
      if (asked) finish(asked);
      return;
    }
    if (aside) {
      order.tell(bytes, last);
      return;
    }
    if (!ask) throw malformed();
    if (kind === types.error) {
      if (hooks.failed(branch, ask, replies.error().toString("latin1"))) {
        asks.shift();
        return;
      }
      // an error is the answer to all of it
      ask.replies = 1;
    }
    const said = ask.whole ? ask.whole(bytes, ask) : bytes;
    if (said) order.take(ask, said);
    finish(ask);
  };

  /** Must an answer that begins so be seen in full? */
  const isHeld = (byte: number | undefined, ask: Ask | undefined): boolean =>
    !ask ||
    ask.whole !== undefined ||
    ask.confirms !== undefined ||
    byte === types.error ||
    byte === types.push ||
    byte === types.attribute ||
    (byte === types.array && listens());

  /** Do the answers of this one and the next leave one behind the other, with nothing between them? */
  const goesOn = (ask: Ask, byte: number | undefined): boolean => {
    const next = asks.second();
    const due = order.asks.first() === ask && order.asks.second() === next;
    return due && byte !== undefined && ask.replies === 1 && !ask.trail && !isHeld(byte, next);
  };

  const receive = (chunk: Buffer): void => {
    let from = -1; // where a run of answers begins that leave together
    for (let at = 0; at < chunk.length; ) {
      const ask = asks.first();
      if (from < 0 && !replies.inside() && isHeld(chunk[at], ask)) held = [];
      const end = replies.next(chunk, at);
      const stop = end < 0 ? chunk.length : end;
      if (held) {
        held.push(chunk.subarray(at, stop));
        if (order.whole(stop - at) > mostWhole) throw tooLarge();
        at = stop;
        if (end < 0) return;
        const bytes = held.length === 1 && held[0] ? held[0] : Buffer.concat(held);
        held = undefined;
        order.whole(-bytes.length);
        settle(bytes, replies.kind());
        continue;
      }
      if (!ask) throw malformed();
      if (from < 0) from = at;
      at = stop;
      if (end < 0 || !goesOn(ask, chunk[at])) {
        order.take(ask, chunk.subarray(from, at));
        from = -1;
      }
      if (end >= 0) finish(ask);
    }
  };

  const onData = (chunk: Buffer): void => {
    try {
      receive(chunk);
    } catch (thrown) {
      hooks.broken(toFailure(thrown));
      return;
    }
    hooks.read();
  };

  const branch: Branch = {
    peer,
    node: () => node,
    expect: (ask) => {
      asks.push(ask);
    },
    run: (bytes, from, to) => {
      if (runOf === bytes && runTo === from) {
        runTo = to;
        return;
      }
      endRun();
      runOf = bytes;
      runFrom = from;
      runTo = to;
    },
    put: (bytes) => {
      endRun();
      out.push(bytes);
    },
    flush,
    waiting: () => asks.size(),
    owes: (ask) => asks.some((other) => other === ask || other.of === ask),
    full: () => node?.socket.writableNeedDrain ?? false,
    subscribed: { channels: 0, shards: 0 },
    hold: () => node?.socket.pause(),
    resume: () => node?.socket.resume(),
    end: () => {
      ending = true;
      if (node) node.socket.end();
      else lose(closed(peer));
    },
    destroy: () => {
      gone = true;
      node?.socket.destroy();
    },
    gone: () => gone,
  };

  const enter = (entered: Node): void => {
    const { socket } = entered;
    if (gone) {
      socket.destroy();
      return;
    }
    node = entered;
    quiet(socket);
    socket.on("data", onData).on("drain", hooks.drained);
    socket.once("end", () => lose(closed(peer))).once("close", () => lose(closed(peer)));
    if (socket.destroyed) lose(closed(peer));
    socket.resume();
    flush();
    if (ending) socket.end();
  };
  if (entering instanceof Promise) entering.then(enter).catch((thrown: unknown) => lose(toFailure(thrown)));
  else enter(entering);
  return branch;
};

const closed = ({ address, port }: Peer): Failure =>
  new Failure("upstream_unreachable", `the connection to ${address}:${port} ended before it answered`, {
    hint: "whether the command was carried out is not known: look before trying again",
  });
