import type { LookupFunction } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { secret } from "@sallyport/core/secret";
import type { CacheUser } from "@sallyport/local/cache-user";
import { type Authority, createAuthority } from "@sallyport/local/certificate";
import type { Ask } from "@sallyport/local/front";
import { haveBinaries, howToInstall } from "@sallyport/local/redis/binaries";
import { type Cache, type CacheOptions, openCache } from "@sallyport/local/redis/cache";
import type { Timer } from "@sallyport/local/timer";
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { hearLines } from "./redis-lines.ts";

export const domain = "orders.abc123.euw1.cache.amazonaws.com";
export const token = `orders/?Action=connect&User=ada&X-Amz-Signature=${"0".repeat(1500)}`;

export const user = (name: string, over: Partial<CacheUser> = {}): CacheUser => ({
  id: name,
  name,
  arn: `arn:aws:elasticache:eu-west-1:111122223333:user:${name}`,
  type: "password",
  passwords: [secret(`${name}-has-a-long-password`)],
  accessString: "on ~* +@all",
  engine: "redis",
  ...over,
});
export const iam = (name: string, over: Partial<CacheUser> = {}): CacheUser =>
  user(name, { type: "iam", passwords: [], ...over });
export const nobody = user("default", { accessString: "off -@all" });

/** A clock that goes on when it is told to, and does then what was due. */
export const openManualTimer = (): Timer & { advance(ms: number): void } => {
  let now = 0;
  let due: readonly { readonly at: number; readonly run: () => void }[] = [];
  return {
    now: () => now,
    after(ms, run) {
      const one = { at: now + ms, run };
      due = [...due, one];
      return () => {
        due = due.filter((other) => other !== one);
      };
    },
    advance(ms) {
      now += ms;
      const ripe = due.filter(({ at }) => at <= now);
      due = due.filter(({ at }) => at > now);
      for (const { run } of ripe) run();
    },
  };
};

export let authority: Authority;
export const asked: Ask[] = [];
const clients: { disconnect(): void }[] = [];
const installed = await haveBinaries();

/** Opens one cache for a file of tests; `cache()` is it. */
export const stage = (options: Partial<CacheOptions> = {}): (() => Cache) => {
  let cache: Cache;
  beforeEach(({ skip }) => skip(!installed, `no Redis here: ${howToInstall}`));
  beforeAll(async () => {
    if (!installed) return;
    authority ??= await createAuthority({ now: Date.now() });
    const check = (ask: Ask): boolean => {
      asked.push(ask);
      return ask.password.reveal() === token;
    };
    cache = await openCache({ names: [`master.${domain}`], certified: [`*.${domain}`], authority, check, ...options });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.disconnect();
    if (installed) await Promise.all(cache.fronts.map((front) => front.misbehave()));
    asked.splice(0);
  });
  afterAll(() => cache?.close());
  return () => cache;
};

/** What every client is told: where, the root, and a name to verify. */
export const place = (cache: Cache, at = 0) => {
  const { host = "", port = 0 } = cache.fronts[at] ?? {};
  return { host, port, tls: { ca: authority.ca, servername: `master.${domain}` } };
};

/** A client that does not try again. */
export const dial = (cache: Cache, over: Omit<RedisOptions, "replyMapping"> = {}, at = 0): Redis => {
  const client = new Redis({
    ...place(cache, at),
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    ...over,
  });
  client.on("error", () => {}); // what goes wrong fails a command too
  clients.push(client);
  return client;
};

/** The laptop's names, for a client that takes a resolver; each node is then verified by its own name. */
const lookupIn =
  ({ hosts }: Cache): LookupFunction =>
  (name, { all }, answer) => {
    const address = hosts[name]?.[0];
    if (address === undefined) answer(new Error(`no ${name} here`), "", 4);
    else if (all) answer(null, [{ address, family: 4 }]);
    else answer(null, address, 4);
  };

export const dialCluster = (cache: Cache, login: { username: string; password: string }) => {
  const [name = ""] = Object.keys(cache.hosts);
  const client = new Cluster([{ host: name, port: cache.port }], {
    redisOptions: { ...login, tls: { ca: authority.ca, lookup: lookupIn(cache) } },
    dnsLookup: (asked, answer) => answer(null, asked, 4),
    clusterRetryStrategy: () => null,
  });
  client.on("error", () => {});
  clients.push(client);
  return client;
};

/** A connection at the level of bytes. */
export const dialRaw = async (cache: Cache, at = 0) => {
  const { host, port, tls } = place(cache, at);
  const socket = await new Promise<TLSSocket>((answer, refuse) => {
    const made = connectTls({ host, port, ...tls }, () => answer(made)).once("error", refuse);
  });
  clients.push({ disconnect: () => void socket.destroy() });
  const { lines, rest } = hearLines(socket);
  return {
    socket,
    say: (text: string | Buffer): void => void socket.write(text),
    lines,
    ended: async (): Promise<void> => void (await rest()),
  };
};
