// The database's side: TLS from the first byte, and HELLO with the user and the password or token, which tells all that is to be
// known: the server's number of this connection and whether it is one of a cluster. AUTH for a server without HELLO. A cancel, over
// a connection of its own; one command. There is no way to prove a password here but to send it, inside verified TLS.
// https://redis.io/docs/latest/commands/hello/
import type { Grant } from "@sallyport/core/access";
import { Failure, toFailure } from "@sallyport/core/failure";
import { quiet, takeOrEnd } from "../bytes.ts";
import type { Peer, Rows, Server, Socket, Upstream } from "../protocol.ts";
import type { Node, Version, Ways } from "./lane.ts";
import { command, inlineCommand } from "./message.ts";
import { openPassword, type Password } from "./password.ts";
import { type ErrorValue, entryOf, isError, parseValue, rowsOf, type Value } from "./reading.ts";
import { openReplies } from "./reply.ts";
import { gather } from "./router.ts";
import type { Wanted } from "./server.ts";
import { parseSlots } from "./topology.ts";

export interface RedisServer extends Server {
  /** The node that the endpoint led to. */
  readonly node: Node;
  /** All that the session has a connection to. */
  open(): readonly Node[];
  /** The session's user, whatever a client has logged in as since. */
  readonly user: string;
  /** What logs in as it, fresh. */
  credential(): Promise<Password>;
  /** Other nodes are entered as this one from now on; undefined: as the session's user. */
  become(other: Password | undefined): void;
  /** After so long on one login the next one is due; without end: never. */
  readonly renewAfterMs: number;
}

// all that a server may say until a login is over, and to an administrative command
const loginBytes = 65_536;
const answerBytes = 4 * 1_048_576;
const cancelWithinMs = 5_000;
/** AWS ends a connection that logged in by IAM twelve hours after it did. */
const renewAfterMs = 11 * 3_600_000;

const gone = { code: "upstream_unreachable", words: "the database closed the connection too early" } as const;

/** The next answer, whole. @throws Failure `upstream_unreachable`, `upstream_refused` where it is none */
const takeReply = async (socket: Socket, most: number): Promise<Buffer> => {
  const replies = openReplies();
  const pieces: Buffer[] = [];
  for (let size = 0; ; ) {
    const first = await takeOrEnd(socket, 1, gone);
    if (!first) throw new Failure(gone.code, gone.words);
    const rest: unknown = socket.read();
    const piece = Buffer.isBuffer(rest) ? Buffer.concat([first, rest]) : first;
    const end = replies.next(piece, 0);
    size += piece.length;
    if (size > most) throw new Failure("upstream_refused", "the database answered with more than it should");
    if (end < 0) {
      pieces.push(piece);
      continue;
    }
    if (end < piece.length) socket.unshift(piece.subarray(end));
    return Buffer.concat([...pieces, piece.subarray(0, end)]);
  }
};
const ask = async (socket: Socket, bytes: Buffer, most = loginBytes): Promise<{ raw: Buffer; value: Value }> => {
  socket.write(bytes);
  const raw = await takeReply(socket, most);
  return { raw, value: parseValue(raw) };
};

const refusals: ReadonlySet<string> = new Set(["WRONGPASS", "NOPERM", "NOAUTH"]);
const prefixOf = ({ error }: ErrorValue): string => error.split(" ", 1)[0] ?? "";
const userHint = ({ user, help }: Password): string =>
  help ??
  `${user} has to be a user of the cache, with what we log in with: as a user of IAM the proxy needs elasticache:Connect or memorydb:Connect on it and on the cache, and a clock that is right`;

/** A server that is not ready, or full, has refused nobody. */
const serverError = (said: ErrorValue, credential?: Password): Failure => {
  const prefix = prefixOf(said);
  const refused = refusals.has(prefix) || /invalid password|user is disabled/i.test(said.error);
  return new Failure(refused ? "upstream_refused" : "upstream_unreachable", said.error.slice(0, 500), {
    details: { code: prefix },
    ...(refused && credential ? { hint: userHint(credential) } : {}),
  });
};
/** What is no answer to a login says nothing of the user. */
const wordedUpstream = (thrown: unknown): Failure => {
  const failure = toFailure(thrown);
  if (failure.code !== "upstream_refused" || failure.details?.["code"] !== undefined) return failure;
  return new Failure("upstream_unreachable", failure.message, { ...(failure.hint ? { hint: failure.hint } : {}) });
};

const rethrown = (thrown: unknown): never => {
  throw wordedUpstream(thrown);
};

interface Entered {
  readonly version: Version;
  readonly hello: Buffer;
  readonly id: number | undefined;
  readonly clustered: boolean;
}
const helloOf = (raw: Buffer, said: Value, version: Version): Entered => {
  const [id, proto] = [entryOf(said, "id"), entryOf(said, "proto")];
  if (proto !== version) throw new Failure("upstream_refused", "the database answered HELLO with another version");
  const clustered = entryOf(said, "mode") === "cluster";
  return { version, hello: raw, id: typeof id === "number" ? id : undefined, clustered };
};

/** For a server from before HELLO. */
const authenticate = async (socket: Socket, credential: Password, name: string | undefined): Promise<Entered> => {
  const { user, password } = credential;
  const { value } = await ask(socket, command("AUTH", user, password.reveal()));
  if (isError(value)) throw serverError(value, credential);
  if (name !== undefined) await ask(socket, command("CLIENT", "SETNAME", name));
  const { value: info } = await ask(socket, command("INFO", "cluster"), answerBytes);
  const clustered = typeof info === "string" && info.includes("cluster_enabled:1");
  const hello = command("server", "redis", "proto", "2", "mode", clustered ? "cluster" : "standalone");
  return { version: 2, hello, id: undefined, clustered };
};
const enter = async (
  socket: Socket,
  credential: Password,
  version: Version,
  name: string | undefined,
): Promise<Entered> => {
  const { user, password } = credential;
  const words = ["HELLO", String(version), "AUTH", user, password.reveal()];
  const { raw, value } = await ask(socket, command(...words, ...(name === undefined ? [] : ["SETNAME", name])));
  if (!isError(value)) return helloOf(raw, value, version);
  const old = prefixOf(value) === "NOPROTO" || value.error.startsWith("ERR unknown command");
  if (!old) throw serverError(value, credential);
  if (version === 3)
    throw new Failure("unsupported", "the database does not speak RESP3", { hint: "connect with RESP2" });
  return authenticate(socket, credential, name);
};

/** A password that was rotated while it was on its way is followed by the one before, once. */
const enterAs: typeof enter = async (socket, credential, version, name) => {
  try {
    return await enter(socket, credential, version, name);
  } catch (thrown) {
    const before = toFailure(thrown).code === "upstream_refused" ? await credential.previous?.() : undefined;
    if (!before) throw thrown;
    return enter(socket, { ...credential, password: before }, version, name);
  }
};

/** How a node is entered, the first one or another. */
interface Entry {
  readonly at?: Peer | undefined;
  readonly version: Version;
  readonly name?: string | undefined;
  credential(): Promise<Password>;
}
const reach = async (upstream: Upstream, { at, version, name, credential }: Entry): Promise<Node> => {
  const { socket, peer } = await upstream.tcp(at);
  quiet(socket);
  let secured: Socket = socket;
  try {
    secured = quiet(await upstream.secure(socket));
    return { socket: secured, peer, ...(await enterAs(secured, await credential(), version, name)) };
  } catch (thrown) {
    secured.destroy();
    socket.destroy();
    throw wordedUpstream(thrown);
  }
};

/** @throws Failure `upstream_…`, `unsupported` */
export const login = async (
  upstream: Upstream,
  grant: Pick<Grant, "dbUser" | "ownAuth">,
  wanted?: Wanted,
): Promise<RedisServer> => {
  let other: Password | undefined;
  const own = openPassword(upstream, grant, wanted?.own);
  const { version = 2, name, dialled } = wanted ?? {};
  const open = new Set<Node>();
  const enterNode = async (entry: Entry): Promise<Node> => {
    const entered = await reach(upstream, entry);
    open.add(entered);
    entered.socket.once("close", () => open.delete(entered));
    return entered;
  };
  const node = await enterNode({ version, name, credential: own });
  const { host, port } = dialled ?? upstream.database.endpoint;
  const ways: Ways = {
    enter: (at, asked, called) =>
      enterNode({ at, version: asked, name: called, credential: async () => other ?? own() }),
    shown: { host, port },
  };
  return {
    socket: node.clustered ? await gather(node, ways).catch(rethrown) : node.socket,
    peer: node.peer,
    node,
    open: () => [...open],
    user: grant.dbUser,
    credential: own,
    become: (next) => {
      other = next;
    },
    // a password of the client's own has no end, and may have been changed since
    renewAfterMs: wanted?.own && grant.ownAuth ? Number.POSITIVE_INFINITY : renewAfterMs,
  };
};

/** The nodes that the cluster names; none where it is no cluster. @throws Failure `upstream_…` */
export const nodes = async (upstream: Upstream, grant: Pick<Grant, "dbUser" | "ownAuth">): Promise<readonly Peer[]> => {
  const node = await reach(upstream, { version: 2, credential: openPassword(upstream, grant, undefined) });
  try {
    if (!node.clustered) return [];
    // those that own slots, and their copies: nobody is led to another one
    const { raw } = await ask(node.socket, command("CLUSTER", "SLOTS"), answerBytes);
    return [...parseSlots(raw, node.peer).named.values()];
  } catch (thrown) {
    throw wordedUpstream(thrown);
  } finally {
    node.socket.destroy();
  }
};

/** Ends one connection where it is, as far as the user may: with it goes what it waits for. @throws Failure */
const kill = async ({ peer, id }: Node, upstream: Upstream, credential: Entry["credential"]): Promise<void> => {
  if (id === undefined) return;
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Failure("timeout", "the cancel took too long")), cancelWithinMs);
  let made: Node | undefined;
  const say = async (): Promise<void> => {
    made = await reach(upstream, { at: peer, version: 2, credential });
    // a user that may end nobody's connection has its own closed all the same
    await ask(made.socket, command("CLIENT", "KILL", "ID", String(id)));
  };
  try {
    await Promise.race([say(), late]);
  } finally {
    clearTimeout(timer);
    made?.socket.destroy();
  }
};
/** Ends the session's connections on all of its nodes at once. @throws Failure when one can't be ended */
export const cancel = async ({ open, credential }: RedisServer, upstream: Upstream): Promise<void> => {
  const ended = await Promise.allSettled(open().map((node) => kill(node, upstream, credential)));
  for (const one of ended) if (one.status === "rejected") throw one.reason;
};

/** One command, its words as in redis-cli and `values` behind them. @throws Failure `upstream_refused` with the server's message; the connection is still good then */
export const run = async (
  server: Server,
  statement: string,
  values: readonly (string | null)[] = [],
): Promise<Rows> => {
  if (values.includes(null)) throw new Failure("unsupported", "a command here has no value that is nothing");
  const words = inlineCommand(Buffer.from(statement));
  if (!words) throw new Failure("invalid", "a command without a word");
  const given = parseValue(words);
  const all = [...(Array.isArray(given) ? given.map(String) : []), ...values.map(String)];
  try {
    const { value } = await ask(server.socket, command(...all), answerBytes);
    if (!isError(value)) return rowsOf(value);
    throw new Failure("upstream_refused", value.error, { details: { code: prefixOf(value) } });
  } catch (thrown) {
    const failure = toFailure(thrown);
    if (failure.details?.["code"] === undefined) server.socket.destroy();
    throw failure;
  }
};
