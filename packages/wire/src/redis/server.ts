// The client's side: TLS from the first byte, and the token, which comes by AUTH or in HELLO. Until then a command is answered that
// it needs a login, and nothing behind the login is looked at before it is done. Through the gate a client is in already: its
// session begins at once, and an AUTH or HELLO of it is a session's like any other.
// https://redis.io/docs/latest/commands/hello/
import { Failure, toFailure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import { dismiss, quiet, takeOrEnd } from "../bytes.ts";
import type { Arrival, Asked, Client, Dialled, Gate, Socket } from "../protocol.ts";
import type { RedisServer } from "./client.ts";
import { isArray, lineEnd, openReader, protocolError } from "./frame.ts";
import type { Version } from "./lane.ts";
import { errorAnswer, errorLine, inlineCommand, loginLimit, simple } from "./message.ts";
import { isWord, textAt, type Words } from "./word.ts";

export interface RedisClient extends Client {
  /** By what it logged in, and waits for the answer to; undefined: it was in when it came. */
  readonly pending: "auth" | "hello" | undefined;
}
export interface Wanted {
  readonly version: Version;
  /** The client's own name for itself. */
  readonly name?: string;
  /** Where it believes to be. */
  readonly dialled?: Dialled;
  /** What it proves itself with, where its role lets it. */
  readonly own?: Secret;
}
type RedisArrival = Arrival<RedisClient, Wanted>;

const handshakeRecord = 0x16;
const mostWords = 10;
/** No client says more than a few things before it logs in. */
const mostRefused = 32;

const howTo = "AUTH <db-user> <token>, with the token that sally db login prints";
const noAuth = errorLine("NOAUTH Authentication required.");
const noAuthHello = errorLine(
  "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
);

const badName = errorLine("ERR Client names cannot contain spaces, newlines or special characters.");

/** What clients say for the user that they were not told: the one of the token. */
export const unnamed = "default";

export interface Auth {
  readonly user: string;
  readonly password: string;
}
/** HELLO as it was asked for; without a version it asks only how things are. */
export interface Hello {
  readonly version: Version | undefined;
  readonly auth: Auth | undefined;
  readonly name: string | undefined;
}
/** @returns the answer to one that can't be understood, in Redis' words */
export const parseHello = (words: Words): Hello | Buffer => {
  const version = words.count > 1 ? textAt(words, 1, 20) : undefined;
  if (version !== undefined && !/^-?\d+$/.test(version))
    return errorLine("ERR Protocol version is not an integer or out of range");
  if (version !== undefined && version !== "2" && version !== "3")
    return errorLine("NOPROTO unsupported protocol version");
  let auth: Hello["auth"];
  let name: string | undefined;
  for (let at = 2; at < words.count; ) {
    const left = words.count - at - 1;
    if (isWord(words, at, "auth") && left >= 2) {
      auth = { user: utf8At(words, at + 1), password: utf8At(words, at + 2) };
      at += 3;
    } else if (isWord(words, at, "setname") && left >= 1) {
      name = utf8At(words, at + 1);
      if (!/^[!-~]*$/.test(name)) return badName;
      at += 2;
    } else return errorLine("ERR Syntax error in HELLO");
  }
  return { version: version === undefined ? undefined : version === "3" ? 3 : 2, auth, name };
};
/** The user and the password of an AUTH; undefined where it has too few or too many arguments. */
export const parseAuth = (words: Words): Auth | undefined => {
  if (words.count === 2) return { user: unnamed, password: utf8At(words, 1) };
  return words.count === 3 ? { user: utf8At(words, 1), password: utf8At(words, 2) } : undefined;
};
const utf8At = (words: Words, at: number): string => words.bytes.toString("utf8", words.starts[at], words.ends[at]);

/** What has come, with at least one byte more; undefined when there is no more. */
const takeMore = async (socket: Socket, before: Buffer): Promise<Buffer | undefined> => {
  const first = await takeOrEnd(socket, 1);
  if (!first) return undefined;
  const rest: unknown = socket.read();
  return Buffer.concat(Buffer.isBuffer(rest) ? [before, first, rest] : [before, first]);
};

/** Where the command ends that these bytes begin with, and its words; undefined while it is not all there. @throws Failure `protocol` */
const parseCommand = (bytes: Buffer): { readonly words: Words; readonly end: number } | undefined => {
  const reader = openReader();
  if (isArray(bytes[0])) {
    const end = reader.read(bytes, 0);
    const { reading } = reader;
    if (reading.total > mostWords) throw protocolError("unauthenticated multibulk length");
    if (reading.open > loginLimit) throw protocolError("unauthenticated bulk length");
    return end < 0 ? undefined : { words: reading, end };
  }
  const end = lineEnd(bytes, 0);
  if (end < 0) return undefined;
  const made = inlineCommand(bytes.subarray(0, end - 1));
  if (made) reader.read(made, 0);
  return { words: reader.reading, end };
};

/** The next command; what comes behind it stays in the socket. Undefined when the client left. @throws Failure `protocol`, `too_large` */
const takeCommand = async (socket: Socket): Promise<Words | undefined> => {
  for (let bytes: Buffer = Buffer.alloc(0); ; ) {
    const more = await takeMore(socket, bytes);
    if (!more) return undefined;
    bytes = more;
    const found = parseCommand(bytes);
    if (!found) {
      if (bytes.length > loginLimit) throw new Failure("too_large", "too many bytes before the login");
      continue;
    }
    if (found.end < bytes.length) socket.unshift(bytes.subarray(found.end));
    return found.words;
  }
};

interface LoginAsked {
  readonly ask: Asked;
  readonly wanted: Wanted;
  readonly pending: "auth" | "hello";
}
const askedBy = ({ user, password }: Auth): Asked => {
  if (password === "") throw new Failure("bad_token", "a token is needed as the password", { hint: howTo });
  return { ...(user === unnamed ? {} : { user }), token: secret(password) };
};

/** A login, or the answer to what is none. */
const understand = (words: Words): LoginAsked | Buffer => {
  if (isWord(words, 0, "auth")) {
    const auth = parseAuth(words);
    if (!auth) return errorLine(words.count < 2 ? wrongNumber("auth") : "ERR syntax error");
    return { ask: askedBy(auth), wanted: { version: 2 }, pending: "auth" };
  }
  if (isWord(words, 0, "reset")) return simple("RESET");
  if (!isWord(words, 0, "hello")) return noAuth;
  const hello = parseHello(words);
  if (Buffer.isBuffer(hello)) return hello;
  if (!hello.auth) return noAuthHello;
  const name = hello.name === undefined ? {} : { name: hello.name };
  return { ask: askedBy(hello.auth), wanted: { version: hello.version ?? 2, ...name }, pending: "hello" };
};
export const wrongNumber = (name: string): string => `ERR wrong number of arguments for '${name}' command`;

const converse = async (socket: Socket, gate: Gate): Promise<RedisArrival> => {
  for (let refused = 0; refused < mostRefused; refused++) {
    const words = await takeCommand(socket);
    if (!words) return { probe: true };
    if (words.count === 0) continue;
    if (isWord(words, 0, "quit")) {
      await dismiss(socket, simple("OK"));
      return { probe: true };
    }
    const said = understand(words);
    if (Buffer.isBuffer(said)) socket.write(said);
    else {
      const { ask, pending, wanted } = said;
      return { ask, client: { socket, pending }, wanted: { ...wanted, ...dialledOf(gate) } };
    }
  }
  throw new Failure("not_logged_in", "too many commands without a login", { hint: howTo });
};
const dialledOf = ({ dialled }: Gate): { readonly dialled?: Dialled } => (dialled ? { dialled } : {});

/** The first command, whatever it is, with the bytes that it came in; undefined for one that is no login for sure, or is none yet. */
const parseFirst = (bytes: Buffer): ReturnType<typeof parseCommand> | "none" => {
  try {
    const found = parseCommand(bytes);
    return found || bytes.length <= loginLimit ? found : "none";
  } catch {
    // what it is, the session will say
    return "none";
  }
};
/** The login that a client begins with whose role lets it prove itself as the user it is to be; anything else stays where it is. */
const takeOwn = async (socket: Socket, user: string): Promise<Omit<LoginAsked, "ask"> | undefined> => {
  for (let bytes: Buffer = Buffer.alloc(0); ; ) {
    const more = await takeMore(socket, bytes);
    if (!more) return undefined;
    bytes = more;
    const found = parseFirst(bytes);
    if (!found) continue;
    const said = found === "none" ? undefined : ownOf(found.words, user);
    socket.unshift(said && found !== "none" ? bytes.subarray(found.end) : bytes);
    return said;
  }
};
const ownOf = (words: Words, user: string): Omit<LoginAsked, "ask"> | undefined => {
  const isHello = isWord(words, 0, "hello");
  const hello = isHello ? parseHello(words) : undefined;
  if (Buffer.isBuffer(hello)) return undefined;
  const auth = isHello ? hello?.auth : isWord(words, 0, "auth") ? parseAuth(words) : undefined;
  if (!auth || (auth.user !== unnamed && auth.user !== user)) return undefined;
  const name = hello?.name === undefined ? {} : { name: hello.name };
  const wanted = { version: hello?.version ?? 2, own: secret(auth.password), ...name } as const;
  return { wanted, pending: isHello ? "hello" : "auth" };
};

/** How far a connection has come. */
interface Door {
  socket: Socket;
  readable: boolean;
}
/** Without a login of its own it is what it would be without the right to one. */
const receiveOwn = async (socket: Socket, gate: Gate, ask: Asked): Promise<RedisArrival> => {
  // a pool's connection may stay silent for as long as it likes
  gate.deadline.stop();
  const said = await takeOwn(socket, ask.user ?? unnamed);
  const { wanted, pending } = said ?? { wanted: { version: 2 } as const, pending: undefined };
  return { ask, client: { socket, pending }, wanted: { ...wanted, ...dialledOf(gate) } };
};
const receive = async (door: Door, gate: Gate): Promise<RedisArrival> => {
  if (gate.arrived) {
    const { ask, grant } = gate.arrived;
    if (grant.ownAuth) return receiveOwn(door.socket, gate, ask);
    return { ask, client: { socket: door.socket, pending: undefined }, wanted: { version: 2, ...dialledOf(gate) } };
  }
  const first = await takeOrEnd(door.socket, 1);
  if (!first) return { probe: true };
  door.socket.unshift(first);
  if (first[0] !== handshakeRecord) {
    door.readable = true;
    throw new Failure("tls_required", "connections without TLS are not taken here", {
      hint: "connect with --tls, or a rediss:// URL",
    });
  }
  door.socket = quiet(await gate.secure(door.socket));
  door.readable = true;
  return converse(door.socket, gate);
};

/** @throws Failure, after it was said to whoever can be expected to understand it */
export const accept = async (socket: Socket, gate: Gate): Promise<RedisArrival> => {
  const door: Door = { socket: quiet(socket), readable: false };
  try {
    return await receive(door, gate);
  } catch (thrown) {
    const failure = toFailure(thrown);
    if (door.readable) await dismiss(door.socket, errorAnswer(failure));
    else door.socket.destroy();
    throw failure;
  }
};

export const refuse = ({ socket }: RedisClient, failure: Failure): Promise<void> =>
  dismiss(socket, errorAnswer(failure));

/** There is no key to hand out: the protocol has no request that cancels. */
export const welcome = async ({ socket, pending }: RedisClient, { node }: RedisServer): Promise<void> => {
  if (pending === "auth") socket.write(simple("OK"));
  else if (pending === "hello") socket.write(node.hello);
};
