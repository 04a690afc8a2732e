// The client's side: a greeting before anything is known of it, TLS or nothing, and the token, which comes as a password.
// Through the gate the greeting is the target's own, so the database is dialled first. Nothing is read as a login before TLS,
// no byte sent before TLS is taken for one sent inside it, and of what was claimed before TLS nothing is believed.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
import { randomBytes, randomInt } from "node:crypto";
import { Failure, toFailure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { dismiss, quiet } from "../bytes.ts";
import type { Arrival, Authorised, Client, Gate, OwnKeys, Socket } from "../protocol.ts";
import { agreed, type Capabilities, offered, shown } from "./capability.ts";
import { greet, type MysqlServer, type Opened } from "./client.ts";
import {
  autocommit,
  errorPayload,
  type Greeting,
  greeting,
  isTlsRequest,
  loginLimit,
  more,
  nonceSize,
  parseResponse,
  plugins,
  type Response,
  sha2,
  switchTo,
} from "./message.ts";
import { type Exchange, exchange, packets } from "./packet.ts";

export interface MysqlClient extends Client {
  /** What is in force on both legs. */
  readonly agreed: Capabilities;
  /** The number of the packet that it waits for. */
  readonly next: number;
  /** The id in its greeting where that one was ours; through the gate it is the target's own. */
  readonly connection?: number;
}
/** What the client's answer asks for, as far as it is not decided elsewhere. */
export interface Wanted extends Pick<Response, "charset" | "maxPacket" | "attributes" | "schema"> {
  readonly agreed: Capabilities;
  /** The connection whose greeting the client was shown. */
  readonly opened?: Opened;
}
type MysqlArrival = Arrival<MysqlClient, Wanted>;

/** What stock clients of both families take for a server of today. */
const version = "8.0.40-sallyport";
/** utf8mb4_general_ci: every server knows it. */
const charset = 45;
/** Our own ids have the top bit, which no server's has until it has served two thousand million connections. */
export const ownIds = 0x8000_0000;

const patience = {
  budget: loginLimit,
  hold: loginLimit,
  code: "protocol",
  words: "the connection ended too early",
} as const;

const ownGreeting = (): Greeting => ({
  ...{ version, charset, status: autocommit, plugin: plugins.sha2 },
  ...offered,
  connection: ownIds + randomInt(ownIds - 1),
  nonce: nonceOf(),
});
/** Random, and without the zero byte that would end it early. */
const nonceOf = (): Buffer => Buffer.from(randomBytes(nonceSize).map((byte) => byte & 0x7f || 1));

const greetingOf = (target: Greeting, grant: Authorised["grant"]): Greeting => ({
  ...target,
  ...shown(target, { localFiles: grant.localFiles }),
  // whatever it proves is not looked at; a method without questions of its own saves the client a way
  plugin: target.plugin === plugins.sha2 ? plugins.sha2 : plugins.native,
});

/** How far a connection has come: `talk` is what has been said, `words` what can be said. */
interface Door {
  socket: Socket;
  readonly talk: Exchange;
  greeted: boolean;
  speakable: boolean;
}

const handshakeRecord = 0x16;
/** The client does not wait for an answer: what is there already is its handshake, for TLS to judge and nobody else to read. */
const refusePlaintext = (socket: Socket): void => {
  const ahead: unknown = socket.read();
  if (!Buffer.isBuffer(ahead)) return;
  // whoever sits on the path could have put it there
  if (ahead[0] !== handshakeRecord) throw new Failure("protocol", "plaintext behind a request for TLS");
  socket.unshift(ahead);
};

const secure = async (door: Door, gate: Gate): Promise<void> => {
  door.speakable = false;
  refusePlaintext(door.socket);
  door.socket = quiet(await gate.secure(door.socket));
  door.talk.over(door.socket);
  door.speakable = true;
};

/** The password's text: it ends with a zero byte, and holds none. */
const textOf = (bytes: Buffer): string => {
  const end = bytes.indexOf(0);
  if (end >= 0 && end !== bytes.length - 1) throw new Failure("protocol", "bytes behind the password");
  return bytes.toString("utf8", 0, end < 0 ? bytes.length : end);
};

const noToken = (): Failure =>
  new Failure("bad_token", "a token is needed as the password", {
    hint: "sally db login NAME prints one; a client that can't send it needs its caching_sha2_password or mysql_clear_password plugin",
  });

/** The token, by the method that the client came with, else by caching_sha2_password; inside TLS it is sent as it is. */
const takeToken = async (talk: Exchange, came: Response): Promise<string> => {
  if (came.plugin === plugins.clear) return textOf(came.auth);
  let proof = came.auth;
  if (came.plugin !== plugins.sha2) {
    talk.put(switchTo(plugins.sha2, nonceOf()));
    proof = await talk.take();
  }
  // an empty password is not asked for: there would be no answer
  if (proof.length < 2) throw noToken();
  talk.put(more(sha2.full));
  return textOf(await talk.take());
};

/** The steps that a client takes whatever it would prove; nothing of it is looked at. */
const waveThrough = async (talk: Exchange, came: Response, plugin: string): Promise<void> => {
  let { auth } = came;
  let method = came.plugin ?? plugins.native;
  if (method !== plugins.native && method !== plugins.sha2 && method !== plugins.clear) {
    method = plugin;
    talk.put(switchTo(method, nonceOf()));
    auth = await talk.take();
  }
  if (method === plugins.sha2 && auth.length > 1) talk.put(more(sha2.known));
};

const insistUser = (came: Response, held: string): void => {
  if (came.user !== held)
    throw new Failure("denied", `this token is for user ${held}, not ${came.user}`, {
      hint: `connect as user ${held}, or ask for another token`,
    });
};

const wantedOf = (came: Response, inForce: Capabilities): Wanted => {
  const { charset, maxPacket, attributes, schema } = came;
  return { charset, maxPacket, attributes, schema, agreed: inForce };
};

const say = (door: Door, of: Greeting): void => {
  door.talk.put(greeting(of));
  door.greeted = true;
};

const receivePlain = async (door: Door, gate: Gate): Promise<MysqlArrival> => {
  const own = ownGreeting();
  say(door, own);
  const first = await door.talk.takeOrEnd();
  if (!first) return { probe: true };
  if (!isTlsRequest(first)) {
    parseResponse(first, own);
    throw new Failure("tls_required", "connections using insecure transport are prohibited here", {
      hint: "connect with --ssl-mode=VERIFY_IDENTITY (mysql) or --ssl-verify-server-cert (mariadb)",
    });
  }
  await secure(door, gate);
  const second = await door.talk.takeOrEnd();
  // it looked at our certificate and left
  if (!second) return { probe: true };
  const came = parseResponse(second, own);
  const inForce = agreed(own, came);
  const token = await takeToken(door.talk, came);
  if (token === "") throw noToken();
  const client = { socket: door.socket, agreed: inForce, next: door.talk.next(), connection: own.connection };
  return { ask: { user: came.user, token: secret(token) }, client, wanted: wantedOf(came, inForce) };
};

const receiveThrough = async (door: Door, { ask, grant, upstream }: Authorised): Promise<MysqlArrival> => {
  const opened = await greet(upstream);
  try {
    const target = greetingOf(opened.greeting, grant);
    say(door, target);
    const first = await door.talk.takeOrEnd();
    if (!first) {
      opened.socket.destroy();
      return { probe: true };
    }
    const came = parseResponse(first, target);
    const inForce = agreed(target, came);
    insistUser(came, ask.user);
    await waveThrough(door.talk, came, target.plugin);
    const client = { socket: door.socket, agreed: inForce, next: door.talk.next() };
    return { ask, client, wanted: { ...wantedOf(came, inForce), opened } };
  } catch (thrown) {
    opened.socket.destroy();
    throw thrown;
  }
};

/** @throws Failure, after it was said to whoever can be expected to understand it */
export const accept = async (socket: Socket, gate: Gate): Promise<MysqlArrival> => {
  const door: Door = { socket: quiet(socket), talk: exchange(socket, patience), greeted: false, speakable: true };
  try {
    return await (gate.arrived ? receiveThrough(door, gate.arrived) : receivePlain(door, gate));
  } catch (thrown) {
    const failure = toFailure(thrown);
    const words = errorPayload(failure, { early: !door.greeted });
    if (door.speakable) await dismiss(door.socket, packets(words, door.talk.next()));
    else door.socket.destroy();
    throw failure;
  }
};

export const refuse = (client: MysqlClient, failure: Failure): Promise<void> =>
  dismiss(client.socket, packets(errorPayload(failure), client.next));

/** The server's own OK. A client whose id is ours may name it in a KILL. */
export const welcome = async (client: MysqlClient, server: MysqlServer, own: OwnKeys): Promise<void> => {
  if (client.connection !== undefined) {
    own.register(queryKey(client.connection), { from: "self" });
    own.register(connectionKey(client.connection), { from: "self", ends: true });
  }
  client.socket.write(packets(server.ready, client.next));
};

/** What a KILL of one of our ids names. */
export const queryKey = (id: number): string => `query ${id}`;
export const connectionKey = (id: number): string => `connection ${id}`;
