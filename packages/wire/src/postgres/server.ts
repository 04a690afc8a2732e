// The client's side: from its first byte to the ask, a refusal in its own words, and the welcome with a cancel key of ours.
// Nothing is read as a login before TLS, and no byte sent before TLS is ever taken for one sent inside it.
// https://www.postgresql.org/docs/18/protocol-flow.html
import { Failure, toFailure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { compose, dismiss, quiet, reader, type TakeOptions, take, takeOrEnd } from "../bytes.ts";
import type { Arrival, Asked, CancelKey, Client, Gate, OwnKeys, Socket } from "../protocol.ts";
import type { PostgresServer } from "./client.ts";
import {
  AuthenticationCleartextPassword,
  AuthenticationOk,
  codes,
  fatal,
  loginLimit,
  negotiate,
  parseStartup,
  type Startup,
  startupLimit,
} from "./message.ts";

export interface PostgresClient extends Client {
  /** 3.2 clients hold cancel keys of 32 bytes, older ones of four. */
  readonly minor: number;
}
/** The client's startup as far as it is not decided elsewhere. */
export type Wanted = Pick<Startup, "parameters" | "replication">;
type PostgresArrival = Arrival<PostgresClient, Wanted>;

const patience: TakeOptions = { hold: loginLimit };
const directTls = 0x16;
/** What such a client must have negotiated, so that bytes meant for another protocol never get here. */
const directAlpn = "postgresql";

/** One name for a session everywhere: what the client holds is the upstream's pid and our secret. */
export const cancelKey = (pid: number, key: Buffer): CancelKey => ({
  protocol: "postgres",
  key: `${pid >>> 0}.${key.toString("hex")}`,
});

const parseCancel = (packet: Buffer): CancelKey => {
  if (packet.length < 16 || packet.length > 12 + 256) throw new Failure("protocol", "invalid length of cancel request");
  return cancelKey(packet.readInt32BE(8), packet.subarray(12));
};

/** A packet without a type; undefined when the client left instead. */
const takeStartup = async (socket: Socket): Promise<Buffer | undefined> => {
  const head = await takeOrEnd(socket, 4, patience);
  if (!head) return undefined;
  const length = head.readInt32BE();
  if (length < 8 || length > startupLimit) throw new Failure("protocol", "invalid length of startup packet");
  return Buffer.concat([head, await take(socket, length - 4, patience)]);
};

/** libpq says nothing to the server when it may not answer with a plain password: channel_binding=require, require_auth. */
const leftAtToken =
  "the client left when asked for its token: it may be asking its user, or demand SCRAM, which a token can't do (channel_binding=require): use the tunnel";

/** The token, sent as a password; undefined when the client left to ask its user for one, as psql does. */
const takePassword = async (socket: Socket): Promise<string | undefined> => {
  socket.write(AuthenticationCleartextPassword);
  const head = await takeOrEnd(socket, 5, patience);
  if (!head) return undefined;
  const length = head.readInt32BE(1);
  if (head[0] !== 0x70 || length < 5 || length > loginLimit)
    throw new Failure("protocol", "expected password response");
  const fields = reader(await take(socket, length - 4, patience));
  const password = fields.cstring();
  if (fields.left() > 0) throw new Failure("protocol", "invalid password packet size");
  return password;
};

const refuseUnread = (socket: Socket): void => {
  // CVE-2021-23214: whoever sits on the path could have put them there
  if (socket.readableLength > 0) throw new Failure("protocol", "bytes behind a request for encryption");
};

const insist = (what: string, named: string | undefined, held: string | undefined): void => {
  if (named !== undefined && held !== undefined && named !== held)
    throw new Failure("denied", `this token is for ${what} ${held}, not ${named}`, {
      hint: `connect as ${what} ${held}, or ask for another token`,
    });
};

/** Whom the startup asks to be. Through the gate it must be whom the token stands for. */
const askOf = (startup: Startup, gate: Gate): Asked => {
  if (!gate.arrived) return { user: startup.user, name: startup.database ?? startup.user };
  const { user, name } = gate.arrived.ask;
  insist("user", startup.user, user);
  insist("database", startup.database, name);
  return { user, name: name ?? startup.database ?? user };
};

const arrive = async (socket: Socket, startup: Startup, gate: Gate): Promise<PostgresArrival> => {
  const negotiated = negotiate(startup);
  if (negotiated) socket.write(negotiated);
  const asked = askOf(startup, gate);
  const wanted = { parameters: startup.parameters, replication: startup.replication };
  const client = { socket, minor: startup.minor };
  if (gate.arrived) return { ask: asked, client, wanted };
  const password = await takePassword(socket);
  return password === undefined
    ? { probe: true, note: leftAtToken }
    : { ask: { ...asked, token: secret(password) }, client, wanted };
};

/** How far a connection has come; `speakable`: an ErrorResponse would be understood. */
interface Door {
  socket: Socket;
  inside: boolean;
  speakable: boolean;
}

const secure = async (door: Door, gate: Gate, alpn?: string): Promise<void> => {
  door.speakable = false;
  door.socket = quiet(await gate.secure(door.socket, alpn));
  door.inside = true;
};

/** Answers requests for encryption until something else comes. Each may be made once. */
const open = async (door: Door, gate: Gate): Promise<Buffer | undefined> => {
  const asked = new Set<number>();
  for (;;) {
    const packet = await takeStartup(door.socket);
    const code = packet?.readInt32BE(4) ?? 0;
    if (code !== codes.ssl && code !== codes.gss) return packet;
    if (packet?.length !== 8 || asked.has(code)) throw new Failure("protocol", "repeated request for encryption");
    asked.add(code);
    refuseUnread(door.socket);
    if (code === codes.gss || gate.arrived) door.socket.write("N");
    else if (door.inside) throw new Failure("protocol", "request for encryption inside TLS");
    else {
      door.socket.write("S");
      await secure(door, gate);
    }
  }
};

const receive = async (door: Door, gate: Gate): Promise<PostgresArrival> => {
  if (!gate.arrived) {
    const first = await takeOrEnd(door.socket, 1);
    if (!first) return { probe: true };
    door.socket.unshift(first);
    if (first[0] === directTls) await secure(door, gate, directAlpn);
  }
  const packet = await open(door, gate);
  if (!packet) return { probe: true };
  if (packet.readInt32BE(4) === codes.cancel)
    return { cancel: parseCancel(packet), client: { socket: door.socket, minor: 0 } };
  door.speakable = true;
  const startup = parseStartup(packet);
  if (!door.inside)
    throw new Failure("tls_required", "a login here needs TLS", { hint: "connect with sslmode=verify-full" });
  return arrive(door.socket, startup, gate);
};

/** @throws Failure, after it was said to whoever can be expected to understand it */
export const accept = async (socket: Socket, gate: Gate): Promise<PostgresArrival> => {
  const door: Door = { socket: quiet(socket), inside: gate.arrived !== undefined, speakable: false };
  try {
    return await receive(door, gate);
  } catch (thrown) {
    const failure = toFailure(thrown);
    if (door.speakable) await dismiss(door.socket, fatal(failure));
    else door.socket.destroy();
    throw failure;
  }
};

export const refuse = (client: PostgresClient, failure: Failure): Promise<void> =>
  dismiss(client.socket, fatal(failure));

export const welcome = async (client: PostgresClient, server: PostgresServer, own: OwnKeys): Promise<void> => {
  const pieces = [AuthenticationOk, ...server.parameters];
  if (server.key) {
    const key = own.random(client.minor >= 2 ? 32 : 4);
    own.register(cancelKey(server.key.pid, key).key);
    pieces.push(compose("K").i32(server.key.pid).bytes(key).end());
  }
  client.socket.write(Buffer.concat([...pieces, ...server.notices, server.ready]));
};
