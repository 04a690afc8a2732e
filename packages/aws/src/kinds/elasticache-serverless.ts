// ElastiCache Serverless: one database each, always a cluster behind its one endpoint. Its reader is a second port of the same
// host, which clients choose by READONLY, and no database of its own. Users are ElastiCache's.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ServerlessCache.html
import type { Kind } from "@sallyport/core/kind";
import { type CacheWorld, cacheCredential } from "../cache.ts";
import { managedUsersOf, managingOf } from "../cache-managed.ts";
import { discoverCaches } from "../cache-sighting.ts";
import { openElasticacheApi } from "../elasticache.ts";
import { guardedIn, serverlessOf } from "../elasticache-cache.ts";

export const openElasticacheServerless = (world: CacheWorld): Kind => {
  const api = openElasticacheApi(world);
  return {
    name: "elasticache-serverless",
    credential: cacheCredential(world, api, { serverless: true }),
    ...managingOf(api),
    managedUsers: (listing) => managedUsersOf(api, listing, () => guardedIn(api, listing, "serverlesscache")),
    discover: (listing) => discoverCaches(api, listing, api.serverless(listing), serverlessOf),
  };
};
