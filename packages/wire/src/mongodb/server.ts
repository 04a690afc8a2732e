// The client's side: TLS or nothing, hellos for as long as it likes, and the token, which comes by SASL PLAIN. A driver keeps
// connections that watch and never log in; they are answered here, slowly and in little space, and reach no database. Through
// the gate a client is in already: the first command that is no monitor's begins its session.
// https://github.com/mongodb/specifications/blob/master/source/auth/auth.md
import { setTimeout as wait } from "node:timers/promises";
import { Failure, toFailure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { Binary, type Document } from "bson";
import { dismiss, quiet, take, takeOrEnd } from "../bytes.ts";
import type { Arrival, Asked, Client, Gate, Socket } from "../protocol.ts";
import type { MongodbServer } from "./client.ts";
import { answerMonitor, applicationOf, isHello, isMonitoring } from "./hello.ts";
import {
  type Asker,
  answer,
  errorDocument,
  errors,
  headerSize,
  loginLimit,
  parseHeader,
  parseRequest,
  type Request,
  readDocument,
} from "./message.ts";

export interface MongodbClient extends Client {
  /** What it waits for: the answer to its login, or to the command that began its session. */
  readonly pending: Asker | undefined;
  /** It logged in and is to be told so. */
  readonly sasl: boolean;
}
export interface Wanted {
  /** The client's own name for itself. */
  readonly application?: string;
}
type MongodbArrival = Arrival<MongodbClient, Wanted>;

const handshakeRecord = 0x16;
const external = "$external";
/** So many at once, and one more each second: a monitor asks every ten seconds, a client a few times until it logs in. */
const burst = 6;
const eachMs = 1_000;

const howTo = "log in with authMechanism=PLAIN&authSource=$external&tls=true: sally db login NAME prints the whole URL";

/** How far a connection has come. */
interface Door {
  socket: Socket;
  /** Whom a refusal would be for. */
  asker: Asker | undefined;
  secured: boolean;
}

/** When the next may be answered. What comes too fast waits, and those behind it with it. */
const openPace = () => {
  let left = burst;
  let at = performance.now();
  return async (): Promise<void> => {
    const now = performance.now();
    left = Math.min(burst, left + (now - at) / eachMs) - 1;
    at = now;
    if (left < 0) await wait(-left * eachMs, undefined, { ref: false });
  };
};

interface PlainLogin {
  readonly user: string;
  readonly token: string;
}

/** RFC 4616: who acts, as whom, by what. */
const parsePlain = (payload: unknown): PlainLogin => {
  const bytes = payload instanceof Binary ? Buffer.from(payload.buffer) : Buffer.from(String(payload ?? ""), "base64");
  const parts = bytes.toString("utf8").split("\0");
  const [as = "", user = "", token = ""] = parts;
  if (parts.length !== 3 || user === "" || (as !== "" && as !== user))
    throw new Failure("protocol", "a SASL PLAIN login that is not right");
  if (token === "") throw new Failure("bad_token", "a token is needed as the password", { hint: howTo });
  return { user, token };
};

const parseSasl = (request: Request): Document => {
  const said = readDocument(request.body);
  if (said["mechanism"] !== "PLAIN")
    throw new Failure("unsupported", `mechanism ${JSON.stringify(said["mechanism"])} is not offered here`, {
      hint: howTo,
    });
  return said;
};

/** The one command that logs in. On the plain port it carries the token; through the gate nothing of it is looked at but its form. */
const askOf = (request: Request, { arrived }: Gate): Asked => {
  const said = parseSasl(request);
  if (arrived) return arrived.ask;
  // S-05: which users are meant is not the client's to say
  if (request.db !== external)
    throw new Failure("denied", `a login here is on ${external}, not ${JSON.stringify(request.db)}`, { hint: howTo });
  const { user, token } = parsePlain(said["payload"]);
  return { user, token: secret(token) };
};

const tooEarly = (name: string): Failure =>
  new Failure("not_logged_in", `command ${JSON.stringify(name.slice(0, 64))} needs a login`, { hint: howTo });

/** The rest of a message whose header is known. */
const takeRest = async (socket: Socket, head: Buffer, length: number): Promise<Buffer> =>
  Buffer.concat([head, await take(socket, length - headerSize, { hold: loginLimit + headerSize })]);

/** The next short request, or `long`: its header was put back. Undefined when the client left. */
const takeRequest = async (door: Door, gate: Gate): Promise<Request | Asker | undefined> => {
  const { socket } = door;
  // on the plain port nothing longer is any good; through the gate it is the first command
  const first = await takeOrEnd(socket, 1, gate.arrived ? {} : { hold: loginLimit + headerSize });
  if (!first) return undefined;
  // whoever begins a message must end it
  gate.deadline.start();
  const head = Buffer.concat([first, await take(socket, headerSize - 1)]);
  const { length, requestId, opcode } = parseHeader(head, 0, gate.arrived ? undefined : loginLimit);
  door.asker = { requestId, opcode };
  if (length > loginLimit) {
    socket.unshift(head);
    return door.asker;
  }
  const whole = await takeRest(socket, head, length);
  const request = readable(whole, gate);
  if (gate.arrived && (request === undefined || (!isHello(request.name) && request.name !== "saslStart"))) {
    // the relay judges it: here only what a monitor sends is no beginning
    socket.unshift(whole);
    return door.asker;
  }
  return request;
};
/** Through the gate a message may be more than a monitor's would be. */
const readable = (whole: Buffer, gate: Gate): Request | undefined => {
  try {
    return parseRequest(whole);
  } catch (thrown) {
    if (gate.arrived) return undefined;
    throw thrown;
  }
};
const isRequest = (request: Request | Asker): request is Request => "name" in request;

/** Answers monitors until somebody logs in, or begins. */
const converse = async (door: Door, gate: Gate): Promise<MongodbArrival> => {
  const pace = openPace();
  let application: string | undefined;
  for (;;) {
    const request = await takeRequest(door, gate);
    if (!request) return { probe: true };
    const wanted = application === undefined ? {} : { application };
    const { socket } = door;
    if (!isRequest(request)) {
      const ask = gate.arrived?.ask;
      if (!ask) throw new Failure("protocol", "a login that is not right");
      return { ask, client: { socket, pending: request, sasl: false }, wanted };
    }
    if (request.name === "saslStart")
      return { ask: askOf(request, gate), client: { socket, pending: request, sasl: true }, wanted };
    if (!isMonitoring(request.name)) throw tooEarly(request.name);
    if (isHello(request.name)) application ??= applicationOf(request);
    await pace();
    gate.arrived?.touch?.();
    if (!request.moreToCome) socket.write(answerMonitor(request));
    door.asker = undefined;
    // it may stay as it is, among its like
    gate.deadline.stop();
  }
};

const refusePlaintext = async (door: Door): Promise<never> => {
  const head = await take(door.socket, headerSize, { hold: loginLimit });
  const { length, requestId, opcode } = parseHeader(head, 0, loginLimit);
  door.asker = { requestId, opcode };
  door.secured = true;
  await takeRest(door.socket, head, length);
  throw new Failure("tls_required", "connections without TLS are not taken here", { hint: "connect with tls=true" });
};

const receive = async (door: Door, gate: Gate): Promise<MongodbArrival> => {
  if (!gate.arrived) {
    const first = await takeOrEnd(door.socket, 1);
    if (!first) return { probe: true };
    door.socket.unshift(first);
    if (first[0] !== handshakeRecord) return refusePlaintext(door);
    // drivers negotiate no protocol of their own here
    door.socket = quiet(await gate.secure(door.socket));
  }
  door.secured = true;
  return converse(door, gate);
};

/** A login that is refused is that, whatever the reason: drivers show it as such. */
const words = (asker: Asker, failure: Failure, sasl: boolean): Buffer => {
  const code = sasl && failure.code === "denied" ? { code: errors.bad_token } : {};
  return answer(asker, errorDocument(failure, code));
};

/** @throws Failure, after it was said to whoever can be expected to understand it */
export const accept = async (socket: Socket, gate: Gate): Promise<MongodbArrival> => {
  const door: Door = { socket: quiet(socket), asker: undefined, secured: false };
  try {
    return await receive(door, gate);
  } catch (thrown) {
    const failure = toFailure(thrown);
    if (door.secured && door.asker) await dismiss(door.socket, words(door.asker, failure, true));
    else door.socket.destroy();
    throw failure;
  }
};

export const refuse = ({ socket, pending, sasl }: MongodbClient, failure: Failure): Promise<void> =>
  dismiss(socket, pending && words(pending, failure, sasl));

/** There is no key to hand out: the protocol has no request that cancels. */
export const welcome = async ({ socket, pending, sasl }: MongodbClient, _server: MongodbServer): Promise<void> => {
  if (!sasl || !pending) return;
  socket.write(answer(pending, { conversationId: 1, done: true, payload: new Binary(Buffer.alloc(0)), ok: 1 }));
};
