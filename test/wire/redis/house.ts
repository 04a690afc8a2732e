// Our two ways in before a real redis-server: a plain port with TLS and a door as the gate leaves it. Everything of the proxy but
// its decisions: what passes here is this protocol's own.
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as dial, type Server as Listener, type Socket as TcpSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Denial, Grant } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { Failure, toFailure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import { haveBinaries, howToInstall } from "@sallyport/local/redis/binaries";
import { type Redis, startRedis } from "@sallyport/local/redis/server";
import { openTrust, type Trust } from "@sallyport/proxy/trust";
import type { End, Live, Socket, Upstream } from "@sallyport/wire/protocol";
import type { RedisServer } from "@sallyport/wire/redis/client";
import { redis } from "@sallyport/wire/redis/redis";
import { Redis as Client, type RedisOptions } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { makeDatabase } from "../../core/make.ts";
import { grantFor, type Session, session } from "../door.ts";
import { listen } from "../listener.ts";

export const connectToken = `sct_${"a1B2".repeat(11)}`;
/** What the proxy logs in with; nobody else knows it. */
const password = "the-proxy-alone-knows-this";

let certificate: Certificate;
let target: Redis;
let trust: Trust;
let folder: string | undefined;
const installed = await haveBinaries();
const sockets = new Set<Socket>();
const listeners: Listener[] = [];
const clients: Client[] = [];

export const administer = async (...words: readonly string[]): Promise<unknown> => target.nodes[0]?.command(...words);

/** For a file of tests. */
export const stage = (): void => {
  beforeEach(({ skip }) => skip(!installed, `no Redis here: ${howToInstall}`));
  beforeAll(async () => {
    if (!installed) return;
    certificate = await (await createAuthority({ now: Date.now() })).issue(["localhost", "127.0.0.1"]);
    trust = openTrust(certificate);
    target = await startRedis();
  });
  beforeEach(async () => {
    if (!installed) return;
    await administer("FLUSHALL");
    await administer("ACL", "SETUSER", "ada", "reset", "on", `>${password}`, "~*", "&*", "+@all");
    await administer("ACL", "SETUSER", "bob", "reset", "on", ">bob-has-a-password", "~b:*", "&*", "+@all");
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.disconnect();
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    for (const listener of listeners.splice(0)) listener.close();
  });
  afterAll(async () => {
    await target?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });
};

/** For programs, which read it from a file. */
export const caFile = async (): Promise<string> => {
  folder ??= await mkdtemp(join(tmpdir(), "sallyport-redis-"));
  const file = join(folder, "ca.pem");
  await writeFile(file, certificate.ca);
  return file;
};

const kept = <T extends Socket>(socket: T): T => {
  sockets.add(socket);
  return socket.on("error", () => {}).once("close", () => sockets.delete(socket));
};

const upstreamTo = (credential?: () => Credential): Upstream => ({
  database: { name: "orders", endpoint: makeDatabase().endpoint },
  tcp: async () => {
    const socket = kept(dial(target.nodes[0]?.socket ?? ""));
    await once(socket, "connect");
    return { socket, peer: { address: "10.0.0.7", port: 6379 } };
  },
  secure: async (socket) => socket,
  credential: async () =>
    credential?.() ?? { as: "password", user: "ada", password: secret(password), methods: "clear" },
});

export interface Door {
  readonly port: number;
  /** One a connection that came to be a session. */
  readonly sessions: Session[];
  readonly servers: RedisServer[];
  readonly ends: End[];
  readonly failures: Failure[];
}
export interface DoorOptions {
  readonly guard?: Live["guard"];
  readonly renewAfterMs?: number;
  readonly credential?: () => Credential;
  /** What the client's role lets it do. */
  readonly may?: Partial<Pick<Grant, "dbUser" | "ownAuth">>;
  /** Stands between the proxy and the target. */
  readonly between?: (socket: Socket) => Socket;
}

/** The one login's shape without its decisions: whoever shows the token is in. */
export const openDoor = async (way: "plain" | "gate", options: DoorOptions = {}): Promise<Door> => {
  const grant = { ...grantFor({ user: "ada" }), user: "ada", ...options.may };
  const door = {
    ...{ port: 0, sessions: [] as Session[], servers: [] as RedisServer[] },
    ...{ ends: [] as End[], failures: [] as Failure[] },
  };
  const serve = async (raw: TcpSocket): Promise<void> => {
    const upstream = upstreamTo(options.credential);
    const arrived = way === "gate" ? { arrived: { ask: { user: grant.dbUser }, grant, upstream } } : {};
    const deadline = { start: () => {}, stop: () => {} };
    const arrival = await redis.accept(raw, { secure: trust.secure, deadline, ...arrived });
    if (!("ask" in arrival)) return;
    const { ask, client, wanted } = arrival;
    try {
      const { user = "ada" } = ask;
      if (way === "plain" && (ask.token?.reveal() !== connectToken || user !== "ada"))
        throw new Failure("bad_token", "the connect token is not good");
      const made = await redis.login(upstream, grant, wanted);
      const { renewAfterMs = made.renewAfterMs } = options;
      const server = { ...made, renewAfterMs };
      const seen = session();
      await redis.welcome(client, server);
      door.sessions.push(seen);
      door.servers.push(server);
      const { guard = (): Denial | undefined => undefined } = options;
      door.ends.push(await redis.relay(client, server, { ...seen.live, guard }));
    } catch (thrown) {
      door.failures.push(toFailure(thrown));
      await redis.refuse(client, toFailure(thrown));
    }
  };
  const { listener, port } = await listen(
    (raw) => serve(kept(raw)),
    (thrown) => void door.failures.push(toFailure(thrown)),
  );
  listeners.push(listener);
  door.port = port;
  return door;
};

/** ioredis, at the gate's door as it is, at the plain one with TLS and the token. */
export const connect = (
  door: Door,
  way: "plain" | "gate",
  options: Omit<RedisOptions, "replyMapping"> = {},
): Client => {
  const by = way === "plain" ? { username: "ada", password: connectToken, tls: { ca: certificate.ca } } : {};
  const usual = { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 };
  const client = new Client({ ...usual, ...by, ...options, host: "127.0.0.1", port: door.port });
  client.on("error", () => {});
  clients.push(client);
  return client;
};

/** Says bytes by hand. */
export const speak = async (door: Door): Promise<{ socket: TcpSocket; until(end: string): Promise<string> }> => {
  const socket = kept(dial(door.port, "127.0.0.1"));
  let heard = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    heard += chunk;
  });
  await once(socket, "connect");
  return {
    socket,
    until: async (end) => {
      while (!heard.includes(end) && !socket.closed) await Promise.race([once(socket, "data"), once(socket, "close")]);
      return heard;
    },
  };
};

export const linesOf = (door: Door): readonly Readonly<Record<string, unknown>>[] =>
  door.sessions.flatMap((one) => one.lines());
