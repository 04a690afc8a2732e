// The registry of kinds: a new one is a file in kinds/, a name in core/database.ts and a line here.
import type { Kinds } from "@sallyport/core/kind";
import type { FindManaged } from "@sallyport/core/managed-password";
import type { Clock } from "@sallyport/core/ports";
import { openAssumedRoles } from "./assume.ts";
import type { CacheWorld } from "./cache.ts";
import type { Connection } from "./client.ts";
import { openTokens } from "./iam.ts";
import { openAurora } from "./kinds/aurora.ts";
import { openDocumentdb } from "./kinds/documentdb.ts";
import { openElasticache } from "./kinds/elasticache.ts";
import { openElasticacheServerless } from "./kinds/elasticache-serverless.ts";
import { openMemorydb } from "./kinds/memorydb.ts";
import { openRds } from "./kinds/rds.ts";
import { openRedshiftServerless } from "./kinds/redshift-serverless.ts";
import { openLimiter } from "./limiter.ts";
import type { World } from "./rds.ts";

interface Options {
  readonly clock: Clock;
  readonly connection?: Connection;
  /** For who logs people in: finds the passwords that are rotated. */
  readonly managed?: FindManaged;
}

/** What kinds share: keys, tokens and the count of logins. */
const openWorld = ({ clock, connection = {} }: Options): World & { readonly now: () => number } => ({
  connection,
  roles: openAssumedRoles({ connection, clock }),
  token: openTokens({ clock }),
  turn: openLimiter({ clock }),
  now: clock.now,
});

const cachesOf = (world: CacheWorld) => ({
  elasticache: openElasticache(world),
  "elasticache-serverless": openElasticacheServerless(world),
  memorydb: openMemorydb(world),
});

/** Those whose users' passwords rotate, without the others' clients, which are a tenth of a bundle. */
export const openCacheKinds = (options: Options): Partial<Kinds> => cachesOf(openWorld(options));

/** All kinds, sharing keys, tokens and the count of logins. One per process. */
export const openKinds = (options: Options): Kinds => {
  const world = openWorld(options);
  return {
    rds: openRds(world),
    aurora: openAurora(world),
    "redshift-serverless": openRedshiftServerless(world),
    documentdb: openDocumentdb(world),
    ...cachesOf({ ...world, managed: options.managed }),
  };
};
