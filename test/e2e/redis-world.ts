// A world (world.ts) with Redis in it: `till`, a replication group of ElastiCache of a primary and a replica, and `wares`, a cluster
// of MemoryDB of three primaries. Each has the IAM user ann, app, whose password is Sallyport's to rotate, and keeper, whose is
// its own. Needs the server installed; each file skips with the reason where it is not.
import type { ConnectAnswer } from "@sallyport/core/api";
import { secret } from "@sallyport/core/secret";
import type { CachePlace } from "@sallyport/local/cache-user";
import type { AddedCache } from "@sallyport/local/caches";
import type { Laptop } from "@sallyport/local/laptop";
import { haveBinaries, howToInstall } from "@sallyport/local/redis/binaries";
import { eventually } from "./attack.ts";
import { openTunnelFor, type TunnelOf, type Way } from "./clients/way.ts";
import { openWorld, plainly, type World, type WorldOptions } from "./world.ts";

export const missing = (await haveBinaries()) ? undefined : `no Redis here: ${howToInstall}`;

/** What keeper logs in with, by itself. */
export const keeperPassword = "keepers-own-password-1";
/** What app logged in with before anybody rotated it. */
export const firstPassword = "the-first-password-of-app";

export interface Till {
  readonly world: World;
  readonly till: AddedCache;
  /** Runs the function rotate, as each minute does. */
  tick(): Promise<Rotation>;
  close(): Promise<void>;
}
export interface Counter extends Till {
  readonly wares: AddedCache;
  /** Connections that the caches have seen so far. */
  connections(): number;
}
export interface Rotation {
  readonly managed: number;
  readonly due: number;
  readonly rotated: number;
  readonly failed: number;
  readonly waiting: number;
}

const addUsers = ({ cacheUsers }: Laptop, place: CachePlace, group: string): void => {
  cacheUsers.addUser(place, { id: "ann", type: "iam" });
  cacheUsers.addUser(place, {
    id: "app",
    type: "password",
    passwords: [secret(firstPassword)],
    tags: { "sallyport/managed": "true" },
  });
  cacheUsers.addUser(place, { id: "keeper", type: "password", passwords: [secret(keeperPassword)] });
  cacheUsers.changeUser(place, "default", { type: "password", passwords: [secret("nobody-knows-this-one")] });
  cacheUsers.setGroup(place, group, ["default", "ann", "app", "keeper"]);
};

const documents = (region: string) =>
  [
    {
      kind: "discovery_config",
      version: "v1",
      metadata: { name: "caches" },
      spec: { aws: [{ types: ["elasticache", "memorydb"], regions: [region], tags: { "*": ["*"] } }] },
    },
    ...(["caches", "keepers"] as const).map((name) => ({
      kind: "role" as const,
      version: "v7" as const,
      metadata: { name },
      spec: {
        allow: { db_labels: { env: "dev" }, db_users: ["ann", "app", "keeper"] },
        options: name === "keepers" ? { own_auth: true } : { scripts: true, max_session_ttl: "30h" },
      },
    })),
  ] as const;

const placeOf = ({ account, region }: Laptop, service: CachePlace["service"]): CachePlace => ({
  ...{ service, accountId: account.id, region },
});

/** The replication group alone. */
export const openTill = async (options: WorldOptions = {}): Promise<Till> => {
  const world = await openWorld(options);
  try {
    const { laptop } = world;
    laptop.cacheUsers.takes(0);
    addUsers(laptop, placeOf(laptop, "elasticache"), "crew");
    const till = await laptop.databases.addReplicationGroup({ id: "till", userGroups: ["crew"], tags: { env: "dev" } });
    for (const document of documents(laptop.region)) await world.put(structuredClone(document) as never);
    await world.discover();
    const tick = async (): Promise<Rotation> => (await laptop.runtime.invoke("rotate", {})) as Rotation;
    return { world, till, tick, close: world.close };
  } catch (thrown) {
    await world.close();
    throw thrown;
  }
};

export const openCounter = async (options: WorldOptions = {}): Promise<Counter> => {
  const opened = await openTill(options);
  try {
    const { laptop, ...world } = opened.world;
    addUsers(laptop, placeOf(laptop, "memorydb"), "crew");
    const spec = { name: "wares", shards: 3, acl: "crew", tags: { env: "dev" } };
    const wares = await laptop.databases.addMemoryCluster(spec);
    await world.discover();
    const fronts = [...opened.till.fronts, ...wares.fronts];
    return { ...opened, wares, connections: () => fronts.reduce((sum, one) => sum + one.counters().connections, 0) };
  } catch (thrown) {
    await opened.close();
    throw thrown;
  }
};

/** Ticks until every managed user has a password of ours. */
export const rotated = async ({ tick, world }: Till): Promise<void> => {
  await eventually(
    "the first rotation",
    async () => {
      await tick();
      const { resources } = await world.admin.call("listResources", { kind: "managed_user" });
      return resources.length > 0 && resources.every((one) => one.kind === "managed_user" && one.spec.last_success);
    },
    30_000,
  );
};

/** A bearer token for one of the caches. */
export const bearerOf = (
  client: Awaited<ReturnType<World["person"]>>,
  over: { user?: string; database?: string } = {},
): Promise<ConnectAnswer> => client.call("connect", { database: "till", user: "ann", ...over });

/** What a suite of one client works with; ready when its tests run. */
export interface Ground {
  readonly way: Way;
  readonly database: "till" | "wares";
  readonly user: string;
  readonly counter: () => Counter;
}

/** A fresh bearer token each time, which has only so many logins. */
export const plainCache = (counter: () => Counter, person: string, database: string, user: string): Way => {
  let client: ReturnType<World["person"]> | undefined;
  return {
    name: "the plain port",
    place: async () => {
      client ??= counter().world.person(person, ["caches"]);
      return plainly(counter().world.laptop, await bearerOf(await client, { database, user }));
    },
  };
};

/** Through a tunnel that is opened when it is first needed, and told to whoever closes it. */
export const tunnelledCache = (
  counter: () => Counter,
  person: string,
  wish: { readonly database: string; readonly user: string },
  opened: (tunnel: TunnelOf) => void,
): Way => {
  let tunnel: Promise<TunnelOf> | undefined;
  const open = async (): Promise<TunnelOf> => {
    await counter().world.person(person, ["caches"]);
    const made = await openTunnelFor(counter().world, person, wish);
    opened(made);
    return made;
  };
  return {
    name: "the tunnel",
    place: async () => {
      tunnel ??= open();
      const { host, port } = (await tunnel).tunnel;
      return { host, port, user: wish.user, database: "", password: "any" };
    },
  };
};
