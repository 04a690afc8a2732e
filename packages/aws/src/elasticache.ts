// The API of ElastiCache: listings page by page, tags, users, and the two passwords of one.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/Welcome.html
import {
  type CacheCluster,
  DescribeCacheClustersCommand,
  DescribeReplicationGroupsCommand,
  DescribeServerlessCachesCommand,
  DescribeUsersCommand,
  ElastiCacheClient,
  ListTagsForResourceCommand,
  ModifyUserCommand,
  type ReplicationGroup,
  type ServerlessCache,
  type User,
} from "@aws-sdk/client-elasticache";
import type { Listing } from "@sallyport/core/kind";
import { type CacheApi, type CacheUser, isMissing } from "./cache.ts";
import { wordCall } from "./call.ts";
import { once, openClients, pages, prompt } from "./page.ts";
import type { World } from "./rds.ts";

const pageSize = 100;
/** What the newer listings answer at most. */
const shortPage = 50;

export const openElasticacheApi = (world: Pick<World, "connection" | "roles">) => {
  const clientFor = openClients(world, (options) => new ElastiCacheClient(options));
  const askerFor = openClients(world, (options) => new ElastiCacheClient(options), prompt);
  const changerFor = openClients(world, (options) => new ElastiCacheClient(options), once);
  const at = (Marker: string | undefined) => (Marker === undefined ? {} : { Marker });

  const api: CacheApi = {
    service: "elasticache",
    userArn: ({ partition, region, account }, user) => `arn:${partition}:elasticache:${region}:${account}:user:${user}`,
    async user(listing, UserId) {
      try {
        const { Users = [] } = await askerFor(listing).send(new DescribeUsersCommand({ UserId }));
        return Users[0] && cacheUser(Users[0]);
      } catch (thrown) {
        if (isMissing(thrown)) return undefined;
        throw wordCall(thrown, "elasticache:DescribeUsers", listing.region);
      }
    },
    async *users(listing) {
      const all = pages<User>("elasticache:DescribeUsers", listing, async (marker) => {
        const command = new DescribeUsersCommand({ MaxRecords: shortPage, ...at(marker) });
        const { Users: items, Marker: next } = await clientFor(listing).send(command);
        return { items, next };
      });
      for await (const page of all) yield page.map(cacheUser);
    },
    async tags(listing, ResourceName) {
      const { TagList = [] } = await clientFor(listing).send(new ListTagsForResourceCommand({ ResourceName }));
      return Object.fromEntries(TagList.map(({ Key = "", Value = "" }) => [Key, Value]));
    },
    async setPasswords(listing, UserId, passwords) {
      const Passwords = passwords.map((one) => one.reveal());
      await changerFor(listing).send(
        new ModifyUserCommand({ UserId, AuthenticationMode: { Type: "password", Passwords } }),
      );
    },
  };
  return {
    ...api,
    groups: (listing: Listing): AsyncIterable<readonly ReplicationGroup[]> =>
      pages("elasticache:DescribeReplicationGroups", listing, async (marker) => {
        const command = new DescribeReplicationGroupsCommand({ MaxRecords: pageSize, ...at(marker) });
        const { ReplicationGroups: items, Marker: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
    members: (listing: Listing): AsyncIterable<readonly CacheCluster[]> =>
      pages("elasticache:DescribeCacheClusters", listing, async (marker) => {
        const command = new DescribeCacheClustersCommand({ MaxRecords: pageSize, ...at(marker) });
        const { CacheClusters: items, Marker: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
    serverless: (listing: Listing): AsyncIterable<readonly ServerlessCache[]> =>
      pages("elasticache:DescribeServerlessCaches", listing, async (token) => {
        const more = token === undefined ? {} : { NextToken: token };
        const command = new DescribeServerlessCachesCommand({ MaxResults: shortPage, ...more });
        const { ServerlessCaches: items, NextToken: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
  };
};
export type ElasticacheApi = ReturnType<typeof openElasticacheApi>;

const cacheUser = ({ UserId = "", UserName = "", ARN = "", Status = "", ...user }: User): CacheUser => ({
  id: UserId,
  name: UserName,
  arn: ARN,
  state: Status.toLowerCase(),
  authentication: (user.Authentication?.Type ?? "").toLowerCase(),
  groups: user.UserGroupIds ?? [],
});
