// A cache as its clients meet it: real Redis, and before each node a front that shows the node's name in its certificate and lets in
// whom the users of the cache, as they have come to that node, allow.

import { Failure } from "@sallyport/core/failure";
import type { Authority } from "../certificate.ts";
import type { Ask } from "../front.ts";
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

/** Opens a front for each node, `offset` ports after the first; the first's is any that is free for all of them. */
const openFronts = async (
  offsets: readonly number[],
  open: (at: number, port: number) => Promise<Front>,
): Promise<readonly Front[]> => {
  for (let left = 5; ; left--) {
    const fronts: Front[] = [];
    try {
      for (const [at, offset] of offsets.entries()) fronts.push(await open(at, (fronts[0]?.port ?? 0) + offset));
      return fronts;
    } catch (thrown) {
      await Promise.all(fronts.map((front) => front.close()));
      if (left === 0 || !String(thrown).includes("EADDRINUSE")) throw thrown;
    }
  }
};

export const openCache = async (options: CacheOptions): Promise<Cache> => {
  const { names, authority, check = () => false, timer, delayMs } = options;
  let used = 2;
  const next = options.address ?? (() => `127.0.0.${++used}`);
  const addresses = new Map<string, string>();
  for (const name of names) if (!addresses.has(name)) addresses.set(name, next());
  const identity = await authority.issue(options.certified ?? [...new Set(names)]);
  let started: { readonly redis: Redis; readonly following: Following } | undefined;
  const behind = () => {
    if (!started) throw new Failure("starting", "the redis behind the front is not there yet");
    return started;
  };
  // the nodes must be told what ports the fronts have, so the fronts come first
  const fronts = await openFronts(
    names.map((name, at) => names.slice(0, at).filter((other) => other === name).length),
    (at, port) =>
      startRedisFront({
        node: () => behind().redis.nodes[at],
        isIam: (user) => behind().following.isIam(at, user),
        ...{ identity, check, port, host: addresses.get(names[at] ?? "") ?? "" },
        ...(timer && { timer }),
      }),
  );
  const close = async (): Promise<void> => {
    await Promise.all(fronts.map((front) => front.close()));
    await started?.redis.stop();
  };
  try {
    const redis = await startRedis({
      announced: fronts.map(({ host, port }, at) => ({ host, port, name: names[at] ?? "" })),
      ...(options.direct && { authority }),
      ...(options.primaries !== undefined && { primaries: options.primaries }),
      ...(options.replicas !== undefined && { replicas: options.replicas }),
    });
    const following = openFollowing(redis.nodes, {
      ...(timer && { timer }),
      ...(delayMs !== undefined && { delayMs }),
    });
    started = { redis, following };
    const { apply, lag, delay } = following;
    const hosts = Object.fromEntries([...addresses].map(([name, host]) => [name, [host]]));
    return { redis, fronts, port: fronts[0]?.port ?? 0, hosts, close, apply, lag, delay };
  } catch (thrown) {
    await close();
    throw thrown;
  }
};
