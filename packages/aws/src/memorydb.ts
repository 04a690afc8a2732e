// The API of MemoryDB: clusters page by page, tags, users, and the two passwords of one. A user's id is its name here, and its
// groups are the ACLs it is in.
// https://docs.aws.amazon.com/memorydb/latest/APIReference/Welcome.html
import {
  type Cluster,
  DescribeClustersCommand,
  DescribeUsersCommand,
  ListTagsCommand,
  MemoryDBClient,
  UpdateUserCommand,
  type User,
} from "@aws-sdk/client-memorydb";
import type { Listing } from "@sallyport/core/kind";
import { type CacheApi, type CacheUser, isMissing } from "./cache.ts";
import { wordCall } from "./call.ts";
import { once, openClients, pages, prompt } from "./page.ts";
import type { World } from "./rds.ts";

const pageSize = 50;

export const openMemorydbApi = (world: Pick<World, "connection" | "roles">) => {
  const clientFor = openClients(world, (options) => new MemoryDBClient(options));
  const askerFor = openClients(world, (options) => new MemoryDBClient(options), prompt);
  const changerFor = openClients(world, (options) => new MemoryDBClient(options), once);
  const at = (NextToken: string | undefined) => (NextToken === undefined ? {} : { NextToken });

  const api: CacheApi = {
    service: "memorydb",
    userArn: ({ partition, region, account }, user) => `arn:${partition}:memorydb:${region}:${account}:user/${user}`,
    async user(listing, UserName) {
      try {
        const { Users = [] } = await askerFor(listing).send(new DescribeUsersCommand({ UserName }));
        return Users[0] && cacheUser(Users[0]);
      } catch (thrown) {
        if (isMissing(thrown)) return undefined;
        throw wordCall(thrown, "memorydb:DescribeUsers", listing.region);
      }
    },
    async *users(listing) {
      const all = pages<User>("memorydb:DescribeUsers", listing, async (token) => {
        const command = new DescribeUsersCommand({ MaxResults: pageSize, ...at(token) });
        const { Users: items, NextToken: next } = await clientFor(listing).send(command);
        return { items, next };
      });
      for await (const page of all) yield page.map(cacheUser);
    },
    async tags(listing, ResourceArn) {
      const { TagList = [] } = await clientFor(listing).send(new ListTagsCommand({ ResourceArn }));
      return Object.fromEntries(TagList.map(({ Key = "", Value = "" }) => [Key, Value]));
    },
    async setPasswords(listing, UserName, passwords) {
      const Passwords = passwords.map((one) => one.reveal());
      await changerFor(listing).send(
        new UpdateUserCommand({ UserName, AuthenticationMode: { Type: "password", Passwords } }),
      );
    },
  };
  return {
    ...api,
    clusters: (listing: Listing): AsyncIterable<readonly Cluster[]> =>
      pages("memorydb:DescribeClusters", listing, async (token) => {
        const command = new DescribeClustersCommand({ MaxResults: pageSize, ...at(token) });
        const { Clusters: items, NextToken: next } = await clientFor(listing).send(command);
        return { items, next };
      }),
  };
};
export type MemorydbApi = ReturnType<typeof openMemorydbApi>;

const cacheUser = ({ Name = "", ARN = "", Status = "", ...user }: User): CacheUser => ({
  id: Name,
  name: Name,
  arn: ARN,
  state: Status.toLowerCase(),
  authentication: (user.Authentication?.Type ?? "").toLowerCase(),
  groups: user.ACLNames ?? [],
});
