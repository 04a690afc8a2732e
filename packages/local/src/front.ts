// What every database front is, whatever it speaks: a port that counts, drops who does not log in in time, misbehaves on
// demand, and can be cut. What is said on it is the protocol's own (postgres/, mariadb/), written without packages/wire,
// which would else only be tested against itself.
import { createServer, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import { Failure } from "@sallyport/core/failure";
import type { Secret } from "@sallyport/core/secret";
import type { Certificate } from "./certificate.ts";

// what a connection may make us hold before it has logged in
const bufferLimit = 16 * 1024;

/** One login by IAM token, to be judged. */
export interface Ask {
  readonly user: string;
  readonly database: string;
  readonly password: Secret;
  /** The server name in the TLS handshake. */
  readonly servername: string | undefined;
  /** The address and port that were dialled. */
  readonly host: string;
  readonly port: number;
}

export type Identity = Pick<Certificate, "cert" | "key">;

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
  /** Cancels that came as connections of their own. */
  readonly cancels: number;
  /** Bytes on the wire, TLS and all, of connections before their login was answered. */
  readonly bytesBeforeLogin: number;
  /** Bytes inside TLS that clients sent without waiting for the answer to their startup or token. */
  readonly earlyBytes: number;
}

/** The faults that need nothing of the protocol; each adds its own. */
type CommonFault =
  /** Nobody listens: connection refused. Sessions there are stay. */
  | { readonly is: "refusing" }
  /** Accepts and never answers: nothing at all, or nothing once the startup has come. */
  | { readonly is: "hanging"; readonly at: "connection" | "login" };

export interface Front<Fault = CommonFault> {
  readonly host: string;
  readonly port: number;
  counters(): Counters;
  /** Misbehave from now on; without a fault, behave again. */
  misbehave(fault?: Fault): Promise<void>;
  /** Drops every connection at once, mid-query or not; answers how many there were. */
  cut(): number;
  close(): Promise<void>;
}

/** What the parts of a front share about the server behind it. */
export interface FrontContext<Fault> {
  readonly upstream: string;
  readonly identity: Identity;
  readonly check: (ask: Ask) => boolean | Promise<boolean>;
  readonly fault: () => Fault | undefined;
  readonly tally: { connections: number; admitted: number; refused: number; cancels: number; earlyBytes: number };
}

/** Where somebody came from, as the check wants to know it. */
export const whereOf = (raw: Socket, client: TLSSocket): Pick<Ask, "servername" | "host" | "port"> => ({
  servername: typeof client.servername === "string" ? client.servername : undefined,
  host: raw.localAddress ?? "",
  port: raw.localPort ?? 0,
});

/** Says this and then nothing more; goes when the client goes. */
export const stall = (client: Socket, bytes: Uint8Array): void => {
  client.write(bytes);
  client.once("end", () => client.end()).resume();
};

const secured = (stream: TLSSocket): Promise<void> =>
  new Promise((answer, refuse) => {
    const gone = (): void => refuse(new Failure("ended", "no TLS session came about"));
    stream.once("secure", answer).once("error", gone).once("close", gone);
  });

/** The client inside TLS. */
export const secureFront = async (raw: Socket, { key, cert }: Identity, alpn?: string): Promise<TLSSocket> => {
  const client = new TLSSocket(raw, {
    isServer: true,
    secureContext: createSecureContext({ key, cert, minVersion: "TLSv1.2" }),
    ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
  });
  client.on("error", () => client.destroy());
  await secured(client);
  return client;
};

/** Both ways until either ends; a half-close by the client lets the server finish what it was asked. After so many bytes of the server's, if told, all is dropped. */
export const relay = (raw: Socket, client: TLSSocket, server: Socket, cutAfterBytes?: number): void => {
  server.once("end", () => client.destroySoon());
  server.on("close", () => client.destroySoon());
  client.pipe(server);
  if (cutAfterBytes === undefined) {
    server.pipe(client, { end: false });
    return;
  }
  let left = cutAfterBytes;
  server.on("data", (bytes: Buffer) => {
    if (left <= 0) return;
    const last = bytes.length >= left;
    client.write(bytes.subarray(0, left), () => last && raw.destroy());
    left -= bytes.length;
  });
};

/** Opens the port. `receive` lets a client in or words its refusal; `settled` is called when the login is in the server's hands. */
export const openFront = async <Fault extends { readonly is: string; readonly at?: string }>(
  options: FrontOptions,
  receive: (raw: Socket, context: FrontContext<Fault>, settled: () => void) => Promise<void>,
): Promise<Front<Fault>> => {
  const { host = "127.0.0.1", loginWithinMs = 10_000 } = options;
  const live = new Set<Socket>();
  const arriving = new Set<Socket>();
  let bytesOfTheArrived = 0;
  let fault: Fault | undefined;
  const tally = { connections: 0, admitted: 0, refused: 0, cancels: 0, earlyBytes: 0 };
  const context: FrontContext<Fault> = { ...options, tally, fault: () => fault };

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
    await receive(raw, context, settled).catch(() => raw.destroy());
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
