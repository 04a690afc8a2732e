// The registry of kinds: a new one is a file in kinds/, a name in core/database.ts and a line here.
import type { Kinds } from "@sallyport/core/kind";
import type { Clock } from "@sallyport/core/ports";
import { openAssumedRoles } from "./assume.ts";
import type { Connection } from "./client.ts";
import { openTokens } from "./iam.ts";
import { openAurora } from "./kinds/aurora.ts";
import { openDocumentdb } from "./kinds/documentdb.ts";
import { openRds } from "./kinds/rds.ts";
import { openRedshiftServerless } from "./kinds/redshift-serverless.ts";
import { openLimiter } from "./limiter.ts";
import type { World } from "./rds.ts";

/** All kinds, sharing keys, tokens and the count of logins. One per process. */
export const openKinds = (options: { clock: Clock; connection?: Connection }): Kinds => {
  const { clock, connection = {} } = options;
  const roles = openAssumedRoles({ connection, clock });
  const world: World = { connection, roles, token: openTokens({ clock }), turn: openLimiter({ clock }) };
  const dated = { ...world, now: clock.now };
  return {
    rds: openRds(world),
    aurora: openAurora(world),
    "redshift-serverless": openRedshiftServerless(dated),
    documentdb: openDocumentdb(dated),
  };
};
