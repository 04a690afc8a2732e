// The database's side: TLS from the first byte, hello, and MONGODB-AWS: the server asks for a signed GetCallerIdentity and shows it
// to STS. What we sign is good at the host that it names, so that host must be STS, and its nonce must begin with ours, or it
// could have been asked of another. A cancel, over a connection of its own; one command.
// https://github.com/mongodb/specifications/blob/master/source/auth/auth.md#mongodb-aws
import { randomBytes } from "node:crypto";
import type { Grant } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { Failure, toFailure } from "@sallyport/core/failure";
import { Binary, type Document, EJSON, serialize } from "bson";
import { quiet, take } from "../bytes.ts";
import type { Rows, Server, Socket, Upstream } from "../protocol.ts";
import { type Cursors, openCursors } from "./cursor.ts";
import { documentEnd } from "./document.ts";
import { type Limits, limitsOf } from "./hello.ts";
import { headerSize, message, parseHeader, query, readDocument, replyBody } from "./message.ts";
import type { Wanted } from "./server.ts";

export interface MongodbServer extends Server {
  readonly limits: Limits;
  /** Which cursors are this user's. */
  readonly cursors: Cursors;
  /** What the server knows this connection as, among all that are logged in as the same role. */
  readonly application: string;
}

// all that a server may say in one answer until the login is over, and to an administrative command
const loginBytes = 65_536;
const answerBytes = 4 * 1_048_576;
const cancelWithinMs = 5_000;
const nonceSize = 32;

const ownedBy = openCursors();
const gone = { code: "upstream_unreachable", words: "the database closed the connection too early" } as const;

const unexpected = (what: string): Failure =>
  new Failure("upstream_refused", `the database answered with ${what}`, {
    hint: "look at what stands at the endpoint: it does not speak as MongoDB does",
  });

/** A malformed answer is the server's fault, not the client's. */
const wordedUpstream = (thrown: unknown): Failure => {
  const failure = toFailure(thrown);
  return failure.code === "protocol" || failure.code === "too_large" || failure.code === "unsupported"
    ? unexpected(`a message that is not right: ${failure.message}`)
    : failure;
};

/** Asks and hears, one command at a time. */
const converse = (socket: Socket) => {
  let next = 1;
  return async (make: (requestId: number) => Buffer, most = loginBytes): Promise<Document> => {
    const requestId = next++;
    socket.write(make(requestId));
    const head = await take(socket, headerSize, gone);
    const { length, responseTo } = parseHeader(head, 0, most);
    const whole = Buffer.concat([head, await take(socket, length - headerSize, gone)]);
    if (responseTo !== requestId) throw unexpected("an answer to something else");
    return readDocument(replyBody(whole));
  };
};
type Converse = ReturnType<typeof converse>;

const textIn = (said: Document, name: string): string => {
  const value: unknown = said[name];
  return typeof value === "string" ? value.slice(0, 500) : "";
};
/** The server's own words where it refused. */
const insistOk = (said: Document, hint?: string): Document => {
  if (said["ok"] === 1 || said["ok"] === true) return said;
  const words = textIn(said, "errmsg");
  throw new Failure("upstream_refused", words === "" ? "the database refused without a reason" : words, {
    details: { code: said["code"], codeName: said["codeName"] },
    ...(hint === undefined ? {} : { hint }),
  });
};

const userHint = (user: string): string =>
  `the role must be a user of the database: db.getSiblingDB("$external").createUser({user: ${JSON.stringify(user)}, mechanisms: ["MONGODB-AWS"], roles: [{role: "readWrite", db: "<name>"}]})`;

/** STS, and nobody who calls himself so: what is signed for it opens an AWS account's door to whoever gets it. */
export const isSts = (host: string): boolean =>
  /^sts(\.[a-z]{2,4}(-[a-z]+){1,3}-\d{1,2})?\.amazonaws\.com(\.cn)?$/.test(host) && host !== "sts.amazonaws.com.cn";

const bytesIn = (said: Document, name: string): Buffer => {
  const value: unknown = said[name];
  if (!(value instanceof Binary)) throw unexpected(`no ${name} in its part of the login`);
  return Buffer.from(value.buffer);
};
const documentIn = (said: Document): Document => {
  const bytes = bytesIn(said, "payload");
  if (documentEnd(bytes, 0, bytes.length) !== bytes.length) throw unexpected("bytes behind its part of the login");
  return readDocument(bytes);
};

type Aws = Extract<Credential, { as: "aws" }>;
const authenticate = async (ask: Converse, credential: Aws): Promise<void> => {
  const nonce = randomBytes(nonceSize);
  const command = (document: Document) => (requestId: number) =>
    message({ ...document, $db: "$external" }, { requestId });
  const opening = new Binary(serialize({ r: new Binary(nonce), p: "n".charCodeAt(0) }));
  const begun = insistOk(
    await ask(command({ saslStart: 1, mechanism: "MONGODB-AWS", payload: opening })),
    userHint(credential.user),
  );
  if (begun["done"] === true) throw unexpected("a login that nothing was shown for");
  const challenge = documentIn(begun);
  const theirs = bytesIn(challenge, "s");
  const host: unknown = challenge["h"];
  if (theirs.length !== 2 * nonceSize || !theirs.subarray(0, nonceSize).equals(nonce))
    throw unexpected("a nonce that does not begin with ours");
  if (typeof host !== "string" || !isSts(host))
    throw new Failure(
      "upstream_refused",
      `the database wants a signature for ${JSON.stringify(String(host).slice(0, 100))}`,
      {
        hint: "it must be STS's: look at what stands at the endpoint",
      },
    );
  const { authorization, date, sessionToken } = await credential.sign(theirs, host);
  const proof = { a: authorization, d: date, ...(sessionToken ? { t: sessionToken.reveal() } : {}) };
  const conversationId: unknown = begun["conversationId"];
  const payload = new Binary(serialize(proof));
  const ended = insistOk(await ask(command({ saslContinue: 1, conversationId, payload })), userHint(credential.user));
  if (ended["done"] !== true) throw unexpected("a login without an end");
};

const os = { type: process.platform };
const driver = { name: "sallyport", version: "0.1.0" };
/** Names at most so long are taken. */
const longestName = 128;
const nameOf = (application: string | undefined): string => {
  const mark = `sallyport-${randomBytes(12).toString("hex")}`;
  const own = application === undefined ? "" : `${application} `;
  return Buffer.byteLength(own) + mark.length <= longestName ? `${own}${mark}` : mark;
};

interface Opened {
  readonly ask: Converse;
  readonly limits: Limits;
}
const open = async (socket: Socket, credential: Credential, application: string): Promise<Opened> => {
  if (credential.as !== "aws") throw new Failure("internal", "this protocol logs in as a role");
  const ask = converse(socket);
  const client = { application: { name: application }, driver, os };
  const hello = insistOk(await ask((id) => query({ isMaster: 1, helloOk: true, client }, id)));
  await authenticate(ask, credential);
  return { ask, limits: limitsOf(hello) };
};

/** Who counts as the same person to the server's cursors. */
const whoOf = ({ user, dbUser }: Pick<Grant, "user" | "dbUser">): string => JSON.stringify([user, dbUser]);

/** @throws Failure `upstream_…` */
export const login = async (upstream: Upstream, grant: Grant, wanted?: Wanted): Promise<MongodbServer> => {
  const { socket, peer } = await upstream.tcp();
  quiet(socket);
  let secured: Socket = socket;
  try {
    secured = quiet(await upstream.secure(socket));
    const application = nameOf(wanted?.application);
    const { limits } = await open(secured, await upstream.credential(), application);
    const cursors = ownedBy(grant.database, whoOf(grant));
    secured.once("close", cursors.leave);
    if (secured.closed) cursors.leave();
    return { socket: secured, peer, limits, cursors, application };
  } catch (thrown) {
    secured.destroy();
    socket.destroy();
    throw wordedUpstream(thrown);
  }
};

/** Operations of ours that go by the session's name, as far as the role may see and end its own. */
const running = async (ask: Converse, application: string): Promise<readonly unknown[]> => {
  const own = { currentOp: 1, $ownOps: true, active: true, appName: application, $db: "admin" };
  const { inprog } = insistOk(await ask((requestId) => message(own, { requestId }), answerBytes)) as {
    inprog?: readonly { opid?: unknown; appName?: unknown }[];
  };
  // a server that does not know the filter lists more: only what is named so is ended
  return (inprog ?? []).filter(({ appName }) => appName === application).map(({ opid }) => opid);
};

/** Ends what the session runs, over another connection that logs in the same way: the protocol has no request that cancels. */
export const cancel = async ({ peer, application }: MongodbServer, upstream: Upstream): Promise<void> => {
  const { socket } = await upstream.tcp(peer);
  quiet(socket);
  const timer = setTimeout(() => socket.destroy(), cancelWithinMs);
  let secured: Socket = socket;
  try {
    secured = quiet(await upstream.secure(socket));
    const { ask } = await open(secured, await upstream.credential(), nameOf("cancel"));
    for (const op of await running(ask, application))
      insistOk(await ask((requestId) => message({ killOp: 1, op, $db: "admin" }, { requestId })));
  } catch (thrown) {
    throw wordedUpstream(thrown);
  } finally {
    clearTimeout(timer);
    secured.destroy();
    socket.destroy();
  }
};

/** One command, as extended JSON with its `$db`; the answer is one row of it. @throws Failure `upstream_refused` with the server's message; the connection is still good then */
export const run = async (server: Server, statement: string, values: readonly unknown[] = []): Promise<Rows> => {
  if (values.length > 0) throw new Failure("unsupported", "a command here has no values beside it");
  try {
    const command = EJSON.parse(statement) as Document;
    const said = await converse(server.socket)((requestId) => message(command, { requestId }), answerBytes);
    return [[EJSON.stringify(insistOk(said))]];
  } catch (thrown) {
    const failure = wordedUpstream(thrown);
    if (failure.code !== "upstream_refused" || failure.details?.["code"] === undefined) server.socket.destroy();
    throw failure;
  }
};
