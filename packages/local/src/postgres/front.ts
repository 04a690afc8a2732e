// What stands before a private PostgreSQL in place of RDS: TLS only, IAM tokens for those who must use them, limits and
// deadlines, and faults on demand. Written without packages/wire, which would else only be tested against itself.
import { createServer, type Socket } from "node:net";
import { type Failure, type FailureCode, toFailure } from "@sallyport/core/failure";
import { receive } from "./admission.ts";
import { arrive, stall } from "./arrival.ts";
import type { Ask, Context, Identity } from "./context.ts";
import type { Fault } from "./fault.ts";
import { fatal } from "./startup.ts";

// what a connection may make us hold before it has logged in
const bufferLimit = 16 * 1024;

export interface FrontOptions {
  /** The path of the server's unix socket. */
  readonly upstream: string;
  readonly identity: Identity;
  /** Is this IAM token good for this user, here? */
  readonly check: (ask: Ask) => boolean | Promise<boolean>;
  /** Where to listen: 127.0.0.1 and a free port unless told. */
  readonly host?: string;
  readonly port?: number;
  /** How long a client may take to log in (10 s); the time of a password user is the server's own. */
  readonly loginWithinMs?: number;
}

/** What has happened so far. */
export interface Counters {
  readonly connections: number;
  /** Logins by token that were let in, and those that were not. */
  readonly admitted: number;
  readonly refused: number;
  readonly cancels: number;
  /** Bytes on the wire, TLS and all, of connections before their login was answered. */
  readonly bytesBeforeLogin: number;
  /** Bytes inside TLS that clients sent without waiting for the answer to their startup or token. */
  readonly earlyBytes: number;
}

export interface Front {
  readonly host: string;
  readonly port: number;
  counters(): Counters;
  /** Misbehave from now on; without a fault, behave again. */
  misbehave(fault?: Fault): Promise<void>;
  /** Drops every connection at once, mid-query or not; answers how many there were. */
  cut(): number;
  close(): Promise<void>;
}

// What is not in here ends without a word: the stream may be in the middle of a TLS handshake.
const sqlstates: Partial<Record<FailureCode, string>> = {
  protocol: "08P01",
  unsupported: "0A000",
  not_logged_in: "28000",
  bad_token: "28P01",
  unavailable: "57P03",
};

const refuse = (raw: Socket, stream: Socket, { code, message }: Failure): void => {
  const sqlstate = sqlstates[code];
  if (sqlstate === undefined) raw.destroy();
  else stream.write(fatal(sqlstate, message), () => stream.destroySoon());
};

export const startFront = async (options: FrontOptions): Promise<Front> => {
  const { host = "127.0.0.1", loginWithinMs = 10_000 } = options;
  const live = new Set<Socket>();
  const arriving = new Set<Socket>();
  let bytesOfTheArrived = 0;
  let fault: Fault | undefined;
  const tally = { connections: 0, admitted: 0, refused: 0, cancels: 0, earlyBytes: 0 };
  const context: Context = { ...options, tally, fault: () => fault };

  const serve = async (raw: Socket): Promise<void> => {
    tally.connections++;
    live.add(raw);
    arriving.add(raw);
    const deadline = setTimeout(() => {
      if (fault?.is !== "hanging") raw.destroy();
    }, loginWithinMs);
    const settled = (): void => {
      clearTimeout(deadline);
      if (arriving.delete(raw)) bytesOfTheArrived += raw.bytesRead;
    };
    raw.on("error", () => raw.destroy());
    raw.on("close", () => {
      settled();
      live.delete(raw);
    });
    if (fault?.is === "hanging" && fault.at === "connection") return stall(raw, Buffer.alloc(0));
    let stream = raw;
    try {
      const client = await arrive(raw, context);
      if (!client) return;
      stream = client;
      await receive(raw, client, context, settled);
    } catch (thrown) {
      refuse(raw, stream, toFailure(thrown));
    }
  };

  const server = createServer({ allowHalfOpen: true, highWaterMark: bufferLimit, noDelay: true });
  server.on("connection", (raw: Socket) => void serve(raw));
  const listen = (port: number): Promise<void> =>
    new Promise((answer, fail) => {
      server.once("error", fail).listen({ host, port }, () => {
        server.off("error", fail);
        answer();
      });
    });
  await listen(options.port ?? 0);
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;

  const cut = (): number => {
    for (const raw of live) raw.destroy();
    return live.size;
  };
  return {
    host,
    port,
    cut,
    counters: () => ({
      ...tally,
      bytesBeforeLogin: [...arriving].reduce((sum, raw) => sum + raw.bytesRead, bytesOfTheArrived),
    }),
    misbehave: async (next) => {
      fault = next;
      if (next?.is === "refusing") server.close();
      else if (!server.listening) await listen(port);
    },
    close: async () => {
      const closed = new Promise<void>((answer) => server.close(() => answer()));
      cut();
      await closed;
    },
  };
};
