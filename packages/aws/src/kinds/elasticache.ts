// ElastiCache replication groups: the configuration endpoint where there is one, else the primary and the reader of each node
// group. A user logs in by a rotated password or by IAM.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
import type { Kind } from "@sallyport/core/kind";
import { type CacheWorld, cacheCredential } from "../cache.ts";
import { managedUsersOf, managingOf } from "../cache-managed.ts";
import { discoverCaches } from "../cache-sighting.ts";
import { openElasticacheApi } from "../elasticache.ts";
import { groupOf, groupsIn, guardedIn } from "../elasticache-cache.ts";

export const openElasticache = (world: CacheWorld): Kind => {
  const api = openElasticacheApi(world);
  return {
    name: "elasticache",
    credential: cacheCredential(world, api),
    ...managingOf(api),
    managedUsers: (listing) => managedUsersOf(api, listing, () => guardedIn(api, listing, "replicationgroup")),
    discover: (listing) => discoverCaches(api, listing, groupsIn(api, listing), (group) => groupOf(group, listing)),
  };
};
