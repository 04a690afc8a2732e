// What stands before a PostgreSQL in place of Redshift Serverless: TLS only, protocol 3.0 only, Redshift's own digest for users
// with temporary credentials, who exist inside as soon as they first log in, and a server that says it is 8.0.2. Its SQL and
// its catalogs are those of today's PostgreSQL, which Redshift's are not.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { connect, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Failure, type FailureCode, toFailure } from "@sallyport/core/failure";
import { type FrontOptions, openFront, relay, stall } from "../front.ts";
import { arrive, cancel } from "../postgres/arrival.ts";
import type { Context } from "../postgres/context.ts";
import { authentication, type Fault } from "../postgres/fault.ts";
import type { Front } from "../postgres/front.ts";
import { type Postgres, quoteName, quoteText } from "../postgres/server.ts";
import { cancelRequest, fatal, parseStartup, type Startup, takeMessage, takeStartup } from "../postgres/startup.ts";
import type { Temporary } from "../services/redshift-serverless.ts";

export const version = "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2, Redshift 1.0.122103";
const serverVersion = "8.0.2";
const newest = 0x3_0000;
const digest = 13;

export interface RedshiftOptions extends Omit<FrontOptions, "upstream" | "check"> {
  readonly postgres: Pick<Postgres, "socket" | "sql">;
  /** What may log in now. */
  readonly temporary: () => readonly Temporary[];
}

const sqlstates: Partial<Record<FailureCode, string>> = {
  protocol: "08P01",
  unsupported: "0A000",
  not_logged_in: "28000",
  bad_token: "28000",
  unavailable: "57P03",
};

/** `version()` says what Redshift's says, in this database and in those that are made from now on. */
export const disguise = async ({ sql }: Pick<Postgres, "sql">, databases: readonly string[]): Promise<void> => {
  const statement = `create or replace function pg_catalog.version() returns text language sql stable as $$select ${quoteText(version)}::text$$`;
  for (const database of new Set(["template1", ...databases])) await sql(database, statement);
};

const sha256 = (...parts: readonly (string | Buffer)[]): Buffer =>
  parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const counted = (bytes: Buffer): Buffer => {
  const head = Buffer.alloc(4);
  head.writeInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
};

/** The two fields of a DigestMessage. */
const parseDigest = (message: Buffer): readonly [proof: Buffer, nonce: Buffer] => {
  const malformed = new Failure("protocol", "expected digest response");
  if (message[0] !== 0x64 || message.length < 13) throw malformed;
  const proofLength = message.readInt32BE(5);
  const at = 9 + proofLength;
  if (proofLength !== 32 || message.length < at + 4 || message.readInt32BE(at) !== message.length - at - 4)
    throw malformed;
  return [message.subarray(9, at), message.subarray(at + 4)];
};

/** Asks for the digest; resolves when it is that of a password which opens this database now. */
const admit = async (client: TLSSocket, startup: Startup, context: Context, temporary: () => readonly Temporary[]) => {
  const [salt, nonce] = [randomBytes(16), randomBytes(16)];
  client.write(authentication(digest, Buffer.concat([Buffer.alloc(4), counted(salt), counted(nonce)])));
  const [proof, theirs] = parseDigest(await takeMessage(client));
  const good = temporary().some(
    ({ user, password, database }) =>
      user === startup.user &&
      (database === undefined || database === startup.database) &&
      timingSafeEqual(sha256(sha256(password.reveal(), salt), nonce, theirs), proof),
  );
  context.tally[good ? "admitted" : "refused"]++;
  if (!good) throw new Failure("bad_token", `password authentication failed for user "${startup.user}"`);
};

/** As AWS does at a first login. */
const createUser = async ({ sql }: Pick<Postgres, "sql">, user: string): Promise<void> => {
  const [known] = await sql("postgres", `select 1 from pg_roles where rolname = ${quoteText(user)}`);
  if (known) return;
  await sql("postgres", `create role ${quoteName(user)} login in role rds_iam`).catch((thrown: unknown) => {
    // two first logins at once
    if (!String(thrown).includes("already exists")) throw thrown;
  });
};

const parameter = (name: string, value: string): Buffer => {
  const fields = Buffer.from(`${name}\0${value}\0`);
  const head = Buffer.from("S\0\0\0\0");
  head.writeInt32BE(4 + fields.length, 1);
  return Buffer.concat([head, fields]);
};

/** The server's words until the client is inside, with its version changed on the way. */
const welcome = async (client: TLSSocket, server: Socket): Promise<void> => {
  for (;;) {
    const message = await takeMessage(server);
    const type = String.fromCharCode(message[0] ?? 0);
    const isVersion = type === "S" && message.subarray(5, 20).toString() === "server_version\0";
    client.write(isVersion ? parameter("server_version", serverVersion) : message);
    if (type === "Z" || type === "E") return;
  }
};

const receive = async (
  raw: Socket,
  client: TLSSocket,
  context: Context,
  options: RedshiftOptions,
  settled: () => void,
) => {
  const packet = await takeStartup(client);
  context.tally.earlyBytes += client.readableLength;
  const code = packet.readInt32BE(4);
  if (code === cancelRequest) return cancel(client, packet, context);
  if (code >>> 16 === 3 && code > newest)
    throw new Failure("unsupported", "unsupported frontend protocol: server supports 1.0 to 3.0");
  const startup = parseStartup(packet);
  const fault = context.fault();
  if (fault?.is === "hanging") return stall(client, Buffer.alloc(0));
  if (fault?.is === "garbage" || fault?.is === "asking") return stall(client, fault.bytes);
  // others have passwords of their own here, which nobody needs
  if (!/^IAMR?:/.test(startup.user))
    throw new Failure("not_logged_in", `password authentication failed for user "${startup.user}"`);
  await admit(client, startup, context, options.temporary);
  await createUser(options.postgres, startup.user);
  const server = connect({ path: context.upstream, allowHalfOpen: true });
  server.on("error", () => server.destroy());
  client.on("close", () => server.destroy());
  server.write(packet);
  await welcome(client, server);
  settled();
  relay(raw, client, server, fault?.is === "cutting" ? fault.afterBytes : undefined);
};

const refuse = (raw: Socket, stream: Socket, { code, message }: Failure): void => {
  const sqlstate = sqlstates[code];
  if (sqlstate === undefined) raw.destroy();
  else stream.write(fatal(sqlstate, message), () => stream.destroySoon());
};

export const startRedshiftFront = (options: RedshiftOptions): Promise<Front> =>
  openFront<Fault>(
    { ...options, upstream: options.postgres.socket, check: () => false },
    async (raw, context, settled) => {
      let stream = raw;
      try {
        const client = await arrive(raw, context);
        if (!client) return;
        stream = client;
        await receive(raw, client, context, options, settled);
      } catch (thrown) {
        refuse(raw, stream, toFailure(thrown));
      }
    },
  );
