// Type-only sketches of all four protocols: what each must carry through the seam, checked by the compiler and never run.
// If one of these needs a change to packages/wire/src/protocol.ts, the seam was wrong.
import type { Credential } from "@sallyport/core/credential";
import { Failure } from "@sallyport/core/failure";
import type {
  Arrival,
  Client,
  Gate,
  Live,
  OwnKeys,
  Peer,
  Protocol,
  Server,
  Socket,
  Upstream,
} from "@sallyport/wire/protocol";

declare function readLogin(socket: Socket): Promise<{ user: string; name: string; token: string }>;
declare function secretOf(text: string): import("@sallyport/core/secret").Secret;
declare function statement(text: string): import("@sallyport/core/audit").Statement;

/** PostgreSQL: the startup's parameters travel as `wanted`; the server's pid goes to the client with a key of ours. */
interface PgClient extends Client {
  readonly minor: number;
  readonly pending: Buffer;
}
interface PgServer extends Server {
  readonly pid: number;
  readonly secret: Buffer;
  readonly parameters: ReadonlyMap<string, string>;
}
type PgWanted = ReadonlyMap<string, string>;
export const postgres = {
  name: "postgres",
  port: 5432,
  async accept(socket, gate) {
    const secured = gate.arrived ? socket : await gate.secure(socket);
    const { user, name, token } = await readLogin(secured);
    const client: PgClient = { socket: secured, minor: 2, pending: Buffer.alloc(0) };
    if (user === "") return { cancel: { protocol: "postgres", key: name }, client };
    return { ask: gate.arrived ? { user, name } : { user, name, token: secretOf(token) }, client, wanted: new Map() };
  },
  async refuse(client, failure) {
    client.socket.end(failure.message);
  },
  async login(upstream, grant, wanted) {
    const { socket, peer } = await upstream.tcp();
    const secured = await upstream.secure(socket);
    const credential = await upstream.credential();
    if (credential.as !== "password") throw new Failure("internal", "postgres logs in with a password");
    secured.write([grant.dbUser, grant.dbName, wanted?.size].join());
    return { socket: secured, peer, pid: 1, secret: Buffer.alloc(32), parameters: new Map() };
  },
  async welcome(client, server, own) {
    const key = own.random(client.minor >= 2 ? 32 : 4);
    own.register(`${server.pid}:${key.toString("hex")}`);
  },
  async relay(_client, _server, live) {
    live.touch();
    await live.record(statement("select 1"));
    return { by: "client" };
  },
  async cancel(server, upstream) {
    const { socket } = await upstream.tcp(server.peer);
    (await upstream.secure(socket)).end(server.secret);
  },
  async run() {
    return [["1"]];
  },
} satisfies Protocol<PgClient, PgServer, PgWanted>;

/** MySQL: the server speaks first. Through the gate `accept` opens the upstream and shows the target's own greeting, so what was opened travels as `wanted`. */
interface MyClient extends Client {
  readonly capabilities: number;
  readonly sequence: number;
}
interface MyServer extends Server {
  readonly connection: number;
  readonly capabilities: number;
}
interface MyWanted {
  readonly schema?: string;
  readonly attributes: ReadonlyMap<string, string>;
  /** Already greeted, through the gate. */
  readonly opened?: { readonly socket: Socket; readonly peer: Peer; readonly greeting: Buffer };
}
declare function greet(socket: Socket, greeting: Buffer): Promise<MyClient>;
export const mysql = {
  name: "mysql",
  port: 3306,
  async accept(socket, gate): Promise<Arrival<MyClient, MyWanted>> {
    if (gate.arrived) {
      const opened = { ...(await gate.arrived.upstream.tcp()), greeting: Buffer.alloc(0) };
      const client = await greet(socket, opened.greeting);
      return { ask: gate.arrived.ask, client, wanted: { attributes: new Map(), opened } };
    }
    const client = await greet(await gate.secure(socket), Buffer.from("own greeting"));
    const { user, token } = await readLogin(client.socket);
    return { ask: { user, token: secretOf(token) }, client, wanted: { attributes: new Map() } };
  },
  async refuse(client, failure) {
    client.socket.end(failure.code);
  },
  async login(upstream, _grant, wanted) {
    const { socket, peer } = wanted?.opened ?? (await upstream.tcp());
    return { socket: await upstream.secure(socket), peer, connection: 7, capabilities: 0 };
  },
  async welcome(_client, server, own) {
    // on the plain port the id the client sees is ours: top bit set
    own.register(String((server.connection | 0x80000000) >>> 0));
  },
  async relay(_client, _server, live) {
    const denied = live.guard({ use: "local_file" });
    return denied ? { by: "cut", failure: new Failure("denied", "local files are not allowed") } : { by: "server" };
  },
  async cancel(server, upstream) {
    (await upstream.tcp(server.peer)).socket.end(`KILL QUERY ${server.connection}`);
  },
  async run() {
    return [];
  },
} satisfies Protocol<MyClient, MyServer, MyWanted, "mysql">;

/** MongoDB: monitors never log in, so the deadline stops; the login signs a challenge; each command's $db is ruled on. */
interface MongoServer extends Server {
  readonly maxMessage: number;
}
declare function isMonitor(socket: Socket): Promise<boolean>;
export const mongodb = {
  name: "mongodb",
  port: 27017,
  async accept(socket, gate: Gate) {
    const secured = await gate.secure(socket);
    gate.deadline.stop();
    if (await isMonitor(secured)) return { probe: true };
    gate.deadline.start();
    const { user, name, token } = await readLogin(secured);
    return { ask: { user, name, token: secretOf(token) }, client: { socket: secured }, wanted: undefined };
  },
  async refuse(client, failure) {
    client.socket.end(JSON.stringify({ ok: 0, errmsg: failure.message }));
  },
  async login(upstream: Upstream) {
    const { socket, peer } = await upstream.tcp();
    const secured = await upstream.secure(socket);
    const credential: Credential = await upstream.credential();
    if (credential.as !== "aws") throw new Failure("internal", "documentdb logs in as a role");
    secured.write((await credential.sign(new Uint8Array(64), "sts.amazonaws.com")).authorization);
    return { socket: secured, peer, maxMessage: 48_000_000 };
  },
  async welcome() {},
  async relay(_client, _server, live: Live) {
    const denied = live.guard({ name: "orders" });
    return denied ? { by: "cut", failure: new Failure("denied", "not this database") } : { by: "client" };
  },
  async cancel() {},
  async run() {
    return [];
  },
} satisfies Protocol<Client, MongoServer, undefined, "mongodb">;

/** Redis: a cluster is many upstream connections behind one client, dialled and logged in as keys name them. */
interface RedisServer extends Server {
  readonly upstream: Upstream;
  readonly nodes: Map<string, Socket>;
}
export const redis = {
  name: "redis",
  port: 6379,
  async accept(socket, gate) {
    const secured = gate.arrived ? socket : await gate.secure(socket);
    const { user, token } = await readLogin(secured);
    return { ask: { user, token: secretOf(token) }, client: { socket: secured }, wanted: { resp: 3 } };
  },
  async refuse(client, failure) {
    client.socket.end(`-ERR ${failure.message}\r\n`);
  },
  async login(upstream) {
    const { socket, peer } = await upstream.tcp();
    return { socket: await upstream.secure(socket), peer, upstream, nodes: new Map() };
  },
  async welcome(_client, _server, _own: OwnKeys) {},
  async relay(_client, server, live) {
    const moved = await server.upstream.tcp({ address: "10.0.0.9", port: 6379 });
    server.nodes.set(moved.peer.address, await server.upstream.secure(moved.socket));
    const credential = await server.upstream.credential(); // again before the 12-hour limit
    const denied = live.guard({ user: credential.user }) ?? live.guard({ use: "script" });
    return denied ? { by: "cut", failure: new Failure("denied", "not this user") } : { by: "server" };
  },
  async cancel() {},
  async run() {
    return [];
  },
} satisfies Protocol<Client, RedisServer, { resp: 2 | 3 }, "redis">;

/** A registry's element type holds each of them. */
export const all: readonly Protocol<Client, Server, unknown, string>[] = [postgres, mysql, mongodb, redis];
