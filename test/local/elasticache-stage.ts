// An ElastiCache of one account and what its tests ask of it, made anew for each test.
import {
  DescribeUsersCommand,
  ElastiCacheClient,
  ListTagsForResourceCommand,
  ModifyUserCommand,
  type ModifyUserCommandInput,
} from "@aws-sdk/client-elasticache";
import { secret } from "@sallyport/core/secret";
import { openAccount } from "@sallyport/local/account";
import type { CachePlace } from "@sallyport/local/cache-user";
import { openCacheUsers } from "@sallyport/local/cache-users";
import { openEndpoint } from "@sallyport/local/endpoint";
import { openElasticache } from "@sallyport/local/services/elasticache";
import { beforeEach } from "vitest";

export const words = { one: "1".repeat(16), two: "2".repeat(128), three: "3".repeat(64) };
export const password = (...Passwords: string[]) => ({
  AuthenticationMode: { Type: "password" as const, Passwords },
});
export const appArn = "arn:aws:elasticache:eu-west-1:111122223333:user:app";

const open = async () => {
  const clock = { now: Date.now() };
  const now = () => clock.now;
  const account = openAccount({ now });
  const home = { accountId: account.id, region: "eu-west-1" };
  const place: CachePlace = { service: "elasticache", ...home };
  const users = openCacheUsers({ now, takesMs: 60_000 });
  const elasticache = openElasticache(users, now);
  const endpoint = await openEndpoint({ accounts: [account], services: [elasticache.api], now });
  const { credentials } = account.addUser({
    name: "ann",
    statements: [{ actions: ["elasticache:*"], resources: ["*"] }],
  });
  const clients: ElastiCacheClient[] = [];
  const clientOf = (keys = credentials, region = "eu-west-1") => {
    const made = new ElastiCacheClient({ endpoint: endpoint.url, region, credentials: keys, maxAttempts: 1 });
    clients.push(made);
    return made;
  };
  const client = clientOf();
  return {
    ...{ clock, account, home, place, users, elasticache, endpoint, client, clientOf },
    /** A replication group with a user named app, whose password is the first. */
    addOrders: () => {
      users.addUser(place, {
        id: "app",
        type: "password",
        passwords: [secret(words.one)],
        accessString: "on ~* +@read",
      });
      users.setGroup(place, "writers", ["app", "default"]);
      return elasticache.addReplicationGroup(home, { id: "orders", userGroups: ["writers"], tags: { env: "prod" } });
    },
    user: async (UserId = "app") => (await client.send(new DescribeUsersCommand({ UserId }))).Users?.[0],
    modify: (input: Partial<ModifyUserCommandInput>, by = client) =>
      by.send(new ModifyUserCommand({ UserId: "app", ...input })),
    tagsOf: async (ResourceName: string | undefined, by = client) =>
      (await by.send(new ListTagsForResourceCommand({ ResourceName }))).TagList,
    /** What the user named app logs in with. */
    held: () => users.user(place, "app")?.passwords.map((one) => one.reveal()),
    close: async () => {
      for (const one of clients) one.destroy();
      await endpoint.close();
    },
  };
};

/** Its fields are those of the running test. */
export const openStage = (): Awaited<ReturnType<typeof open>> => {
  const stage = {} as Awaited<ReturnType<typeof open>>;
  beforeEach(async () => {
    Object.assign(stage, await open());
    return stage.close;
  });
  return stage;
};
