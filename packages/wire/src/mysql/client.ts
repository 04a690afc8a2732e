// The database's side: TLS or nothing, a login by the methods that the credential allows, a cancel, one statement.
// A server that asks for a weaker proof than expected gets none: an IAM token is sent when it is asked for in clear, inside
// verified TLS, and a password only by the two methods that keep it.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
import { createHash } from "node:crypto";
import type { Grant } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { Failure } from "@sallyport/core/failure";
import type { Secret } from "@sallyport/core/secret";
import { quiet } from "../bytes.ts";
import type { Peer, Server, Socket, Upstream } from "../protocol.ts";
import { serverError, unexpected, wordedUpstream } from "./answer.ts";
import { asked, type Capabilities, capability, plain } from "./capability.ts";
import { type Greeting, heads, type Opening, parseGreeting, plugins, response, sha2, tlsRequest } from "./message.ts";
import { type Exchange, exchange, reader } from "./packet.ts";
import { readyStatus } from "./result.ts";
import { run } from "./run.ts";
import type { Wanted } from "./server.ts";

/** A connection that has been greeted and has said nothing yet. */
export interface Opened {
  readonly socket: Socket;
  readonly peer: Peer;
  readonly greeting: Greeting;
}
export interface MysqlServer extends Server {
  /** The server's own id of this connection. */
  readonly connection: number;
  /** The OK that ended the login, as it came. */
  readonly ready: Buffer;
  readonly agreed: Capabilities;
  /** LOAD DATA LOCAL was asked for, and is allowed. */
  readonly localFiles: boolean;
  /** The database that the login named. */
  readonly schema: string | undefined;
}

// all that a server may say until it is ready, and in answer to an administrative statement
const loginBytes = 65_536;
const cancelWithinMs = 5_000;
const maxPacket = 0x4000_0000;
/** utf8mb4_general_ci. */
const charset = 45;

const gone = { code: "upstream_unreachable", words: "the database closed the connection too early" } as const;
/** Dials, and hears the greeting: the one thing that a server says unasked. */
export const greet = async (upstream: Upstream, at?: Peer): Promise<Opened> => {
  const { socket, peer } = await upstream.tcp(at);
  quiet(socket);
  try {
    const payload = await exchange(socket, { ...gone, budget: loginBytes }).take();
    if (payload[0] === heads.error) throw serverError(payload);
    return { socket, peer, greeting: parseGreeting(payload) };
  } catch (thrown) {
    socket.destroy();
    throw wordedUpstream(thrown);
  }
};

type Password = Extract<Credential, { as: "password" }>;
const digest = (algorithm: "sha1" | "sha256", ...parts: readonly Uint8Array[]): Buffer =>
  parts.reduce((hash, part) => hash.update(part), createHash(algorithm)).digest();
const xor = (left: Buffer, right: Buffer): Buffer => Buffer.from(left.map((byte, at) => byte ^ (right[at] ?? 0)));

/** What each method answers to a nonce; an empty password has nothing to prove. */
const scrambles: Readonly<Record<string, (password: Buffer, nonce: Buffer) => Buffer>> = {
  [plugins.native]: (password, nonce) => {
    const once = digest("sha1", password);
    return xor(once, digest("sha1", nonce, digest("sha1", once)));
  },
  [plugins.sha2]: (password, nonce) => {
    const once = digest("sha256", password);
    return xor(once, digest("sha256", digest("sha256", once), nonce));
  },
};
const scramble = (plugin: string, password: Secret, nonce: Buffer): Buffer | undefined => {
  const text = password.reveal();
  return text === "" ? Buffer.alloc(0) : scrambles[plugin]?.(Buffer.from(text), nonce);
};
const inClear = (password: Secret): Buffer => Buffer.from(`${password.reveal()}\0`);

const weaker = (plugin: string, { methods }: Password): Failure =>
  new Failure("upstream_refused", `the database asks for ${JSON.stringify(plugin)}, which is not what it should`, {
    hint:
      methods === "clear"
        ? "make the database user one of IAM: identified with AWSAuthenticationPlugin as 'RDS'"
        : "a password is never sent in clear: identify the user with caching_sha2_password or mysql_native_password",
  });

/** Answers the server until it is satisfied: its OK. */
const authenticate = async (talk: Exchange, credential: Password, begun: string): Promise<Buffer> => {
  const { password, methods } = credential;
  let plugin = begun;
  let switched = false;
  let proven = methods === "challenge";
  let full = false;

  const switchMethod = (payload: Buffer): void => {
    const fields = reader(payload, 1);
    // a lone 0xfe asks for the hash of before MySQL 4.1
    plugin = fields.left() === 0 ? "mysql_old_password" : fields.cstring().toString("latin1");
    // each method once: a second question is a second chance to learn something
    const expected = methods === "clear" ? plugin === plugins.clear : plugin in scrambles;
    if (!expected || switched) throw weaker(plugin, credential);
    switched = true;
    proven = true;
    const nonce = fields.rest().subarray(0, 20);
    talk.put(methods === "clear" ? inClear(password) : (scramble(plugin, password, nonce) ?? Buffer.alloc(0)));
  };
  const goOn = (payload: Buffer): void => {
    const known = plugin === plugins.sha2 && methods === "challenge" && !full && payload.length === 2;
    if (known && payload[1] === sha2.known) {
      full = true;
      return;
    }
    if (!known || payload[1] !== sha2.full) throw unexpected("a question that belongs to no login of ours");
    full = true;
    talk.put(inClear(password));
  };

  for (;;) {
    const payload = await talk.take();
    if (payload[0] === heads.ok) {
      if (!proven) throw unexpected("a login without its proof");
      return payload;
    }
    if (payload[0] === heads.error) throw serverError(payload, refusedHint(credential));
    if (payload[0] === heads.eof) switchMethod(payload);
    else if (payload[0] === heads.more) goOn(payload);
    else throw unexpected("a packet that belongs to no login");
  }
};

const refusedHint = ({ user, methods }: Password): string =>
  methods === "clear"
    ? `the proxy needs rds-db:connect for ${user}, and the database user has to be identified with AWSAuthenticationPlugin as 'RDS'; and a clock that is right`
    : `the password of ${user} is not, or no longer, the one we hold`;

/** What the client told of itself, and that we stand between. */
const attributesOf = (wanted: Wanted | undefined): Wanted["attributes"] => {
  const name = "_proxy_name";
  const theirs = (wanted?.attributes ?? []).filter(([key]) => key.toString() !== name);
  return [...theirs, [Buffer.from(name), Buffer.from("sallyport")]];
};

/** TLS, and then who we are: the first half is said twice, because servers believe either. */
const enter = async (
  opened: Opened,
  upstream: Upstream,
  opening: Opening,
): Promise<{ socket: Socket; talk: Exchange }> => {
  const { socket, greeting } = opened;
  if (!(greeting.flags & capability.ssl))
    throw new Failure("upstream_untrusted", "the database does not offer TLS", {
      hint: "turn require_secure_transport on",
    });
  const talk = exchange(socket, { ...gone, budget: loginBytes }, 1);
  if (socket.readableLength > 0) throw new Failure("upstream_untrusted", "the database sent bytes before TLS");
  talk.put(tlsRequest(opening));
  const secured = quiet(await upstream.secure(socket));
  talk.over(secured);
  return { socket: secured, talk };
};

/** What is granted beside the user. */
type Allowed = Pick<Grant, "dbName" | "localFiles">;

const settle = async (opened: Opened, upstream: Upstream, allowed: Allowed, wanted?: Wanted): Promise<MysqlServer> => {
  const { greeting, peer } = opened;
  const inForce = wanted?.agreed ?? plain;
  const schema = wanted?.schema ?? allowed.dbName;
  const localFiles = allowed.localFiles && (inForce.flags & greeting.flags & capability.localFiles) !== 0;
  const capabilities = asked(inForce, greeting, { localFiles, schema: schema !== undefined });
  const opening: Opening = {
    ...capabilities,
    charset: wanted?.charset ?? charset,
    maxPacket: wanted?.maxPacket ?? maxPacket,
  };
  const { socket, talk } = await enter(opened, upstream, opening);
  const credential = await upstream.credential();
  if (credential.as !== "password") throw new Failure("internal", "MySQL logs in with a password");
  const { user, password, methods } = credential;
  // for a token, a method that shows nothing: the server then asks for the right one by itself
  const plugin =
    methods === "challenge" && greeting.plugin in scrambles
      ? greeting.plugin
      : methods === "challenge"
        ? plugins.sha2
        : plugins.native;
  const auth = (methods === "challenge" && scramble(plugin, password, greeting.nonce)) || Buffer.alloc(0);
  talk.put(response({ ...opening, user, auth, schema, plugin, attributes: attributesOf(wanted) }));
  const ready = await authenticate(talk, credential, plugin);
  // an OK that can't be read is the login's failure: a relay has begun when it asks
  readyStatus(ready);
  return { socket, peer, ready, schema, localFiles, connection: greeting.connection, agreed: inForce };
};

export const login = async (upstream: Upstream, grant: Grant, wanted?: Wanted): Promise<MysqlServer> => {
  const opened = wanted?.opened ?? (await greet(upstream));
  try {
    return await settle(opened, upstream, grant, wanted);
  } catch (thrown) {
    opened.socket.destroy();
    throw wordedUpstream(thrown);
  }
};

/** A second connection to the session's own peer, as the same user, says KILL QUERY there. */
export const cancel = async (server: MysqlServer, upstream: Upstream): Promise<void> => {
  const opened = await greet(upstream, server.peer);
  const timer = setTimeout(() => opened.socket.destroy(), cancelWithinMs);
  let socket: Socket | undefined;
  try {
    const made = await settle(opened, upstream, { dbName: undefined, localFiles: false });
    socket = made.socket;
    await run(made, `KILL QUERY ${server.connection}`);
  } catch (thrown) {
    const failure = wordedUpstream(thrown);
    // it has ended by itself
    if (failure.details?.["errno"] !== 1094) throw failure;
  } finally {
    clearTimeout(timer);
    socket?.destroy();
    opened.socket.destroy();
  }
};
