// A cache as its clients meet it: real Redis, and before each node a front that shows the node's name in its certificate and lets in
// whom the users of the cache, as they have come to that node, allow.

import type { Authority } from "../certificate.ts";
import type { Ask } from "../front.ts";
import { freePort } from "../mariadb/port.ts";
import type { Timer } from "../timer.ts";
import { type Following, openFollowing } from "./following.ts";
import { type Front, startRedisFront } from "./front.ts";
import { type Redis, startRedis } from "./server.ts";

export interface CacheOptions {
  /** Primaries of a cluster; without, there is no cluster, and one primary. */
  readonly primaries?: number;
  /** Replicas of each primary. Default none. */
  readonly replicas?: number;
  /** Where each node is reached, primaries first; the same name twice has a port of its own for the second. */
  readonly names: readonly string[];
  /** What the certificates say: `*.orders.a1b2c3.euw1.cache.amazonaws.com`. Default the names. */
  readonly certified?: readonly string[];
  readonly authority: Authority;
  /** The nodes' own TLS ports show certificates of this authority too, to be tried without a front. */
  readonly direct?: boolean;
  /** The next loopback address that nobody has. Default 127.0.0.3 and on: ports keep caches apart. */
  readonly address?: () => string;
  /** Is this IAM token good for this user, here? Default no. */
  readonly check?: (ask: Ask) => boolean | Promise<boolean>;
  /** How long each node is behind the one before it when users change, in milliseconds. Default 0. */
  readonly delayMs?: number;
  readonly timer?: Timer;
}

export interface Cache extends Pick<Following, "apply" | "lag" | "delay"> {
  readonly redis: Redis;
  /** One before each node, in the nodes' order. */
  readonly fronts: readonly Front[];
  /** The port of the first front, and of all others but those whose name was taken. */
  readonly port: number;
  /** Names and the addresses they lead to. */
  readonly hosts: Readonly<Record<string, readonly string[]>>;
  close(): Promise<void>;
}

/** Two ports in a row that nobody has on any of these addresses. */
const freePair = async (hosts: readonly string[]): Promise<number> => {
  const [first = "127.0.0.1"] = hosts;
  for (let left = 20; ; left--) {
    const port = await freePort(first);
    const taken = await Promise.all(
      hosts.flatMap((host) =>
        [port, port + 1].map((one) =>
          freePort(host, one).then(
            () => false,
            () => true,
          ),
        ),
      ),
    );
    if (!taken.includes(true) || left === 0) return port;
  }
};

export const openCache = async (options: CacheOptions): Promise<Cache> => {
  const { names, authority, check = () => false, timer, delayMs } = options;
  let used = 2;
  const next = options.address ?? (() => `127.0.0.${++used}`);
  const addresses = new Map<string, string>();
  for (const name of names) if (!addresses.has(name)) addresses.set(name, next());
  const port = await freePair([...addresses.values()]);
  const announced = names.map((name, at) => ({
    name,
    host: addresses.get(name) ?? "",
    port: port + names.slice(0, at).filter((other) => other === name).length,
  }));
  const redis = await startRedis({
    announced,
    ...(options.direct && { authority }),
    ...(options.primaries !== undefined && { primaries: options.primaries }),
    ...(options.replicas !== undefined && { replicas: options.replicas }),
  });
  const following = openFollowing(redis.nodes, {
    ...(timer && { timer }),
    ...(delayMs !== undefined && { delayMs }),
  });
  const fronts: Front[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(fronts.map((front) => front.close()));
    await redis.stop();
  };
  try {
    const identity = await authority.issue(options.certified ?? [...new Set(names)]);
    for (const [at, node] of redis.nodes.entries())
      fronts.push(
        await startRedisFront({
          node,
          identity,
          check,
          isIam: (user) => following.isIam(at, user),
          ...announced[at],
          ...(timer && { timer }),
        }),
      );
  } catch (thrown) {
    await close();
    throw thrown;
  }
  const hosts = Object.fromEntries([...addresses].map(([name, host]) => [name, [host]]));
  return { redis, fronts, port, hosts, close, apply: following.apply, lag: following.lag, delay: following.delay };
};
