// What the parts of a cluster's lane share: the nodes, the order of answers, and the ways to ask one of them something.
import type { Failure } from "@sallyport/core/failure";
import type { Ask, Order } from "./ask.ts";
import type { Branch } from "./branch.ts";
import type { Version } from "./lane.ts";
import type { Topology } from "./topology.ts";
import type { Words } from "./word.ts";

export interface Cluster {
  readonly order: Order;
  version(): Version;
  topology(): Topology;
  /** Where goes what has no keys. */
  home(): Branch;
  /** The owner of a slot; undefined where nobody is known to be. */
  owner(slot: number): Branch | undefined;
  /** All nodes that own slots, by their number; dialled where that is still to be done. */
  primaries(): readonly Branch[];
  /** The nodes that there is a connection to, home first. */
  open(): readonly Branch[];
  /** Asks a node, in the client's turn where the answer is due. */
  send(branch: Branch, ask: Ask, asking?: boolean): void;
  /** What the client keeps of what it was answered, it is to forget, at the latest with that answer. */
  forget(last: Ask | undefined): void;
  /** Answers in the client's turn, without asking anybody. */
  answer(bytes: Buffer): void;
  /** Asks for ourselves: `then` gets the answer. */
  whisper(branch: Branch, bytes: Buffer, then?: (answer: Buffer) => void, more?: Partial<Ask>): void;
  /** Nothing more is taken from the client until everything is answered. */
  settle(): void;
  /** Nothing more is taken until the returned function is called. */
  hold(): () => void;
  /** It can't go on. */
  broken(failure: Failure): void;
}

/** A command of the client's. `words` is good until the next one is read. */
export interface Request {
  readonly words: Words;
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

/** `wait`: it can't be taken yet. `pass`: it goes on as any other does. */
export type Taken = "taken" | "wait" | "pass";
export type Handler = (request: Request) => Taken;
