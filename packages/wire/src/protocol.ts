// The interface every protocol satisfies. Shared code (packages/proxy) drives it and decides everything that matters for
// security; a protocol only words things. A protocol never chooses TLS settings, never reads the table and never sees
// a role: it asks the Gate, the Upstream and the Live it is given.
import type { Duplex } from "node:stream";
import type { Access, Denial, Grant } from "@sallyport/core/access";
import type { Statement } from "@sallyport/core/audit";
import type { Credential } from "@sallyport/core/credential";
import type { Endpoint, ProtocolName } from "@sallyport/core/database";
import type { Failure } from "@sallyport/core/failure";
import type { Secret } from "@sallyport/core/secret";

/** A byte stream: a TCP or TLS socket, or a pair of in-memory streams in tests. */
export type Socket = Duplex;

/** What a client asked for. A stock client brings a token; through the gate it was shown already. */
export interface Asked {
  /** Absent where the client leaves it to its token. */
  readonly user?: string;
  /** The database name, where the protocol has one; filled in by the protocol's own default rule. */
  readonly name?: string;
  readonly token?: Secret;
}

/** A connected client, TLS done, startup read. Protocols add their own state. */
export interface Client {
  readonly socket: Socket;
}
/** A connection logged in upstream. `peer` is the address it went to: a cancel dials that one again. */
export interface Server {
  readonly socket: Socket;
  readonly peer: Peer;
}
export interface Peer {
  readonly address: string;
  readonly port: number;
}

/** Names one session to its owner, whichever task that is. Opaque to shared code; compared as a whole, never logged. */
export interface CancelKey {
  readonly protocol: string;
  readonly key: string;
}

export type Arrival<C extends Client = Client, W = unknown> =
  | { readonly ask: Asked; readonly client: C; readonly wanted: W }
  | { readonly cancel: CancelKey; readonly client: C }
  /** A monitor or health check that came and went without asking to log in. */
  /** Somebody looked and left; `note` says at what, where that may help an operator. */
  | { readonly probe: true; readonly note?: string };

/** The client's side of the door. */
export interface Gate {
  /**
   * TLS as server. Unread plaintext must have been refused before; for a client that began with TLS, its first bytes are put back
   * (unshift) and `alpn` names the protocol it must have negotiated: one that negotiated none is refused. Through the gate port it
   * is not called: TLS is done.
   */
  secure(socket: Socket, alpn?: string): Promise<Socket>;
  /**
   * The deadline on the way to a login. It runs from the start; a protocol whose clients may stay unauthenticated stops it, and starts
   * it at the first step of a login. From the first stop on the connection counts among those that stay: @throws Failure `too_many`
   */
  readonly deadline: { start(): void; stop(): void };
  /** Set when the client came through the gate port: the token is redeemed and this is what it stands for. */
  readonly arrived?: Authorised;
  /** What the client dialled, in its own eyes: for a protocol whose servers tell where they are. */
  readonly dialled?: Dialled;
}
export interface Dialled {
  readonly host: string;
  readonly port: number;
}

/** What the gate has already settled. A protocol whose server speaks first dials `upstream` in `accept`; it is let go with the connection, whatever comes of it. */
export interface Authorised {
  readonly ask: { readonly user: string; readonly name?: string };
  readonly grant: Grant;
  readonly upstream: Upstream;
  /** Bytes came in that are answered before the session's relay begins; drives the idle limit. */
  touch?(): void;
}

/** The database's side of the door: the only way to dial and the only way to TLS. */
export interface Upstream {
  readonly database: { readonly name: string; readonly endpoint: Endpoint };
  /** Dials the endpoint, or `at`: one of the addresses its own topology named, or the peer a session is on. */
  tcp(at?: Peer): Promise<{ socket: Socket; peer: Peer }>;
  /** TLS as client, verified in full. Unread bytes on the socket are fatal. `alpn` for protocols that start with TLS. */
  secure(socket: Socket, alpn?: string): Promise<Socket>;
  /** Fresh at each call; may be asked again for a re-login. */
  credential(): Promise<Credential>;
}

/** Gives a session its own cancel keys: the client never sees the upstream's. */
export interface OwnKeys {
  /** Cryptographically random. */
  random(bytes: number): Buffer;
  /** From now on this key cancels the session, or what `rules` say. */
  register(key: string, rules?: KeyRules): void;
}
export interface KeyRules {
  /** `self`: it is no secret, and only the same user's sessions on the same database may use it. Otherwise whoever knows it. */
  readonly from?: "self";
  /** It ends the session instead of cancelling what it runs. */
  readonly ends?: boolean;
}

/** What a relay may ask while bytes pass. */
export interface Live {
  /** core's decision bound to this session. Never reads the table. */
  guard(access: Access): Denial | undefined;
  /** Records before the bytes go on; the statement is worded before this returns. A promise: hold them until it resolves (durable audit); a rejection ends the session. */
  record(statement: Statement): Promise<void> | undefined;
  /** Uses a key of another session of the same user on the same database (`from: "self"`). Resolves when the attempt is over, whatever came of it. */
  cancel(key: string): Promise<void>;
  /** Any byte in either direction; drives the idle limit. */
  touch(): void;
  /** Aborted with a Failure when the session must end; the relay says so in the protocol's own words. */
  readonly ended: AbortSignal;
}

/** How a session ended. `failure` when it was cut or broke a rule. */
export interface End {
  readonly by: "client" | "server" | "cut";
  readonly failure?: Failure;
}

/** Rows of an administrative statement, as text. */
export type Rows = readonly (readonly (string | null)[])[];

export interface Protocol<
  C extends Client = Client,
  S extends Server = Server,
  W = unknown,
  Name extends string = ProtocolName,
> {
  readonly name: Name;
  /** The plain port's default number. */
  readonly port: number;
  /** Reads until it is known what the client wants. @throws Failure when it must be refused; what could be said was said. */
  accept(socket: Socket, gate: Gate): Promise<Arrival<C, W>>;
  /** The failure in the protocol's own words, then the end of the connection. Never rejects. */
  refuse(client: C, failure: Failure): Promise<void>;
  /** Dials, secures and logs in. The Grant is the proof that somebody decided. @throws Failure upstream_… */
  login(upstream: Upstream, grant: Grant, wanted?: W): Promise<S>;
  /** Tells the client that it is in, with its own cancel key. */
  welcome(client: C, server: S, own: OwnKeys): Promise<void>;
  /** Both ways until one ends. Never rejects; both sockets are closed when it resolves. */
  relay(client: C, server: S, live: Live): Promise<End>;
  /** Cancels what the session runs, over a connection of its own to the same peer. */
  cancel(server: S, upstream: Upstream): Promise<void>;
  /** Logs in once more and asks for the nodes of the cluster, as it names them; none where it is none. Absent: there are never more than the endpoint's addresses. @throws Failure upstream_… */
  nodes?(upstream: Upstream, grant: Grant): Promise<readonly Peer[]>;
  /** One administrative statement. */
  run(server: S, statement: string, values?: readonly (string | null)[]): Promise<Rows>;
}
