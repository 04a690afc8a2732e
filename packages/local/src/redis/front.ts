// What stands before a Redis node in place of ElastiCache and MemoryDB: TLS only, IAM tokens for users who must use them, twelve
// hours for who came in by one. All other bytes go by as they are; who may do what is the server's to say.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
import { connect, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Failure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import {
  type FrontContext,
  type FrontOptions,
  type Front as FrontWith,
  openFront,
  secureFront,
  stall,
  whereOf,
} from "../front.ts";
import { pass, systemTimer, type Timer } from "../timer.ts";
import type { Fault } from "./fault.ts";
import { emptyAuth, loginsIn, withPassword } from "./login.ts";
import type { RedisNode } from "./node.ts";
import { openScanner } from "./request.ts";

export type Front = FrontWith<Fault>;

export interface RedisFrontOptions extends Omit<FrontOptions, "upstream"> {
  /** What is behind it by now. */
  readonly node: () => Pick<RedisNode, "socket" | "frontPassword"> | undefined;
  /** Whether this user, as the node knows it now, must show an IAM token. */
  readonly isIam: (user: string) => boolean;
  readonly timer?: Timer;
}

const loginLastsFor = 12 * 3_600_000;
/** What begins and ends a transaction, each alone. */
const transaction: Readonly<Record<string, boolean>> = { MULTI: true, EXEC: false, DISCARD: false, RESET: false };

/** What the server says, up to where a fault ends it. */
const answer = (server: Socket, client: TLSSocket, fault: Fault | undefined): void => {
  if (fault?.is === "garbage") {
    stall(client, fault.bytes);
    return;
  }
  let left = fault?.is === "cutting" ? fault.afterBytes : Number.POSITIVE_INFINITY;
  server.on("data", (bytes: Buffer) => {
    const some = bytes.length > left ? bytes.subarray(0, left) : bytes;
    left -= some.length;
    const last = left <= 0;
    if (!client.write(some, () => last && client.destroy()) && !last) {
      server.pause();
      client.once("drain", () => server.resume());
    }
  });
};

const drained = (stream: Socket): Promise<unknown> =>
  new Promise<void>((settle) => {
    const done = (): void => {
      stream.off("drain", done).off("close", done);
      settle();
    };
    stream.on("drain", done).on("close", done);
  });

/** What one connection is allowed, from login to login. */
const openSession = (
  raw: Socket,
  client: TLSSocket,
  context: FrontContext<Fault>,
  options: RedisFrontOptions,
  frontPassword: Secret,
) => {
  const { timer = systemTimer } = options;
  let inTransaction = false;
  let forget = (): void => {};
  client.on("close", () => forget());
  return {
    transaction: (begins: boolean): void => {
      inTransaction = begins;
    },
    /** What the server is to hear of these words. */
    login: async (words: readonly Buffer[], bytes: Buffer): Promise<Buffer> => {
      const logins = loginsIn(words).filter(({ user }) => options.isIam(user));
      if (logins.length > 0 && inTransaction) {
        context.tally.refused++;
        return emptyAuth;
      }
      const good = new Set<number>();
      for (const { user, password, at } of logins) {
        const ask = { user, database: "", password: secret(password), ...whereOf(raw, client) };
        const isGood = await Promise.resolve(context.check(ask)).catch(() => false);
        context.tally[isGood ? "admitted" : "refused"]++;
        if (isGood) good.add(at);
      }
      // what is wrong here is wrong for the server too, which has words for it
      if (good.size === 0) return bytes;
      forget();
      forget = timer.after(loginLastsFor, () => raw.destroy());
      return withPassword(words, good, frontPassword.reveal());
    },
  };
};

const receive = async (raw: Socket, context: FrontContext<Fault>, options: RedisFrontOptions, settled: () => void) => {
  const fault = context.fault();
  const client = await secureFront(raw, fault?.is === "impostor" ? fault.identity : context.identity);
  if (fault?.is === "hanging") return stall(client, Buffer.alloc(0));
  const node = options.node();
  if (!node) throw new Failure("unavailable", "there is no redis behind the front");
  const server = connect({ path: node.socket, allowHalfOpen: true });
  server.on("error", () => server.destroy());
  server.once("end", () => client.destroySoon());
  server.on("close", () => client.destroySoon());
  client.on("close", () => server.destroy());
  answer(server, client, fault);
  const session = openSession(raw, client, context, options, node.frontPassword);
  const answered = (name: string): Buffer | undefined => {
    const now = context.fault();
    return now?.is === "answering" && now.name.toUpperCase() === name ? now.bytes : undefined;
  };
  const scan = openScanner(
    (name, words) =>
      name === "AUTH" ||
      (name === "HELLO" && words > 2) ||
      (words === 1 && Object.hasOwn(transaction, name)) ||
      answered(name) !== undefined,
  );
  for await (const bytes of client as AsyncIterable<Buffer>) {
    for (const part of scan(bytes)) {
      let sent = "pass" in part ? part.pass : part.raw;
      if ("words" in part) {
        const name = part.words[0]?.toString("latin1").toUpperCase() ?? "";
        const instead = answered(name);
        if (instead) {
          client.write(instead);
          continue;
        }
        const begins = transaction[name];
        if (begins === undefined) {
          const late = context.fault();
          if (late?.is === "delaying") await pass(options.timer ?? systemTimer, late.forMs);
          sent = await session.login(part.words, part.raw);
          settled();
        } else session.transaction(begins);
      }
      if (!server.write(sent) && !server.destroyed) await drained(server);
    }
  }
  server.end();
};

/** The TLS front of one node. */
export const startRedisFront = (options: RedisFrontOptions): Promise<Front> =>
  openFront<Fault>(
    // a client may take its time before it logs in, as the servers behind allow
    { loginWithinMs: 3_600_000, ...options, upstream: "" },
    (raw, context, settled) => receive(raw, context, options, settled),
  );
