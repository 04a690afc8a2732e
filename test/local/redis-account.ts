// An account with caches and real Redis behind them, and nothing of Sallyport: for tests of the account itself.
import { type Account, type Credentials, openAccount } from "@sallyport/local/account";
import { addSampleCaches, type SampleCache } from "@sallyport/local/cache-sample";
import { type CacheUsers, openCacheUsers } from "@sallyport/local/cache-users";
import { type AccountCaches, openCaches } from "@sallyport/local/caches";
import { createAuthority } from "@sallyport/local/certificate";
import { haveBinaries, howToInstall } from "@sallyport/local/redis/binaries";
import { openElasticache } from "@sallyport/local/services/elasticache";
import { openMemorydb } from "@sallyport/local/services/memorydb";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { openManualTimer } from "./redis-stage.ts";

type Kind = "elasticache" | "elasticache-serverless" | "memorydb";

export const accountId = "111122223333";
export const region = "eu-west-1";

export interface Ground {
  readonly account: Account;
  readonly other: Account;
  readonly users: CacheUsers;
  readonly caches: AccountCaches;
  readonly sample: Readonly<Partial<Record<Kind, SampleCache>>>;
  readonly hosts: ReadonlyMap<string, readonly string[]>;
  readonly ca: string;
  readonly timer: ReturnType<typeof openManualTimer>;
  /** Keys of a role's session whose policy says Connect on everything. */
  readonly session: Credentials;
  now(): number;
  /** Tries a login; answers who is in, or the server's words. */
  login(cache: SampleCache, user: string, password: string, at?: number): Promise<string>;
}

/** Whether there is a Redis on this machine; without, tests are skipped. */
export const installed = (await haveBinaries()) !== undefined;
const start = Date.parse("2026-11-21T12:00:00Z");

/** Opens an account with these caches for one file of tests. */
export const ground = (kinds: readonly Kind[]): (() => Ground) => {
  let made: Ground;
  const close: (() => Promise<void>)[] = [];
  const clients: Redis[] = [];
  beforeEach(({ skip }) => skip(!installed, `no Redis here: ${howToInstall}`));
  afterEach(() => {
    for (const client of clients.splice(0)) client.disconnect();
  });
  afterAll(async () => {
    for (const step of close) await step();
  });
  beforeAll(async () => {
    if (!installed) return;
    const timer = openManualTimer();
    const now = (): number => start + timer.now();
    const account = openAccount({ id: accountId, region, now });
    const other = openAccount({ id: "444455556666", region, now });
    const connect = [{ actions: ["elasticache:Connect", "memorydb:connect"], resources: ["*"] }];
    account.addRole({ name: "proxy", statements: connect });
    const users = openCacheUsers({ now, takesMs: 0 });
    const authority = await createAuthority({ now: Date.now() });
    const hosts = new Map<string, readonly string[]>();
    let address = 2;
    const open = openCaches({
      region,
      accounts: [account, other],
      users,
      elasticache: openElasticache(users, now),
      memorydb: openMemorydb(users, now),
      authority,
      address: () => `127.0.0.${++address}`,
      name: (more) => {
        for (const [name, to] of Object.entries(more)) hosts.set(name, to);
      },
      now,
      timer,
    });
    close.push(open.close);
    const caches = open.of(account);
    // the nodes' delay passes by the clock
    const ticking = setInterval(() => timer.advance(25), 5);
    const sample = await addSampleCaches({ users, caches, accountId, region }, kinds);
    clearInterval(ticking);
    const { credentials: session } = account.session("proxy", { sessionName: "task", lifetimeMs: 100 * 3_600_000 });
    made = {
      ...{ account, other, users, caches, sample, hosts, ca: authority.ca, timer, session, now },
      async login({ cache }, username, password, at = 0) {
        const { host = "", port = 0 } = cache.fronts[at] ?? {};
        const client = new Redis({
          ...{ host, port, username, password, lazyConnect: true, enableReadyCheck: false, maxRetriesPerRequest: 0 },
          tls: { ca: authority.ca, servername: Object.keys(cache.hosts)[at] ?? cache.host },
          retryStrategy: () => null,
        });
        let said: string | undefined;
        client.on("error", ({ message }: Error) => {
          said ??= message;
        });
        clients.push(client);
        try {
          await client.connect();
          return String(await client.call("ACL", "WHOAMI"));
        } catch (thrown) {
          return said ?? String(thrown);
        }
      },
    };
  });
  return () => made;
};
