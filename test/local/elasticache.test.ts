// ElastiCache with the real client: caches as AWS shows them, users that take time to change, tags that are not always told, and
// permissions by resource and tag.
import {
  AddTagsToResourceCommand,
  CreateUserCommand,
  DeleteUserCommand,
  DescribeCacheClustersCommand,
  DescribeReplicationGroupsCommand,
  DescribeServerlessCachesCommand,
  DescribeUserGroupsCommand,
  DescribeUsersCommand,
  ElastiCacheClient,
  ListTagsForResourceCommand,
  ModifyUserCommand,
  type ModifyUserCommandInput,
  paginateDescribeUsers,
  RemoveTagsFromResourceCommand,
} from "@aws-sdk/client-elasticache";
import { secret } from "@sallyport/core/secret";
import { openAccount } from "@sallyport/local/account";
import type { CachePlace } from "@sallyport/local/cache-user";
import { openCacheUsers } from "@sallyport/local/cache-users";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { awsRates } from "@sallyport/local/rate";
import { Refusal } from "@sallyport/local/refusal";
import { openElasticache } from "@sallyport/local/services/elasticache";
import { beforeEach, describe, expect, test } from "vitest";

const clock = { now: 0 };
const now = () => clock.now;
const account = openAccount({ now });
const { credentials } = account.addUser({
  name: "ann",
  statements: [{ actions: ["elasticache:*"], resources: ["*"] }],
});
const rotating = account.addUser({
  name: "rotate",
  statements: [
    {
      actions: ["elasticache:ModifyUser"],
      resources: ["arn:aws:elasticache:*:*:user:*"],
      conditions: {
        StringLike: { "aws:ResourceTag/sallyport/managed": "*" },
        StringEquals: { "elasticache:UserAuthenticationMode": "password" },
      },
    },
  ],
});

const home = { accountId: account.id, region: "eu-west-1" };
const place: CachePlace = { service: "elasticache", ...home };
const words = { one: "1".repeat(16), two: "2".repeat(128), three: "3".repeat(64) };
let users: ReturnType<typeof openCacheUsers>;
let elasticache: ReturnType<typeof openElasticache>;
let endpoint: Endpoint;
let client: ElastiCacheClient;
const clients: ElastiCacheClient[] = [];
const clientOf = (keys = credentials, region = "eu-west-1") => {
  const made = new ElastiCacheClient({ endpoint: endpoint.url, region, credentials: keys, maxAttempts: 1 });
  clients.push(made);
  return made;
};

beforeEach(async () => {
  clock.now = Date.now();
  users = openCacheUsers({ now, takesMs: 60_000 });
  elasticache = openElasticache(users, now);
  endpoint = await openEndpoint({ accounts: [account], services: [elasticache.api], now });
  client = clientOf();
  return async () => {
    for (const open of clients.splice(0)) open.destroy();
    await endpoint.close();
  };
});

const addOrders = () => {
  users.addUser(place, { id: "app", type: "password", passwords: [secret(words.one)], accessString: "on ~* +@read" });
  users.setGroup(place, "writers", ["app", "default"]);
  return elasticache.addReplicationGroup(home, { id: "orders", userGroups: ["writers"], tags: { env: "prod" } });
};
const user = async (UserId = "app") => (await client.send(new DescribeUsersCommand({ UserId }))).Users?.[0];
const modify = (input: Partial<ModifyUserCommandInput>, by = client) =>
  by.send(new ModifyUserCommand({ UserId: "app", ...input }));
const password = (...Passwords: string[]) => ({ AuthenticationMode: { Type: "password" as const, Passwords } });
const tagsOf = async (ResourceName: string | undefined, by = client) =>
  (await by.send(new ListTagsForResourceCommand({ ResourceName }))).TagList;
const appArn = "arn:aws:elasticache:eu-west-1:111122223333:user:app";

describe("caches", () => {
  test("a replication group of one shard has a primary and a reader endpoint, and a cluster for each node", async () => {
    addOrders();
    const [group] = (await client.send(new DescribeReplicationGroupsCommand({}))).ReplicationGroups ?? [];
    expect(group).toMatchObject({
      ReplicationGroupId: "orders",
      ARN: "arn:aws:elasticache:eu-west-1:111122223333:replicationgroup:orders",
      Status: "available",
      Engine: "redis",
      ClusterEnabled: false,
      ClusterMode: "disabled",
      TransitEncryptionEnabled: true,
      TransitEncryptionMode: "required",
      AuthTokenEnabled: false,
      UserGroupIds: ["writers"],
      MemberClusters: ["orders-001", "orders-002"],
      NodeGroups: [
        {
          PrimaryEndpoint: {
            Address: expect.stringMatching(/^master\.orders\.[a-z0-9]{6}\.euw1\.cache\.amazonaws\.com$/),
            Port: 6379,
          },
          ReaderEndpoint: { Address: expect.stringMatching(/^replica\.orders\./) },
          NodeGroupMembers: [{ CurrentRole: "primary" }, { CurrentRole: "replica" }],
        },
      ],
    });
    expect(group?.ConfigurationEndpoint).toBeUndefined();
    const { CacheClusters } = await client.send(new DescribeCacheClustersCommand({}));
    expect(CacheClusters?.map((one) => [one.CacheClusterId, one.ReplicationGroupId, one.EngineVersion])).toEqual([
      ["orders-001", "orders", "7.1.0"],
      ["orders-002", "orders", "7.1.0"],
    ]);
    expect(CacheClusters?.[0]).toMatchObject({ CacheSubnetGroupName: "default", CacheClusterStatus: "available" });
    expect(CacheClusters?.[0]?.CacheNodes ?? []).toEqual([]);
    const shown = await client.send(
      new DescribeCacheClustersCommand({ CacheClusterId: "ORDERS-001", ShowCacheNodeInfo: true }),
    );
    expect(shown.CacheClusters?.[0]?.CacheNodes?.[0]?.Endpoint?.Address).toMatch(/^orders-001\.orders\./);
  });

  test.each(["enabled", "compatible"] as const)(
    "a group in cluster mode %s is reached by its configuration endpoint",
    async (clusterMode) => {
      elasticache.addReplicationGroup(home, { id: "ledger", clusterMode, engine: "valkey" });
      elasticache.setPort(home, "ledger", 7000);
      const [group] =
        (await client.send(new DescribeReplicationGroupsCommand({ ReplicationGroupId: "Ledger" }))).ReplicationGroups ??
        [];
      expect(group).toMatchObject({
        ClusterEnabled: true,
        ClusterMode: clusterMode,
        Engine: "valkey",
        ConfigurationEndpoint: { Address: expect.stringMatching(/^clustercfg\.ledger\./), Port: 7000 },
        NodeGroups: [{ Slots: "0-5460" }, { Slots: "5461-10922" }, { Slots: "10923-16383" }],
      });
      expect(group?.NodeGroups?.[0]?.PrimaryEndpoint).toBeUndefined();
      expect(group?.MemberClusters).toEqual(["ledger-0001-001", "ledger-0002-001", "ledger-0003-001"]);
    },
  );

  test("a serverless cache has one host, with a second port for readers", async () => {
    users.setGroup(place, "writers", ["default"]);
    elasticache.addServerlessCache(home, { name: "Carts", userGroup: "writers" });
    elasticache.setPort(home, "carts", 7100, 7101);
    const [cache] = (await client.send(new DescribeServerlessCachesCommand({}))).ServerlessCaches ?? [];
    expect(cache).toMatchObject({
      ServerlessCacheName: "carts",
      Status: "available",
      Engine: "valkey",
      FullEngineVersion: "8.0.1",
      UserGroupId: "writers",
      ARN: "arn:aws:elasticache:eu-west-1:111122223333:serverlesscache:carts",
      Endpoint: { Address: expect.stringMatching(/^carts-[a-z0-9]{6}\.serverless\.euw1\.cache\.amazonaws\.com$/) },
      ReaderEndpoint: { Port: 7101 },
    });
    expect(cache?.Endpoint?.Address).toBe(cache?.ReaderEndpoint?.Address);
  });

  test("what is not there is not found, in each one's words", async () => {
    await expect(
      client.send(new DescribeReplicationGroupsCommand({ ReplicationGroupId: "none" })),
    ).rejects.toMatchObject({ name: "ReplicationGroupNotFoundFault", $metadata: { httpStatusCode: 404 } });
    await expect(client.send(new DescribeCacheClustersCommand({ CacheClusterId: "none" }))).rejects.toMatchObject({
      name: "CacheClusterNotFoundFault",
      $metadata: { httpStatusCode: 404 },
    });
    await expect(
      client.send(new DescribeServerlessCachesCommand({ ServerlessCacheName: "none" })),
    ).rejects.toMatchObject({ name: "ServerlessCacheNotFoundFault" });
    await expect(client.send(new DescribeUserGroupsCommand({ UserGroupId: "none" }))).rejects.toMatchObject({
      name: "UserGroupNotFoundFault",
    });
    await expect(user("none")).rejects.toMatchObject({ name: "UserNotFoundFault" });
  });

  test("clusters in no replication group are told apart, and a removed group takes its clusters along", async () => {
    addOrders();
    elasticache.addCacheCluster(home, { id: "sessions", engine: "memcached" });
    const ids = async (ShowCacheClustersNotInReplicationGroups: boolean) =>
      (
        await client.send(new DescribeCacheClustersCommand({ ShowCacheClustersNotInReplicationGroups }))
      ).CacheClusters?.map((one) => one.CacheClusterId);
    expect(await ids(true)).toEqual(["sessions"]);
    elasticache.remove(home, "orders");
    expect(await ids(false)).toEqual(["sessions"]);
    expect((await client.send(new DescribeUserGroupsCommand({}))).UserGroups?.[0]?.ReplicationGroups ?? []).toEqual([]);
  });

  test("regions are apart", async () => {
    addOrders();
    const far = clientOf(credentials, "us-east-1");
    expect((await far.send(new DescribeReplicationGroupsCommand({}))).ReplicationGroups ?? []).toEqual([]);
  });
});

describe("paging", () => {
  test("goes to the end, each user once, in pages of 20 to 100", async () => {
    const ids = Array.from({ length: 45 }, (_, at) => `user-${String(at).padStart(3, "0")}`);
    for (const id of ids) users.addUser(place, { id });
    const pages = [];
    for await (const page of paginateDescribeUsers({ client, pageSize: 20 }, {}))
      pages.push(page.Users?.map((one) => one.UserId));
    expect(pages.length).toBe(3);
    expect(pages.flat()).toEqual(["default", ...ids]);
    for (const MaxRecords of [19, 101])
      await expect(client.send(new DescribeUsersCommand({ MaxRecords }))).rejects.toMatchObject({
        name: "InvalidParameterValueException",
      });
    await expect(client.send(new DescribeUsersCommand({ Marker: "made-up" }))).rejects.toThrow(/Invalid Marker/);
  });

  test("of serverless caches is by a token, at most 50 at once", async () => {
    for (let at = 0; at < 60; at++) elasticache.addServerlessCache(home, { name: `carts-${10 + at}` });
    const first = await client.send(new DescribeServerlessCachesCommand({}));
    expect(first.ServerlessCaches).toHaveLength(50);
    const rest = await client.send(new DescribeServerlessCachesCommand({ NextToken: first.NextToken }));
    expect(rest.ServerlessCaches).toHaveLength(10);
    expect(rest.NextToken).toBeUndefined();
    await expect(client.send(new DescribeServerlessCachesCommand({ MaxResults: 51 }))).rejects.toMatchObject({
      name: "InvalidParameterValueException",
    });
  });
});

describe("users", () => {
  test("are shown with their groups, their type and how many passwords they have, never a password", async () => {
    addOrders();
    expect(await user()).toMatchObject({
      UserId: "app",
      UserName: "app",
      Status: "active",
      Engine: "redis",
      AccessString: "on ~* +@read",
      UserGroupIds: ["writers"],
      Authentication: { Type: "password", PasswordCount: 1 },
      ARN: appArn,
    });
    expect((await client.send(new DescribeUserGroupsCommand({}))).UserGroups).toMatchObject([
      { UserGroupId: "writers", UserIds: ["app", "default"], ReplicationGroups: ["orders"], Status: "active" },
    ]);
    expect(JSON.stringify((await client.send(new DescribeUsersCommand({}))).Users)).not.toContain(words.one);
  });

  test("a change replaces the whole list of passwords and takes its time", async () => {
    addOrders();
    expect(await modify(password(words.two, words.three))).toMatchObject({
      Status: "modifying",
      Authentication: { Type: "password", PasswordCount: 2 },
    });
    const now = users.user(place, "app")?.passwords.map((one) => one.reveal());
    expect(now).toEqual([words.two, words.three]);
    clock.now += 59_999;
    expect((await user())?.Status).toBe("modifying");
    clock.now += 1;
    expect((await user())?.Status).toBe("active");
  });

  test("a second change meanwhile is refused and changes nothing", async () => {
    addOrders();
    await modify(password(words.two));
    await expect(modify(password(words.three))).rejects.toMatchObject({
      name: "InvalidUserStateFault",
      message: expect.stringContaining("has status modifying"),
      $metadata: { httpStatusCode: 400 },
    });
    expect(users.user(place, "app")?.passwords.map((one) => one.reveal())).toEqual([words.two]);
  });

  test("a user's group is modifying with it", async () => {
    addOrders();
    await modify(password(words.two));
    expect((await client.send(new DescribeUserGroupsCommand({}))).UserGroups?.[0]?.Status).toBe("modifying");
  });

  const refused: Readonly<Record<string, [Partial<ModifyUserCommandInput>, string]>> = {
    "three passwords": [password(words.one, words.two, words.three), "InvalidParameterValueException"],
    "no password": [password(), "InvalidParameterValueException"],
    "a password of 15 characters": [password("x".repeat(15)), "InvalidParameterValueException"],
    "a password of 129 characters": [password("x".repeat(129)), "InvalidParameterValueException"],
    "the same password twice": [password(words.one, words.one), "InvalidParameterValueException"],
    "passwords beside the mode": [
      { ...password(words.one), Passwords: [words.two] },
      "InvalidParameterCombinationException",
    ],
    "passwords for IAM": [
      { AuthenticationMode: { Type: "iam", Passwords: [words.one] } },
      "InvalidParameterCombinationException",
    ],
    "no mode's type": [{ AuthenticationMode: { Passwords: [words.one] } }, "InvalidParameterValueException"],
    nothing: [{}, "InvalidParameterCombinationException"],
    "a password in the access string": [
      { AccessString: "on ~* +@all >sixteen-characters" },
      "InvalidParameterValueException",
    ],
    "an access string that says neither on nor off": [{ AccessString: "~* +@all" }, "InvalidParameterValueException"],
  };
  test.each(Object.entries(refused))("a change to %s is refused", async (_, [input, name]) => {
    addOrders();
    await expect(modify(input)).rejects.toMatchObject({ name });
    expect((await user())?.Status).toBe("active");
  });

  test("a user that authenticates with IAM takes passwords only with the type", async () => {
    addOrders();
    users.addUser(place, { id: "worker", type: "iam" });
    users.addUser(place, { id: "named", name: "otherwise", type: "password", passwords: [secret(words.one)] });
    const UserId = "worker";
    await expect(modify({ UserId, Passwords: [words.one] })).rejects.toMatchObject({
      name: "InvalidParameterCombinationException",
    });
    await modify({ UserId, ...password(words.one) });
    expect((await user(UserId))?.Authentication).toEqual({ Type: "password", PasswordCount: 1 });
    await expect(modify({ UserId: "named", AuthenticationMode: { Type: "iam" } })).rejects.toThrow(/same user name/);
  });

  test("the account's own default user is nobody's to change", async () => {
    await expect(modify({ UserId: "default", ...password(words.one) })).rejects.toMatchObject({
      name: "InvalidParameterValueException",
    });
    await expect(modify({ UserId: "none", ...password(words.one) })).rejects.toMatchObject({
      name: "UserNotFoundFault",
      $metadata: { httpStatusCode: 404 },
    });
  });

  test("a user is created once, active at once, and deleted with time", async () => {
    const create = (input = {}) =>
      client.send(
        new CreateUserCommand({
          UserId: "New",
          UserName: "reader",
          Engine: "redis",
          AccessString: "on ~* +@read",
          ...password(words.one),
          Tags: [{ Key: "team", Value: "a" }],
          ...input,
        }),
      );
    expect(await create()).toMatchObject({ UserId: "new", UserName: "reader", Status: "active" });
    await expect(create()).rejects.toMatchObject({ name: "UserAlreadyExistsFault" });
    await expect(create({ UserId: "1st" })).rejects.toMatchObject({ name: "InvalidParameterValueException" });
    await expect(create({ UserId: "memory", Engine: "memcached" })).rejects.toThrow(/Unsupported engine/);
    await expect(create({ UserId: "open", AuthenticationMode: undefined })).rejects.toThrow(/password/);
    expect(await tagsOf(`${appArn.slice(0, -3)}new`)).toEqual([{ Key: "team", Value: "a" }]);
    expect(await client.send(new DeleteUserCommand({ UserId: "new" }))).toMatchObject({ Status: "deleting" });
    expect((await user("new"))?.Status).toBe("deleting");
    await expect(modify({ UserId: "new", ...password(words.two) })).rejects.toMatchObject({
      name: "InvalidUserStateFault",
    });
    clock.now += 60_000;
    await expect(user("new")).rejects.toMatchObject({ name: "UserNotFoundFault" });
  });
});

describe("tags", () => {
  test("are listed, added and removed by ARN", async () => {
    const { ARN } = addOrders();
    expect(await tagsOf(ARN)).toEqual([{ Key: "env", Value: "prod" }]);
    await client.send(new AddTagsToResourceCommand({ ResourceName: appArn, Tags: [{ Key: "sallyport/managed" }] }));
    expect(await tagsOf(appArn)).toEqual([{ Key: "sallyport/managed", Value: "" }]);
    const remove = () =>
      client.send(new RemoveTagsFromResourceCommand({ ResourceName: appArn, TagKeys: ["sallyport/managed"] }));
    expect((await remove()).TagList ?? []).toEqual([]);
    await expect(remove()).rejects.toMatchObject({ name: "TagNotFoundFault", $metadata: { httpStatusCode: 404 } });
    const Tags = Array.from({ length: 51 }, (_, at) => ({ Key: `key-${at}`, Value: "" }));
    await expect(client.send(new AddTagsToResourceCommand({ ResourceName: appArn, Tags }))).rejects.toMatchObject({
      name: "TagQuotaPerResourceExceeded",
    });
  });

  test("of a user in transition are refused, as if it were not there", async () => {
    addOrders();
    await modify(password(words.two));
    await expect(tagsOf(appArn)).rejects.toMatchObject({
      name: "UserNotFoundFault",
      message: "app is not available for tagging",
    });
    clock.now += 60_000;
    expect((await tagsOf(appArn)) ?? []).toEqual([]);
  });

  test("of a group are told only while it is available, of a serverless cache while it is modified too", async () => {
    const { ARN } = addOrders();
    const serverless = elasticache.addServerlessCache(home, { name: "carts", tags: { env: "dev" } }).ARN;
    elasticache.setStatus(home, "orders", "modifying", { available: 1000 });
    elasticache.setStatus(home, "carts", "modifying");
    await expect(tagsOf(ARN)).rejects.toMatchObject({ name: "InvalidReplicationGroupStateFault" });
    expect(await tagsOf(serverless)).toHaveLength(1);
    elasticache.setStatus(home, "carts", "creating");
    await expect(tagsOf(serverless)).rejects.toMatchObject({ name: "InvalidServerlessCacheStateFault" });
    clock.now += 1000;
    expect(await tagsOf(ARN)).toHaveLength(1);
  });

  test("of an ARN that is none, or of nothing here, are not told", async () => {
    for (const arn of ["orders", appArn.replace("eu-west-1", "us-east-1"), appArn.replace(":user:", ":thing:")])
      await expect(tagsOf(arn)).rejects.toMatchObject({ name: "InvalidARNFault", $metadata: { httpStatusCode: 400 } });
    const not = (type: string) => tagsOf(`arn:aws:elasticache:eu-west-1:111122223333:${type}:none`);
    await expect(not("user")).rejects.toMatchObject({ name: "UserNotFoundFault" });
    await expect(not("replicationgroup")).rejects.toMatchObject({ name: "ReplicationGroupNotFoundFault" });
    await expect(not("serverlesscache")).rejects.toMatchObject({ name: "ServerlessCacheNotFoundFault" });
    await expect(not("cluster")).rejects.toMatchObject({ name: "CacheClusterNotFoundFault" });
    await expect(not("usergroup")).rejects.toMatchObject({ name: "UserGroupNotFoundFault" });
  });
});

describe("permissions", () => {
  test("S-44 a role may change only users with the tag its policy asks for, and only to passwords", async () => {
    addOrders();
    const role = clientOf(rotating.credentials);
    await expect(modify(password(words.two), role)).rejects.toMatchObject({
      name: "AccessDenied",
      $metadata: { httpStatusCode: 403 },
    });
    users.setTags(appArn, { "sallyport/managed": "true" });
    await expect(modify({ NoPasswordRequired: true }, role)).rejects.toMatchObject({ name: "AccessDenied" });
    expect(users.user(place, "app")?.passwords.map((one) => one.reveal())).toEqual([words.one]);
    expect(await modify(password(words.two), role)).toMatchObject({ Status: "modifying" });
    await expect(tagsOf(appArn, role)).rejects.toThrow(/ListTagsForResource/);
  });

  test("another account's resource is nobody's here", async () => {
    await expect(tagsOf(appArn.replace("111122223333", "444455556666"))).rejects.toMatchObject({
      name: "AccessDenied",
    });
  });
});

describe("things that go wrong", () => {
  test("ModifyUser is let through ten at once, then five a second", async () => {
    for (const rate of awsRates) endpoint.fault.throttle(rate);
    users.takes(0);
    addOrders();
    const change = (at: number) => modify(password(`${at}`.padStart(16, "x")));
    for (let at = 0; at < 10; at++) await change(at);
    await expect(change(10)).rejects.toMatchObject({ name: "Throttling", message: "Rate exceeded" });
    clock.now += 200;
    await change(11);
    await expect(change(12)).rejects.toMatchObject({ name: "Throttling" });
    expect((await user())?.Status).toBe("active");
  });

  test("a call can fail before its work, after it, or lose its answer", async () => {
    users.takes(0);
    addOrders();
    const held = () => users.user(place, "app")?.passwords.map((one) => one.reveal());
    const call = { service: "elasticache", operation: "ModifyUser" };
    endpoint.fault.fail({ ...call, code: "ServiceUnavailable", status: 503 });
    await expect(modify(password(words.two))).rejects.toMatchObject({ $metadata: { httpStatusCode: 503 } });
    expect(held()).toEqual([words.one]);
    endpoint.fault.fail({ ...call, code: "InternalFailure", status: 500, after: true });
    await expect(modify(password(words.two))).rejects.toMatchObject({ $metadata: { httpStatusCode: 500 } });
    expect(held()).toEqual([words.two]);
    endpoint.fault.drop(call);
    await expect(modify(password(words.three))).rejects.toThrow();
    expect(held()).toEqual([words.three]);
  });
});

// What other SDKs put on the wire, byte for byte.
describe("on the wire", () => {
  const asked = (form: string) => ({
    method: "POST",
    target: "/",
    headers: { "content-type": ["application/x-www-form-urlencoded; charset=utf-8"] },
    body: Buffer.from(form),
  });

  test("a form names its lists by member", async () => {
    const request = asked(
      `Action=ModifyUser&Version=2015-02-02&UserId=app&AuthenticationMode.Type=password&AuthenticationMode.Passwords.member.1=${words.one}&AuthenticationMode.Passwords.member.2=${words.two}`,
    );
    expect(elasticache.api.codec.operation(request)).toBe("ModifyUser");
    expect(await elasticache.api.codec.decode("ModifyUser", request)).toEqual({
      UserId: "app",
      AuthenticationMode: { Type: "password", Passwords: [words.one, words.two] },
    });
  });

  test("another version of the API is another service's", () => {
    expect(elasticache.api.codec.operation(asked("Action=ModifyUser&Version=2014-10-31"))).toBeUndefined();
  });

  test("errors have the codes of the Query protocol, not the names of their shapes", () => {
    const { status, body } = elasticache.api.codec.refuse(
      new Refusal("UserNotFoundFault", "User <x> not found."),
      "r1",
    );
    expect(status).toBe(404);
    expect(body).toContain("<Code>UserNotFound</Code><Message>User &#60;x&#62; not found.</Message>");
    for (const [shape, code] of [
      ["InvalidUserStateFault", "InvalidUserState"],
      ["InvalidParameterCombinationException", "InvalidParameterCombination"],
      ["InvalidARNFault", "InvalidARN"],
      ["TagNotFoundFault", "TagNotFound"],
    ] as const)
      expect(elasticache.api.codec.refuse(new Refusal(shape, ""), "r1").body).toContain(`<Code>${code}</Code>`);
  });
});
