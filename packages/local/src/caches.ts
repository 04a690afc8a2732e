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

  const of = (account: Account): AccountCaches => {
    const where = { accountId: account.id, region };
    return {
      async addReplicationGroup(spec) {
        const draft = elasticache.addReplicationGroup(where, spec);
        const id = draft.ReplicationGroupId ?? "";
        const ref = groupRef(where, id);
        const clustered = isClustered(spec);
        const members = membersOf(where, { ...spec, id });
        const shards = Math.max(...members.map(({ shard }) => shard)) + 1;
        const names = primariesFirst(
          members.map(({ host }) => host),
          shards,
        );
        const replicas = members.length / shards - 1;
        const cache = await open(account, ref, { names, replicas, ...(clustered && { primaries: shards }) });
        const [endpoint] = draft.NodeGroups ?? [];
        const addresses = cache.fronts.map(({ host }) => host);
        const point = (primary: number): void => {
          const readers = addresses.filter((_, at) => at !== primary);
          options.name(
            clustered
              ? { [draft.ConfigurationEndpoint?.Address ?? ""]: addresses }
              : {
                  [endpoint?.PrimaryEndpoint?.Address ?? ""]: [addresses[primary] ?? ""],
                  [endpoint?.ReaderEndpoint?.Address ?? ""]: readers.length > 0 ? readers : addresses,
                },
          );
        };
        let primary = 0;
        point(primary);
        elasticache.setPort(where, id, cache.port);
        return {
          ...cache,
          ref,
          host: draft.ConfigurationEndpoint?.Address ?? endpoint?.PrimaryEndpoint?.Address ?? "",
          promote: async (at) => {
            await cache.redis.promote(at);
            if (clustered) return;
            const before = cache.fronts[primary];
            primary = at;
            point(primary);
            before?.cut();
          },
        };
      },

      async addServerlessCache(spec) {
        const draft = elasticache.addServerlessCache(where, spec);
        const name = draft.ServerlessCacheName ?? "";
        const host = draft.Endpoint?.Address ?? "";
        const ref = serverlessRef(where, name);
        const cache = await open(account, ref, { names: [host, host], primaries: 1, replicas: 1 });
        elasticache.setPort(where, name, cache.port, cache.port + 1);
        return { ...cache, ref, host, promote: cache.redis.promote };
      },

      async addMemoryCluster(spec) {
        const draft = memorydb.addCluster(where, spec);
        const name = draft.Name ?? "";
        const shards = draft.Shards ?? [];
        const all = shards.flatMap(({ Nodes = [] }) => Nodes.map(({ Endpoint }) => Endpoint?.Address ?? ""));
        const ref = clusterRef(where, name);
        const cache = await open(account, ref, {
          names: primariesFirst(all, shards.length),
          primaries: shards.length,
          replicas: all.length / shards.length - 1,
        });
        const host = draft.ClusterEndpoint?.Address ?? "";
        options.name({ [host]: cache.fronts.map((front) => front.host) });
        memorydb.setPort(where, name, cache.port);
        return { ...cache, ref, host, promote: cache.redis.promote };
      },
    };
  };

  return {
    of,
    close: async () => {
      await Promise.all(opened.splice(0).map((one) => one.close()));
    },
  };
};
