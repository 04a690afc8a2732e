// From TLS to a session: the client's startup goes to the server as it came, and whoever the server would let in unasked
// (a member of rds_iam) must first show a good IAM token here. All others are left to the server's own password check.
import { connect, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Failure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { relay, stall, whereOf } from "../front.ts";
import { cancel } from "./arrival.ts";
import type { Context } from "./context.ts";
import { authentication } from "./fault.ts";
import { cancelRequest, parsePassword, parseStartup, type Startup, takeMessage, takeStartup } from "./startup.ts";

const passwordLimit = 16 * 1024;
const forbidden = "rdsadmin";
const cleartext = 3;

/** Resolves when the token is good. */
const admit = async (raw: Socket, client: TLSSocket, { user, database }: Startup, context: Context): Promise<void> => {
  client.write(authentication(cleartext));
  const password = secret(parsePassword(await takeMessage(client, passwordLimit)));
  context.tally.earlyBytes += client.readableLength;
  if (await context.check({ user, database, password, ...whereOf(raw, client) })) {
    context.tally.admitted++;
    return;
  }
  context.tally.refused++;
  throw new Failure("bad_token", `PAM authentication failed for user "${user}"`);
};

/** Passes the server's words on until it says how this user is to log in: before that it may only negotiate the protocol or notify. */
const login = async (raw: Socket, client: TLSSocket, server: Socket, startup: Startup, context: Context) => {
  for (;;) {
    const reply = await takeMessage(server).catch((cause: unknown) => {
      throw new Failure("unavailable", "the database system is not accepting connections", { cause });
    });
    const type = String.fromCharCode(reply[0] ?? 0);
    if (!"RvNE".includes(type)) throw new Failure("internal", `the server answered with ${type}`);
    const trusted = type === "R" && reply.equals(authentication(0));
    if (trusted) await admit(raw, client, startup, context);
    client.write(reply);
    if (type === "R" || type === "E") return;
  }
};

/** Lets a client in, or throws; `settled` is called when its login is in the server's hands. */
export const receive = async (raw: Socket, client: TLSSocket, context: Context, settled: () => void): Promise<void> => {
  const packet = await takeStartup(client);
  context.tally.earlyBytes += client.readableLength;
  if (packet.readInt32BE(4) === cancelRequest) return cancel(client, packet, context);
  const startup = parseStartup(packet);
  const fault = context.fault();
  if (fault?.is === "hanging") return stall(client, Buffer.alloc(0));
  if (fault?.is === "garbage" || fault?.is === "asking") return stall(client, fault.bytes);
  if (startup.user === forbidden || startup.database === forbidden) {
    const who = `host "${raw.remoteAddress}", user "${startup.user}", database "${startup.database}"`;
    throw new Failure("not_logged_in", `pg_hba.conf rejects connection for ${who}, SSL encryption`);
  }
  const server = connect({ path: context.upstream, allowHalfOpen: true });
  server.on("error", () => server.destroy());
  client.on("close", () => server.destroy());
  server.write(packet);
  try {
    await login(raw, client, server, startup, context);
  } catch (thrown) {
    server.destroy();
    throw thrown;
  }
  settled();
  relay(raw, client, server, fault?.is === "cutting" ? fault.afterBytes : undefined);
};
