// The registry of kinds: a new one is a file in kinds/, a name in core/database.ts and a line here.
import type { Kinds } from "@sallyport/core/kind";
import type { FindManaged } from "@sallyport/core/managed-password";
import type { Clock } from "@sallyport/core/ports";
import { openAssumedRoles } from "./assume.ts";
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

/** All kinds, sharing keys, tokens and the count of logins. One per process. */
export const openKinds = (options: {
  readonly clock: Clock;
  readonly connection?: Connection;
  /** For who logs people in: finds the passwords that are rotated. */
  readonly managed?: FindManaged;
}): Kinds => {
  const { clock, connection = {}, managed } = options;
  const roles = openAssumedRoles({ connection, clock });
  const world: World = { connection, roles, token: openTokens({ clock }), turn: openLimiter({ clock }) };
  const dated = { ...world, now: clock.now };
  const caches = { ...dated, managed };
  return {
    rds: openRds(world),
    aurora: openAurora(world),
    "redshift-serverless": openRedshiftServerless(dated),
    documentdb: openDocumentdb(dated),
    elasticache: openElasticache(caches),
    "elasticache-serverless": openElasticacheServerless(caches),
    memorydb: openMemorydb(caches),
  };
};
