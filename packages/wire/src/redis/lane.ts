// What a session's relay talks to. One node's own socket, or, where the node that answered is part of a cluster, a Duplex that
// stands for all of its nodes: RESP goes in and comes out as one node that owns every slot would take and word it. The relay knows
// no difference.
//
// What is written into a lane was ruled on, command by command, and is the bytes that the client sent, but for these rules:
//  - every command is an array of bulk strings (an inline command is rewritten by the relay), cut into chunks anywhere; a chunk
//    holds as many commands as came in one read, and only arguments from `longFrom` on come in several chunks for long;
//  - nothing that is refused, no CLIENT REPLY (the relay swallows answers itself) and no QUIT: the relay says OK and ends its side;
//  - HELLO without AUTH; AUTH always with a user: the relay's own login again, or a client's that was allowed;
//  - RESET comes when nothing is outstanding, and the relay's own AUTH at once behind it: RESP2 from there, nothing subscribed;
//  - no SUBSCRIBE, HELLO, AUTH or CLIENT REPLY between MULTI and EXEC; never a command of no arguments at all.
// What is read from a lane is one answer for each command, in order, and pushes (in RESP2 a subscriber's messages) between two.
// Backpressure is a stream's: `write` that says false, `push` that says false. Both sides end with `end`; what breaks a rule
// destroys it with a Failure, which the relay words.
import type { Peer, Socket } from "../protocol.ts";

/** 2 or 3: which RESP an answer is in. */
export type Version = 2 | 3;

/** A command longer than this is passed on before it is there in full. */
export const longFrom = 65_536;

/** A connection to one node, logged in as the session's user. */
export interface Node {
  readonly socket: Socket;
  readonly peer: Peer;
  readonly version: Version;
  /** What it answered to HELLO, as it came; empty from a server that knows none. */
  readonly hello: Buffer;
  /** Its own number of this connection; undefined where it says none. */
  readonly id: number | undefined;
  /** It is a part of a cluster. */
  readonly clustered: boolean;
}

/** How a lane of several nodes reaches another one, and what it says of itself. */
export interface Ways {
  /** Dials, secures and logs in as the session's user is now: at each call with a credential of its own. @throws Failure `upstream_…` */
  enter(at: Peer, version: Version, name: string | undefined): Promise<Node>;
  /** Where the client dialled: what CLUSTER SLOTS and its like name as the one node. */
  readonly shown: { readonly host: string; readonly port: number };
}

/** Makes one lane of a cluster, beginning with the node that the endpoint led to. @throws Failure `upstream_…` */
export type Gather = (first: Node, ways: Ways) => Promise<Socket>;
