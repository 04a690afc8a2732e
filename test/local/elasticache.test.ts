// ElastiCache with the real client: caches as AWS shows them, pages, tags that are not always told, and what is on the wire.
import {
  AddTagsToResourceCommand,
  DescribeCacheClustersCommand,
  DescribeReplicationGroupsCommand,
  DescribeServerlessCachesCommand,
  DescribeUserGroupsCommand,
  DescribeUsersCommand,
  paginateDescribeUsers,
  RemoveTagsFromResourceCommand,
} from "@aws-sdk/client-elasticache";
import { Refusal } from "@sallyport/local/refusal";
import { describe, expect, test } from "vitest";
import { appArn, openStage, password, words } from "./elasticache-stage.ts";

const stage = openStage();

describe("caches", () => {
  test("a replication group of one shard has a primary and a reader stage.endpoint, and a cluster for each node", async () => {
    stage.addOrders();
    const [group] = (await stage.client.send(new DescribeReplicationGroupsCommand({}))).ReplicationGroups ?? [];
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
    const { CacheClusters } = await stage.client.send(new DescribeCacheClustersCommand({}));
    expect(CacheClusters?.map((one) => [one.CacheClusterId, one.ReplicationGroupId, one.EngineVersion])).toEqual([
      ["orders-001", "orders", "7.1.0"],
      ["orders-002", "orders", "7.1.0"],
    ]);
    expect(CacheClusters?.[0]).toMatchObject({ CacheSubnetGroupName: "default", CacheClusterStatus: "available" });
    expect(CacheClusters?.[0]?.CacheNodes ?? []).toEqual([]);
    const shown = await stage.client.send(
      new DescribeCacheClustersCommand({ CacheClusterId: "ORDERS-001", ShowCacheNodeInfo: true }),
    );
    expect(shown.CacheClusters?.[0]?.CacheNodes?.[0]?.Endpoint?.Address).toMatch(/^orders-001\.orders\./);
  });

  test.each(["enabled", "compatible"] as const)(
    "a group in cluster mode %s is reached by its configuration endpoint",
    async (clusterMode) => {
      stage.elasticache.addReplicationGroup(stage.home, { id: "ledger", clusterMode, engine: "valkey" });
      stage.elasticache.setPort(stage.home, "ledger", 7000);
      const [group] =
        (await stage.client.send(new DescribeReplicationGroupsCommand({ ReplicationGroupId: "Ledger" })))
          .ReplicationGroups ?? [];
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
    stage.users.setGroup(stage.place, "writers", ["default"]);
    stage.elasticache.addServerlessCache(stage.home, { name: "Carts", userGroup: "writers" });
    stage.elasticache.setPort(stage.home, "carts", 7100, 7101);
    const [cache] = (await stage.client.send(new DescribeServerlessCachesCommand({}))).ServerlessCaches ?? [];
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
      stage.client.send(new DescribeReplicationGroupsCommand({ ReplicationGroupId: "none" })),
    ).rejects.toMatchObject({ name: "ReplicationGroupNotFoundFault", $metadata: { httpStatusCode: 404 } });
    await expect(stage.client.send(new DescribeCacheClustersCommand({ CacheClusterId: "none" }))).rejects.toMatchObject(
      {
        name: "CacheClusterNotFoundFault",
        $metadata: { httpStatusCode: 404 },
      },
    );
    await expect(
      stage.client.send(new DescribeServerlessCachesCommand({ ServerlessCacheName: "none" })),
    ).rejects.toMatchObject({ name: "ServerlessCacheNotFoundFault" });
    await expect(stage.client.send(new DescribeUserGroupsCommand({ UserGroupId: "none" }))).rejects.toMatchObject({
      name: "UserGroupNotFoundFault",
    });
    await expect(stage.user("none")).rejects.toMatchObject({ name: "UserNotFoundFault" });
  });

  test("clusters in no replication group are told apart, and a removed group takes its clusters along", async () => {
    stage.addOrders();
    stage.elasticache.addCacheCluster(stage.home, { id: "sessions", engine: "memcached" });
    const ids = async (ShowCacheClustersNotInReplicationGroups: boolean) =>
      (
        await stage.client.send(new DescribeCacheClustersCommand({ ShowCacheClustersNotInReplicationGroups }))
      ).CacheClusters?.map((one) => one.CacheClusterId);
    expect(await ids(true)).toEqual(["sessions"]);
    stage.elasticache.remove(stage.home, "orders");
    expect(await ids(false)).toEqual(["sessions"]);
    expect(
      (await stage.client.send(new DescribeUserGroupsCommand({}))).UserGroups?.[0]?.ReplicationGroups ?? [],
    ).toEqual([]);
  });

  test("regions are apart", async () => {
    stage.addOrders();
    const far = stage.clientOf(undefined, "us-east-1");
    expect((await far.send(new DescribeReplicationGroupsCommand({}))).ReplicationGroups ?? []).toEqual([]);
  });
});

describe("paging", () => {
  test("goes to the end, each user once, in pages of 20 to 100", async () => {
    const ids = Array.from({ length: 45 }, (_, at) => `user-${String(at).padStart(3, "0")}`);
    for (const id of ids) stage.users.addUser(stage.place, { id });
    const pages = [];
    for await (const page of paginateDescribeUsers({ client: stage.client, pageSize: 20 }, {}))
      pages.push(page.Users?.map((one) => one.UserId));
    expect(pages.length).toBe(3);
    expect(pages.flat()).toEqual(["default", ...ids]);
    for (const MaxRecords of [19, 101])
      await expect(stage.client.send(new DescribeUsersCommand({ MaxRecords }))).rejects.toMatchObject({
        name: "InvalidParameterValueException",
      });
    await expect(stage.client.send(new DescribeUsersCommand({ Marker: "made-up" }))).rejects.toThrow(/Invalid Marker/);
  });

  test("of serverless caches is by a token, at most 50 at once", async () => {
    for (let at = 0; at < 60; at++) stage.elasticache.addServerlessCache(stage.home, { name: `carts-${10 + at}` });
    const first = await stage.client.send(new DescribeServerlessCachesCommand({}));
    expect(first.ServerlessCaches).toHaveLength(50);
    const rest = await stage.client.send(new DescribeServerlessCachesCommand({ NextToken: first.NextToken }));
    expect(rest.ServerlessCaches).toHaveLength(10);
    expect(rest.NextToken).toBeUndefined();
    await expect(stage.client.send(new DescribeServerlessCachesCommand({ MaxResults: 51 }))).rejects.toMatchObject({
      name: "InvalidParameterValueException",
    });
  });
});

describe("tags", () => {
  test("are listed, added and removed by ARN", async () => {
    const { ARN } = stage.addOrders();
    expect(await stage.tagsOf(ARN)).toEqual([{ Key: "env", Value: "prod" }]);
    await stage.client.send(
      new AddTagsToResourceCommand({ ResourceName: appArn, Tags: [{ Key: "sallyport/managed" }] }),
    );
    expect(await stage.tagsOf(appArn)).toEqual([{ Key: "sallyport/managed", Value: "" }]);
    const remove = () =>
      stage.client.send(new RemoveTagsFromResourceCommand({ ResourceName: appArn, TagKeys: ["sallyport/managed"] }));
    expect((await remove()).TagList ?? []).toEqual([]);
    await expect(remove()).rejects.toMatchObject({ name: "TagNotFoundFault", $metadata: { httpStatusCode: 404 } });
    const Tags = Array.from({ length: 51 }, (_, at) => ({ Key: `key-${at}`, Value: "" }));
    await expect(stage.client.send(new AddTagsToResourceCommand({ ResourceName: appArn, Tags }))).rejects.toMatchObject(
      {
        name: "TagQuotaPerResourceExceeded",
      },
    );
  });

  test("of a user in transition are refused, as if it were not there", async () => {
    stage.addOrders();
    await stage.modify(password(words.two));
    await expect(stage.tagsOf(appArn)).rejects.toMatchObject({
      name: "UserNotFoundFault",
      message: "app is not available for tagging",
    });
    stage.clock.now += 60_000;
    expect((await stage.tagsOf(appArn)) ?? []).toEqual([]);
  });

  test("of a group are told only while it is available, of a serverless cache while it is modified too", async () => {
    const { ARN } = stage.addOrders();
    const serverless = stage.elasticache.addServerlessCache(stage.home, { name: "carts", tags: { env: "dev" } }).ARN;
    stage.elasticache.setStatus(stage.home, "orders", "modifying", { available: 1000 });
    stage.elasticache.setStatus(stage.home, "carts", "modifying");
    await expect(stage.tagsOf(ARN)).rejects.toMatchObject({ name: "InvalidReplicationGroupStateFault" });
    expect(await stage.tagsOf(serverless)).toHaveLength(1);
    stage.elasticache.setStatus(stage.home, "carts", "creating");
    await expect(stage.tagsOf(serverless)).rejects.toMatchObject({ name: "InvalidServerlessCacheStateFault" });
    stage.clock.now += 1000;
    expect(await stage.tagsOf(ARN)).toHaveLength(1);
  });

  test("of an ARN that is none, or of nothing here, are not told", async () => {
    for (const arn of ["orders", appArn.replace("eu-west-1", "us-east-1"), appArn.replace(":user:", ":thing:")])
      await expect(stage.tagsOf(arn)).rejects.toMatchObject({
        name: "InvalidARNFault",
        $metadata: { httpStatusCode: 400 },
      });
    const not = (type: string) => stage.tagsOf(`arn:aws:elasticache:eu-west-1:111122223333:${type}:none`);
    await expect(not("user")).rejects.toMatchObject({ name: "UserNotFoundFault" });
    await expect(not("replicationgroup")).rejects.toMatchObject({ name: "ReplicationGroupNotFoundFault" });
    await expect(not("serverlesscache")).rejects.toMatchObject({ name: "ServerlessCacheNotFoundFault" });
    await expect(not("cluster")).rejects.toMatchObject({ name: "CacheClusterNotFoundFault" });
    await expect(not("usergroup")).rejects.toMatchObject({ name: "UserGroupNotFoundFault" });
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
    expect(stage.elasticache.api.codec.operation(request)).toBe("ModifyUser");
    expect(await stage.elasticache.api.codec.decode("ModifyUser", request)).toEqual({
      UserId: "app",
      AuthenticationMode: { Type: "password", Passwords: [words.one, words.two] },
    });
  });

  test("another version of the API is another service's", () => {
    expect(stage.elasticache.api.codec.operation(asked("Action=ModifyUser&Version=2014-10-31"))).toBeUndefined();
  });

  test("errors have the codes of the Query protocol, not the names of their shapes", () => {
    const { status, body } = stage.elasticache.api.codec.refuse(
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
      expect(stage.elasticache.api.codec.refuse(new Refusal(shape, ""), "r1").body).toContain(`<Code>${code}</Code>`);
  });
});
