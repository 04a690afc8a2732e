// A whole proxy in a test: the real composition with a table in memory, a database of lines, a clock that a test moves and
// one tick at a time. Clients are real TLS sockets.
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Grant } from "@sallyport/core/access";
import type { Database } from "@sallyport/core/database";
import { changeAccess } from "@sallyport/core/epoch";
import { keys, toItem } from "@sallyport/core/family";
import type { Item } from "@sallyport/core/ports";
import { secret } from "@sallyport/core/secret";
import { type ConnectToken, makeToken } from "@sallyport/core/token";
import type { User } from "@sallyport/core/user";
import { type Certificate, createAuthority } from "@sallyport/local/certificate";
import type { Log } from "@sallyport/proxy/log";
import { openProxy, type ProxyParts, type RunningProxy } from "@sallyport/proxy/proxy";
import { openTrust } from "@sallyport/proxy/trust";
import type { Upstream } from "@sallyport/wire/protocol";
import { makeDatabase, makeRole, now as testNow } from "../core/make.ts";
import { type FakeStore, openFakeStore } from "../fakes/store.ts";
import { type LinesDatabase, lines, openLinesDatabase } from "./lines.ts";
import { type MemorySink, openMemorySink } from "./memory-sink.ts";

const digest = { sha256: (text: string) => createHash("sha256").update(text).digest("hex") };
const random = { bytes: (count: number) => new Uint8Array(randomBytes(count)) };

let certificate: Promise<Certificate> | undefined;
export const testCertificate = (): Promise<Certificate> => {
  certificate ??= createAuthority({ now: Date.now() }).then((authority) => authority.issue(["localhost", "127.0.0.1"]));
  return certificate;
};

/** A clock that stands still until it is moved. */
export const makeClock = (at: number) => {
  let time = at;
  return {
    now: () => time,
    move: (ms: number) => {
      time += ms;
    },
  };
};
type TestClock = ReturnType<typeof makeClock>;

interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface House {
  readonly store: FakeStore;
  readonly sink: MemorySink;
  readonly database: LinesDatabase;
  readonly proxy: RunningProxy;
  readonly clock: TestClock;
  readonly steady: TestClock;
  readonly log: LogLine[];
  /** Both clocks on, then one tick; as often as there are seconds. */
  pass(seconds: number): Promise<void>;
  issue(over?: Partial<ConnectToken>): Promise<{ token: string; id: string }>;
  issueBound(over?: Partial<ConnectToken>): Promise<{ token: string; id: string; key: KeyObject; der: Buffer }>;
  setRole(spec: Record<string, unknown>): Promise<void>;
  setUser(over: Partial<User>): Promise<void>;
  setDatabase(over: Partial<Database>): Promise<void>;
  lock(target: Record<string, string>): Promise<void>;
  revoke(id: string): Promise<void>;
  /** Another proxy on the same table. */
  beside(over?: Partial<ProxyParts>): Promise<RunningProxy>;
  close(): Promise<void>;
}

export const allow = { db_labels: { env: "dev" }, db_users: ["reader", "writer"], db_names: ["orders", "stock"] };

const ana = { name: "ana", roles: ["dev"], traits: {}, state: "active", createdAt: 0, createdBy: "root", revision: 1 };

const openUpstream =
  (port: number) =>
  (database: Database, grant: Grant): Upstream => ({
    database,
    tcp: (at) =>
      new Promise((resolve, reject) => {
        const socket = connectTcp({ host: "127.0.0.1", port: at?.port ?? port });
        socket.once("error", reject);
        socket.once("connect", () => {
          socket.off("error", reject);
          socket.on("error", () => {});
          resolve({ socket, peer: { address: "127.0.0.1", port } });
        });
      }),
    secure: async (socket) => socket,
    credential: async () => ({
      as: "password",
      user: grant.dbUser,
      password: secret("canary-password"),
      methods: "clear",
    }),
  });

export const openHouse = async (over: Partial<ProxyParts> = {}): Promise<House> => {
  const store = openFakeStore();
  const sink = openMemorySink();
  const database = await openLinesDatabase();
  const clock = makeClock(testNow);
  const steady = makeClock(1_000_000);
  const log: LogLine[] = [];
  const say =
    (level: string) =>
    (message: string, facts: Readonly<Record<string, unknown>> = {}) =>
      void log.push({ level, message, facts });
  const logger: Log = { info: say("info"), warn: say("warn"), error: say("error") };
  const put = async (item: Item): Promise<void> => changeAccess(store, { put: item });
  const setUser = (change: Partial<User>) => put(toItem(keys.user("ana"), { ...ana, ...change }));
  const setRole = (spec: Record<string, unknown>) => put(toItem(keys.role("dev"), makeRole("dev", spec)));
  const setDatabase = (change: Partial<Database>) => put(toItem(keys.database("orders"), makeDatabase(change)));
  await setUser({});
  await setRole({ allow });
  await setDatabase({});
  const identity = await testCertificate();

  const open = async (id: string, more: Partial<ProxyParts>): Promise<RunningProxy> =>
    openProxy({
      id,
      network: "default",
      version: "test",
      store,
      sink,
      trust: openTrust(identity),
      clock,
      steady,
      random,
      digest,
      log: logger,
      cancelSecret: secret("deployment-cancel-key"),
      protocols: { postgres: lines },
      upstream: openUpstream(database.port),
      host: "127.0.0.1",
      plainPorts: { postgres: 0 },
      gatePort: 0,
      healthPort: 0,
      peerPort: 0,
      peerAddress: "127.0.0.1",
      ticking: false,
      ...more,
      limits: { graceMs: 200, ...more.limits },
    });
  const proxies = [await open("prx_1", over)];
  const [proxy] = proxies;
  if (!proxy) throw new Error("no proxy");

  const issue = async (change: Partial<ConnectToken> = {}): Promise<{ token: string; id: string }> => {
    const { token, id } = makeToken("connect", random, digest);
    const item: ConnectToken = {
      id,
      user: "ana",
      database: "orders",
      protocol: "postgres",
      dbUser: "reader",
      dbName: "orders",
      session: "s".repeat(64),
      loginExpiresAt: clock.now() + 3_600_000,
      issuedAt: clock.now(),
      expiresAt: clock.now() + 900_000,
      way: { bearer: 20 },
      ...change,
    };
    await store.write({ put: toItem(keys.connectToken(id), item) });
    return { token: token.reveal(), id };
  };

  return {
    store,
    sink,
    database,
    proxy,
    clock,
    steady,
    log,
    pass: async (seconds) => {
      for (let at = 0; at < seconds; at += 1) {
        clock.move(1_000);
        steady.move(1_000);
        for (const one of proxies) await one.tick();
      }
    },
    issue,
    issueBound: async (change = {}) => {
      const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const der = publicKey.export({ type: "spki", format: "der" });
      return { ...(await issue({ way: { bound: der.toString("base64") }, ...change })), key: privateKey, der };
    },
    setRole,
    setUser,
    setDatabase,
    lock: (target) =>
      put(
        toItem(keys.lock("l1"), { name: "l1", target, message: "gone", createdAt: 0, createdBy: "root", revision: 1 }),
      ),
    revoke: (id) => changeAccess(store, { update: keys.connectToken(id), set: { revokedAt: clock.now() } }),
    beside: async (more = {}) => {
      const next = await open(`prx_${proxies.length + 1}`, more);
      proxies.push(next);
      return next;
    },
    close: async () => {
      store.fault.mend();
      await Promise.all(proxies.map((one) => one.drain(0)));
      await database.close();
    },
  };
};

/** What a socket says, line by line. */
export interface Talk {
  readonly socket: Socket;
  say(line: string): void;
  /** The next line; "end" when there is none any more. */
  hear(): Promise<string>;
  readonly closed: Promise<void>;
}

export const talk = (socket: Socket): Talk => {
  let have = "";
  let over = false;
  const waiting: ((line: string) => void)[] = [];
  const serve = (): void => {
    while (waiting.length > 0) {
      const end = have.indexOf("\n");
      if (end < 0 && !over) return;
      const line = end < 0 ? "end" : have.slice(0, end);
      have = have.slice(end < 0 ? have.length : end + 1);
      waiting.shift()?.(line);
    }
  };
  socket.on("data", (chunk) => {
    have += chunk.toString();
    serve();
  });
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => {
    const done = (): void => {
      over = true;
      serve();
      resolve();
    };
    socket.on("end", done);
    socket.on("close", done);
  });
  return {
    socket,
    say: (line) => void socket.write(`${line}\n`),
    hear: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        serve();
      }),
    closed,
  };
};

export const dialTcp = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connectTcp({ host: "127.0.0.1", port });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      socket.on("error", () => {});
      resolve(socket);
    });
  });

export const dialTls = async (
  port: number,
  options: { alpn?: string; over?: Socket; min?: "TLSv1.2" | "TLSv1.3"; max?: "TLSv1.2" | "TLSv1.3" } = {},
): Promise<TLSSocket> => {
  const { ca } = await testCertificate();
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ...(options.over ? { socket: options.over } : { host: "127.0.0.1", port }),
      ca,
      servername: "localhost",
      ...(options.alpn === undefined ? {} : { ALPNProtocols: [options.alpn] }),
      ...(options.min === undefined ? {} : { minVersion: options.min }),
      ...(options.max === undefined ? {} : { maxVersion: options.max }),
    });
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
    socket.once("secureConnect", () => {
      socket.on("error", () => {});
      resolve(socket);
    });
  });
};

/** A stock client on the plain port, TLS done, nothing said. */
export const arrive = async (proxy: RunningProxy): Promise<Talk> => {
  const port = proxy.ports["postgres"] ?? 0;
  const raw = await dialTcp(port);
  const plain = talk(raw);
  plain.say("STARTTLS");
  await plain.hear();
  raw.removeAllListeners("data");
  return talk(await dialTls(port, { over: raw }));
};

/** Logs in on the plain port: what the proxy said to it, and the cancel key when it was welcomed. */
export const logIn = async (
  proxy: RunningProxy,
  token: string,
  ask: { user?: string; name?: string } = {},
): Promise<{ client: Talk; answer: string }> => {
  const client = await arrive(proxy);
  client.say(`LOGIN ${ask.user ?? "reader"} ${ask.name ?? "orders"} ${token}`);
  return { client, answer: await client.hear() };
};

export const frameOf = (value: unknown): Buffer => {
  const body = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.length);
  return Buffer.concat([length, body]);
};

/** The answer's frame. */
export const readAnswer = (socket: Socket): Promise<Record<string, unknown>> =>
  new Promise((resolve, reject) => {
    let have = Buffer.alloc(0);
    const read = (chunk: Buffer): void => {
      have = Buffer.concat([have, chunk]);
      if (have.length < 2 || have.length < 2 + have.readUInt16BE(0)) return;
      socket.off("data", read);
      resolve(JSON.parse(have.subarray(2, 2 + have.readUInt16BE(0)).toString()));
    };
    socket.on("data", read);
    socket.once("close", () => reject(new Error("closed without an answer")));
  });

export const proofFor = (socket: TLSSocket, token: string, key: KeyObject): string => {
  const context = createHash("sha256").update(token).digest();
  const exported = socket.exportKeyingMaterial(32, "EXPORTER-sallyport", context);
  return sign(key.asymmetricKeyType === "ec" ? "sha256" : null, exported, key).toString("base64");
};

/** Shows a bound token at the gate, as the tunnel does. */
export const enterGate = async (
  proxy: RunningProxy,
  bound: { token: string; key: KeyObject; der: Buffer },
  change: (hello: Record<string, string>) => Record<string, string> = (hello) => hello,
): Promise<{ socket: TLSSocket; answer: Record<string, unknown> }> => {
  const socket = await dialTls(proxy.ports["gate"] ?? 0, { alpn: "sallyport/1" });
  const proof = proofFor(socket, bound.token, bound.key);
  socket.write(
    frameOf(change({ token: bound.token, key: bound.der.toString("base64"), proof, as: "127.0.0.1:40001" })),
  );
  return { socket, answer: await readAnswer(socket) };
};

/** Until it holds: an event elsewhere brings it about, and nothing tells when. */
export const eventually = async (what: () => boolean): Promise<void> => {
  while (!what()) await new Promise((resolve) => setImmediate(resolve));
};
