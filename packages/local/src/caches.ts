// The laptop's caches: a replication group, a serverless cache or a MemoryDB cluster in the emulated APIs, real Redis behind a
// front for each of its nodes, and the names that lead there. Its users are those of its groups or ACL. A front lets in whoever
// shows a token that AWS would take: for this cache, this user, in time, signed by somebody whose policy says Connect on both.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
import { type Account, keysOf } from "./account.ts";
import { type CacheRef, cacheArn } from "./cache-user.ts";
import type { CacheUsers } from "./cache-users.ts";
import type { Authority } from "./certificate.ts";
import { isClustered, membersOf, type ReplicationGroupSpec, type ServerlessSpec } from "./elasticache-record.ts";
import type { Ask } from "./front.ts";
import type { Hosts } from "./hosts.ts";
import type { ClusterSpec } from "./memorydb-record.ts";
import { type Cache, openCache } from "./redis/cache.ts";
import { type Elasticache, groupRef, serverlessRef } from "./services/elasticache.ts";
import { clusterRef, type Memorydb } from "./services/memorydb.ts";
import { verifyToken } from "./signature.ts";
import type { Timer } from "./timer.ts";

/** A cache that its API shows and that may be dialled. */
export interface AddedCache extends Omit<Cache, "apply" | "close"> {
  readonly ref: CacheRef;
  /** Its primary, configuration or only endpoint; `port` is that of all endpoints. */
  readonly host: string;
  /** Makes a replica the primary; names that lead to a primary follow it, and the old one's sessions end. */
  promote(at: number): Promise<void>;
}

export interface AccountCaches {
  /** A replication group: with cluster mode disabled a primary and a reader endpoint, else a cluster. */
  addReplicationGroup(spec: ReplicationGroupSpec): Promise<AddedCache>;
  /** A serverless cache: a cluster that shows one node, and its replica at a second port of the same host. */
  addServerlessCache(spec: ServerlessSpec): Promise<AddedCache>;
  addMemoryCluster(spec: ClusterSpec): Promise<AddedCache>;
}

export interface CachesOptions {
  readonly region: string;
  readonly accounts: readonly Account[];
  readonly users: CacheUsers;
  readonly elasticache: Elasticache;
  readonly memorydb: Memorydb;
  readonly authority: Authority;
  /** The next loopback address that nobody has. */
  readonly address: () => string;
  /** Adds names, and the addresses they lead to. */
  readonly name: (hosts: Hosts) => void;
  readonly now: () => number;
  /** For what takes its time, tests apart. */
  readonly timer?: Timer;
}

export interface Caches {
  of(account: Account): AccountCaches;
  close(): Promise<void>;
}

const nodeDelayMs = 25;

/** Sorts nodes shard by shard to primaries first, as they are started. */
const primariesFirst = (names: readonly string[], shards: number): readonly string[] => {
  const size = names.length / shards;
  return names.map((_, at) => names[(at % shards) * size + Math.floor(at / shards)] ?? "");
};

export const openCaches = (options: CachesOptions): Caches => {
  const { region, users, elasticache, memorydb, authority } = options;
  const opened: { close(): Promise<void> }[] = [];

  /** Would AWS let this token in? Never throws: a token that can't be read is a wrong one. */
  const check = (account: Account, ref: CacheRef, ask: Ask): boolean => {
    try {
      const type: Readonly<Record<string, string>> =
        ref.type === "serverlesscache" ? { ResourceType: "ServerlessCache" } : {};
      const token = ask.password.reveal();
      const { identity } = verifyToken({
        token,
        service: ref.service,
        host: ref.id,
        region,
        expect: { Action: "connect", User: ask.user, ...type },
        credentials: keysOf(options.accounts),
        now: options.now(),
      });
      const parameters = new URLSearchParams(token.slice(token.indexOf("?")));
      const user = users.usersOf(ref).find(({ name }) => name === ask.user);
      if (!user || (parameters.has("ResourceType") && ref.type !== "serverlesscache")) return false;
      const action = ref.service === "memorydb" ? "memorydb:connect" : "elasticache:Connect";
      return [cacheArn(ref, ref.type, ref.id), user.arn].every((arn) => account.may(identity, action, arn));
    } catch {
      return false;
    }
  };

  const open = async (
    account: Account,
    ref: CacheRef,
    shape: { readonly names: readonly string[]; readonly primaries?: number; readonly replicas: number },
  ): Promise<Cache> => {
    const { names } = shape;
    const wildcard = names[0]?.replace(/^[^.]+/, "*") ?? "";
    const cache = await openCache({
      ...shape,
      // a serverless cache has one name, and what is beside it is other people's
      certified: ref.type === "serverlesscache" ? [...new Set(names)] : [wildcard],
      authority,
      address: options.address,
      check: (ask) => check(account, ref, ask),
      delayMs: nodeDelayMs,
      ...(options.timer && { timer: options.timer }),
    });
    const first = Promise.withResolvers<void>();
    const forget = users.follow(ref, async (all) => {
      try {
        await cache.apply(all);
        first.resolve();
      } catch (thrown) {
        first.reject(thrown);
        throw thrown;
      }
    });
    opened.push({
      close: () => {
        forget();
        return cache.close();
      },
    });
    await first.promise;
    options.name(cache.hosts);
    return cache;
  };

  const addReplicationGroup = async (account: Account, spec: ReplicationGroupSpec): Promise<AddedCache> => {
    const where = { accountId: account.id, region };
    const draft = elasticache.addReplicationGroup(where, spec);
    const id = draft.ReplicationGroupId ?? "";
    const ref = groupRef(where, id);
    const clustered = isClustered(spec);
    const members = membersOf(where, { ...spec, id });
    const shards = Math.max(...members.map(({ shard }) => shard)) + 1;
    const hosts = members.map(({ host }) => host);
    const cache = await open(account, ref, {
      names: primariesFirst(hosts, shards),
      replicas: members.length / shards - 1,
      ...(clustered && { primaries: shards }),
    });
    elasticache.setPort(where, id, cache.port);
    const addresses = cache.fronts.map(({ host }) => host);
    if (clustered) {
      const host = draft.ConfigurationEndpoint?.Address ?? "";
      options.name({ [host]: addresses });
      return { ...cache, ref, host, promote: cache.redis.promote };
    }
    const [{ PrimaryEndpoint, ReaderEndpoint } = {}] = draft.NodeGroups ?? [];
    const host = PrimaryEndpoint?.Address ?? "";
    let primary = 0;
    const point = (): void => {
      const readers = addresses.filter((_, at) => at !== primary);
      options.name({
        [host]: [addresses[primary] ?? ""],
        [ReaderEndpoint?.Address ?? ""]: readers.length > 0 ? readers : addresses,
      });
    };
    point();
    const promote = async (at: number): Promise<void> => {
      await cache.redis.promote(at);
      const before = cache.fronts[primary];
      primary = at;
      point();
      before?.cut();
    };
    return { ...cache, ref, host, promote };
  };

  const addServerlessCache = async (account: Account, spec: ServerlessSpec): Promise<AddedCache> => {
    const where = { accountId: account.id, region };
    const draft = elasticache.addServerlessCache(where, spec);
    const name = draft.ServerlessCacheName ?? "";
    const host = draft.Endpoint?.Address ?? "";
    const ref = serverlessRef(where, name);
    const cache = await open(account, ref, { names: [host, host], primaries: 1, replicas: 1 });
    elasticache.setPort(where, name, cache.port, cache.port + 1);
    return { ...cache, ref, host, promote: cache.redis.promote };
  };

  const addMemoryCluster = async (account: Account, spec: ClusterSpec): Promise<AddedCache> => {
    const where = { accountId: account.id, region };
    const draft = memorydb.addCluster(where, spec);
    const name = draft.Name ?? "";
    const host = draft.ClusterEndpoint?.Address ?? "";
    const shards = draft.Shards ?? [];
    const all = shards.flatMap(({ Nodes = [] }) => Nodes.map(({ Endpoint }) => Endpoint?.Address ?? ""));
    const ref = clusterRef(where, name);
    const cache = await open(account, ref, {
      names: primariesFirst(all, shards.length),
      primaries: shards.length,
      replicas: all.length / shards.length - 1,
    });
    options.name({ [host]: cache.fronts.map((front) => front.host) });
    memorydb.setPort(where, name, cache.port);
    return { ...cache, ref, host, promote: cache.redis.promote };
  };

  return {
    of: (account) => ({
      addReplicationGroup: (spec) => addReplicationGroup(account, spec),
      addServerlessCache: (spec) => addServerlessCache(account, spec),
      addMemoryCluster: (spec) => addMemoryCluster(account, spec),
    }),
    close: async () => {
      await Promise.all(opened.splice(0).map((one) => one.close()));
    },
  };
};
