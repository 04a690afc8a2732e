// The database's side: TLS or nothing, a login by the methods that the credential allows, a cancel, one statement.
// A server that asks for a weaker proof than expected gets none: nothing secret is sent before the method is known to be right.
// https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-START-UP
import { createHash } from "node:crypto";
import type { Grant } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { Failure, toFailure } from "@sallyport/core/failure";
import { compose, quiet, reader, take, takeOrEnd } from "../bytes.ts";
import type { Rows, Server, Socket, Upstream } from "../protocol.ts";
import { bindingOf, type Scram, startScram } from "../scram.ts";
import { answerDigest } from "./digest.ts";
import { codes, errorFields, SSLRequest, Sync, startup } from "./message.ts";
import type { Wanted } from "./server.ts";

export interface PostgresServer extends Server {
  /** What cancels there; not for the client's eyes. */
  readonly key: { readonly pid: number; readonly secret: Buffer } | undefined;
  /** ParameterStatus, NoticeResponse and ReadyForQuery as they came. */
  readonly parameters: readonly Buffer[];
  readonly notices: readonly Buffer[];
  readonly ready: Buffer;
}

interface Message {
  readonly type: string;
  readonly body: Buffer;
  readonly whole: Buffer;
}

// all that a server may say until it is ready, and in answer to an administrative statement
const loginBytes = 65_536;
const statementBytes = 4 * 1_048_576;
const cancelWithinMs = 5_000;
const passwordType = "p";

const upstreamGone = { code: "upstream_unreachable", words: "the database closed the connection too early" } as const;
const unexpected = (what: string): Failure =>
  new Failure("upstream_refused", `the database answered with ${what}`, {
    hint: "look at what stands at the endpoint: it does not speak as PostgreSQL does",
  });

/** Messages one by one, `budget` bytes of them and no more. */
const messages = (socket: Socket, budget: number) => async (): Promise<Message> => {
  const head = await take(socket, 5, upstreamGone);
  const length = head.readInt32BE(1);
  if (length < 4 || length > budget) throw unexpected("a message of an invalid length, or too many of them");
  budget -= length + 1;
  const body = await take(socket, length - 4, upstreamGone);
  return { type: String.fromCharCode(head[0] ?? 0), body, whole: Buffer.concat([head, body]) };
};

/** The server's own words as a failure. */
const serverError = (body: Buffer, hint?: string): Failure => {
  const { sqlState, message } = errorFields(body);
  return new Failure("upstream_refused", message || "the database refused without a reason", {
    details: { sqlstate: sqlState },
    ...(hint === undefined || !/^(28|42501)/.test(sqlState) ? {} : { hint }),
  });
};

/** Dials and goes to TLS: without it there is no connection. */
const connect = async (upstream: Upstream, at?: Server["peer"]): Promise<Pick<Server, "socket" | "peer">> => {
  const { socket, peer } = await upstream.tcp(at);
  quiet(socket);
  try {
    socket.write(SSLRequest);
    const answer = await take(socket, 1, upstreamGone);
    if (answer[0] !== 0x53)
      throw new Failure("upstream_untrusted", "the database does not offer TLS", { hint: "turn rds.force_ssl on" });
    if (socket.readableLength > 0) throw new Failure("upstream_untrusted", "the database sent bytes before TLS");
    return { socket: quiet(await upstream.secure(socket)), peer };
  } catch (thrown) {
    socket.destroy();
    throw thrown;
  }
};

type Password = Extract<Credential, { as: "password" }>;
const md5 = (...parts: readonly (string | Buffer)[]): string =>
  parts.reduce((hash, part) => hash.update(part), createHash("md5")).digest("hex");
const answer = (text: string): Buffer => compose(passwordType).bytes(Buffer.from(text)).end();

const methodNames: Readonly<Record<number, string>> = {
  ...{ 2: "Kerberos", 3: "the password in clear", 5: "an MD5 hash", 7: "GSSAPI", 9: "SSPI", 10: "SCRAM" },
  ...{ 13: "Redshift's SHA-256 digest", 14: "an identity provider's login" },
};

/** Answers Authentication… messages until the login is through. */
const authenticator = (socket: Socket, credential: Credential) => {
  let scram: Scram | undefined;
  let proven = false;
  let answered = false;

  const password = (method: number, needs: Password["methods"]): Password => {
    // each method once: a second question is a second chance to learn something
    if (credential.as === "password" && credential.methods === needs && !answered) {
      answered = true;
      return credential;
    }
    throw new Failure("upstream_refused", `the database asks for ${methodNames[method]}, which is not what it should`, {
      hint:
        needs === "clear"
          ? "a password is never sent in clear: make the user's pg_hba method scram-sha-256"
          : "grant rds_iam to the database user, so that it logs in with an IAM token",
    });
  };

  const startSasl = (fields: ReturnType<typeof reader>): void => {
    const { password: known } = password(10, "challenge");
    const offered: string[] = [];
    for (let name = fields.cstring(); name !== ""; name = fields.cstring()) offered.push(name);
    scram = startScram({ password: known, offered, binding: bindingOf(socket) });
    const first = Buffer.from(scram.first);
    socket.write(compose(passwordType).cstring(scram.mechanism).i32(first.length).bytes(first).end());
  };

  /** True once the server is satisfied. */
  return async (body: Buffer): Promise<boolean> => {
    const fields = reader(body);
    const method = fields.i32();
    const text = (): string => fields.bytes(fields.left()).toString();
    if (method === 0) {
      if (scram && !proven) throw unexpected("a login without its proof");
      return true;
    }
    if (method === 3) socket.write(compose(passwordType).cstring(password(3, "clear").password.reveal()).end());
    else if (method === 5) {
      const { user, password: known } = password(5, "challenge");
      socket.write(answer(`md5${md5(md5(known.reveal(), user), fields.bytes(4))}\0`));
    } else if (method === 13) socket.write(answerDigest(fields, password(13, "challenge").password.reveal()));
    else if (method === 10) startSasl(fields);
    else if (method === 11 && scram && !proven) socket.write(answer(await scram.answer(text())));
    else if (method === 12 && scram && !proven) {
      scram.verify(text());
      proven = true;
    } else
      throw new Failure(
        "upstream_refused",
        `the database asks for ${methodNames[method] ?? `login method ${method}`}`,
        {
          hint: "PostgreSQL users log in with an IAM token, or a password by scram-sha-256",
        },
      );
    return false;
  };
};

const refusedHint = (credential: Credential): string =>
  credential.as === "password" && credential.help !== undefined
    ? credential.help
    : credential.as === "password" && credential.methods === "clear"
      ? `the proxy needs rds-db:connect for ${credential.user}, and in the database: grant rds_iam to that user; and a clock that is right`
      : `the password of ${credential.user} is not, or no longer, the one we hold`;

/** From the startup to ReadyForQuery. */
const settle = async (socket: Socket, credential: Credential): Promise<Omit<PostgresServer, "socket" | "peer">> => {
  const next = messages(socket, loginBytes);
  const authenticate = authenticator(socket, credential);
  const parameters: Buffer[] = [];
  const notices: Buffer[] = [];
  let key: PostgresServer["key"];
  let inside = false;
  for (;;) {
    const { type, body, whole } = await next();
    if (type === "E") throw serverError(body, refusedHint(credential));
    if (type === "N") notices.push(whole);
    else if (type === "R" && !inside) inside = await authenticate(body);
    else if (type === "S" && inside) parameters.push(whole);
    else if (type === "K" && inside && body.length >= 8)
      key = { pid: body.readInt32BE(), secret: Buffer.from(body.subarray(4)) };
    else if (type === "Z" && inside && body.length === 1) return { key, parameters, notices, ready: whole };
    else throw unexpected(`message ${JSON.stringify(type)} during the login`);
  }
};

/** What the upstream says that no field can hold is a refusal; an error of ours stays what it is. */
const wordedUpstream = (thrown: unknown): Failure => {
  const failure = toFailure(thrown);
  return failure.code === "protocol" ? unexpected("a malformed message") : failure;
};

export const login = async (upstream: Upstream, grant: Grant, wanted?: Wanted): Promise<PostgresServer> => {
  const replication = wanted?.replication;
  if (replication !== undefined && !grant.replication)
    throw new Failure("denied", "replication is not allowed by your roles", {
      hint: "a role needs the option replication: true",
    });
  const { socket, peer } = await connect(upstream);
  try {
    const credential = await upstream.credential();
    const database = grant.dbName ?? grant.dbUser;
    const asks = [["user", credential.user], ["database", database], ...(wanted?.parameters ?? [])] as const;
    socket.write(startup(replication === undefined ? asks : [...asks, ["replication", replication]]));
    return { socket, peer, ...(await settle(socket, credential)) };
  } catch (thrown) {
    socket.destroy();
    throw wordedUpstream(thrown);
  }
};

/** Asks the session's own peer to cancel what it runs, and waits until it has heard. */
export const cancel = async (server: PostgresServer, upstream: Upstream): Promise<void> => {
  if (!server.key) return;
  const { socket } = await connect(upstream, server.peer);
  const timer = setTimeout(() => socket.destroy(), cancelWithinMs);
  try {
    socket.write(compose().i32(codes.cancel).i32(server.key.pid).bytes(server.key.secret).end());
    // it never answers: it closes, and some close without a goodbye
    await takeOrEnd(socket, 1).catch(() => undefined);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
};

const extended = (statement: string, values: readonly (string | null)[]): Buffer => {
  const bind = compose("B").cstring("").cstring("").i16(0).i16(values.length);
  for (const value of values) {
    if (value === null) bind.i32(-1);
    else bind.i32(Buffer.byteLength(value)).bytes(Buffer.from(value));
  }
  return Buffer.concat([
    compose("P").cstring("").cstring(statement).i16(0).end(),
    bind.i16(0).end(),
    compose("E").cstring("").i32(0).end(),
    Sync,
  ]);
};

const rowOf = (body: Buffer): readonly (string | null)[] => {
  const fields = reader(body);
  return Array.from({ length: Math.max(0, fields.i16()) }, () => {
    const length = fields.i32();
    return length < 0 ? null : fields.bytes(length).toString();
  });
};

/** @throws Failure `upstream_refused` with the server's message and SQLSTATE; the connection is still good then */
export const run = async (
  server: PostgresServer,
  statement: string,
  values?: readonly (string | null)[],
): Promise<Rows> => {
  const { socket } = server;
  const next = messages(socket, statementBytes);
  const rows: (readonly (string | null)[])[] = [];
  let error: Failure | undefined;
  try {
    socket.write(values ? extended(statement, values) : compose("Q").cstring(statement).end());
    for (;;) {
      const { type, body } = await next();
      if (type === "D") rows.push(rowOf(body));
      else if (type === "E") error ??= serverError(body);
      else if (type === "Z") break;
      else if ("GHW".includes(type)) throw new Failure("unsupported", "a statement here may not copy");
      else if (!"123CINSATnst".includes(type)) throw unexpected(`message ${JSON.stringify(type)} to a statement`);
    }
  } catch (thrown) {
    socket.destroy();
    throw wordedUpstream(thrown);
  }
  if (error) throw error;
  return rows;
};
