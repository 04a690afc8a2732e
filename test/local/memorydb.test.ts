// MemoryDB with the real client: clusters as AWS shows them, users that take time to change, the ACLs they are in, tags and permissions.
import {
  CreateUserCommand,
  DeleteUserCommand,
  DescribeACLsCommand,
  DescribeClustersCommand,
  DescribeUsersCommand,
  ListTagsCommand,
  MemoryDBClient,
  paginateDescribeUsers,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateUserCommand,
  type UpdateUserCommandInput,
} from "@aws-sdk/client-memorydb";
import { secret } from "@sallyport/core/secret";
import { openAccount } from "@sallyport/local/account";
import type { CachePlace } from "@sallyport/local/cache-user";
import { openCacheUsers } from "@sallyport/local/cache-users";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { awsRates } from "@sallyport/local/rate";
import { Refusal } from "@sallyport/local/refusal";
import { openMemorydb } from "@sallyport/local/services/memorydb";
import { beforeEach, describe, expect, test } from "vitest";

const clock = { now: 0 };
const now = () => clock.now;
const account = openAccount({ now });
const { credentials } = account.addUser({ name: "ann", statements: [{ actions: ["memorydb:*"], resources: ["*"] }] });
const rotating = account.addUser({
  name: "rotate",
  statements: [
    {
      actions: ["memorydb:UpdateUser"],
      resources: ["arn:aws:memorydb:*:*:user/*"],
      conditions: {
        StringEquals: { "aws:ResourceTag/sallyport/managed": "true", "memorydb:UserAuthenticationMode": "password" },
      },
    },
  ],
});

const home = { accountId: account.id, region: "eu-west-1" };
const place: CachePlace = { service: "memorydb", ...home };
const words = { one: "1".repeat(16), two: "2".repeat(128), three: "3".repeat(64) };
let users: ReturnType<typeof openCacheUsers>;
let memorydb: ReturnType<typeof openMemorydb>;
let endpoint: Endpoint;
let client: MemoryDBClient;
const clients: MemoryDBClient[] = [];
const clientOf = (keys = credentials, region = "eu-west-1") => {
  const made = new MemoryDBClient({ endpoint: endpoint.url, region, credentials: keys, maxAttempts: 1 });
  clients.push(made);
  return made;
};

beforeEach(async () => {
  clock.now = Date.now();
  users = openCacheUsers({ now, takesMs: 60_000 });
  memorydb = openMemorydb(users, now);
  endpoint = await openEndpoint({ accounts: [account], services: [memorydb.api], now });
  client = clientOf();
  return async () => {
    for (const open of clients.splice(0)) open.destroy();
    await endpoint.close();
  };
});

const addLedger = () => {
  users.addUser(place, { id: "app", type: "password", passwords: [secret(words.one)], accessString: "on ~* +@read" });
  users.setGroup(place, "writers", ["app"]);
  return memorydb.addCluster(home, { name: "ledger", acl: "writers", shards: 2, replicas: 1, tags: { env: "prod" } });
};
const user = async (UserName = "app") => (await client.send(new DescribeUsersCommand({ UserName }))).Users?.[0];
const update = (input: Partial<UpdateUserCommandInput>, by = client) =>
  by.send(new UpdateUserCommand({ UserName: "app", ...input }));
const password = (...Passwords: string[]) => ({ AuthenticationMode: { Type: "password" as const, Passwords } });
const tagsOf = async (ResourceArn: string | undefined, by = client) =>
  (await by.send(new ListTagsCommand({ ResourceArn }))).TagList;
const held = () => users.user(place, "app")?.passwords.map((one) => one.reveal());
const appArn = "arn:aws:memorydb:eu-west-1:111122223333:user/app";

describe("clusters", () => {
  test("have one endpoint in cluster mode, an ACL, and shards for whoever asks", async () => {
    addLedger();
    memorydb.setPort(home, "ledger", 7000);
    const [cluster] =
      (await client.send(new DescribeClustersCommand({ ClusterName: "Ledger", ShowShardDetails: true }))).Clusters ??
      [];
    expect(cluster).toMatchObject({
      Name: "ledger",
      ARN: "arn:aws:memorydb:eu-west-1:111122223333:cluster/ledger",
      Status: "available",
      Engine: "redis",
      EngineVersion: "7.1",
      ACLName: "writers",
      TLSEnabled: true,
      ClusterEndpoint: {
        Address: expect.stringMatching(/^clustercfg\.ledger\.[a-z0-9]{6}\.memorydb\.eu-west-1\.amazonaws\.com$/),
        Port: 7000,
      },
      NumberOfShards: 2,
      Shards: [
        { Name: "0001", Slots: "0-8191", NumberOfNodes: 2, Nodes: [{ Name: "ledger-0001-001" }, {}] },
        { Name: "0002", Slots: "8192-16383" },
      ],
    });
    expect(cluster?.Shards?.[0]?.Nodes?.[0]?.Endpoint).toMatchObject({
      Address: expect.stringMatching(/^ledger-0001-001\.ledger\./),
      Port: 7000,
    });
    expect((await client.send(new DescribeClustersCommand({}))).Clusters?.[0]?.Shards).toBeUndefined();
  });

  test("are open-access where nothing else is said, and an ACL names its users and clusters", async () => {
    addLedger();
    memorydb.addCluster(home, { name: "scratch" });
    const { Clusters } = await client.send(new DescribeClustersCommand({}));
    expect(Clusters?.map((one) => [one.Name, one.ACLName])).toEqual([
      ["ledger", "writers"],
      ["scratch", "open-access"],
    ]);
    expect((await client.send(new DescribeACLsCommand({}))).ACLs).toMatchObject([
      { Name: "open-access", UserNames: ["default"], Clusters: ["scratch"], Status: "active" },
      { Name: "writers", UserNames: ["app"], Clusters: ["ledger"], Status: "active" },
    ]);
    await update(password(words.two));
    const [acl] = (await client.send(new DescribeACLsCommand({ ACLName: "writers" }))).ACLs ?? [];
    expect(acl?.Status).toBe("modifying");
    memorydb.remove(home, "ledger");
    expect((await client.send(new DescribeACLsCommand({ ACLName: "writers" }))).ACLs?.[0]?.Clusters).toEqual([]);
  });

  test("what is not there is not found, in each one's words", async () => {
    const notFound = { $metadata: { httpStatusCode: 404 } };
    await expect(client.send(new DescribeClustersCommand({ ClusterName: "none" }))).rejects.toMatchObject({
      name: "ClusterNotFoundFault",
      ...notFound,
    });
    await expect(client.send(new DescribeACLsCommand({ ACLName: "none" }))).rejects.toMatchObject({
      name: "ACLNotFoundFault",
      ...notFound,
    });
    await expect(user("none")).rejects.toMatchObject({ name: "UserNotFoundFault", ...notFound });
    await expect(update({ UserName: "none", ...password(words.two) })).rejects.toMatchObject({
      name: "UserNotFoundFault",
      ...notFound,
    });
  });
});

test("pages go to the end, each user once", async () => {
  const ids = Array.from({ length: 25 }, (_, at) => `user-${10 + at}`);
  for (const id of ids) users.addUser(place, { id });
  const pages = [];
  for await (const page of paginateDescribeUsers({ client, pageSize: 10 }, {}))
    pages.push(page.Users?.map((one) => one.Name));
  expect(pages.length).toBe(3);
  expect(pages.flat()).toEqual(["default", ...ids]);
  await expect(client.send(new DescribeUsersCommand({ MaxResults: 101 }))).rejects.toMatchObject({
    name: "InvalidParameterValueException",
  });
  await expect(client.send(new DescribeUsersCommand({ NextToken: "made-up" }))).rejects.toMatchObject({
    name: "InvalidParameterValueException",
  });
});

describe("users", () => {
  test("a change replaces the whole list of passwords and takes its time; a second one meanwhile is refused", async () => {
    addLedger();
    expect(await user()).toMatchObject({
      Name: "app",
      Status: "active",
      ACLNames: ["writers"],
      AccessString: "on ~* +@read",
      Authentication: { Type: "password", PasswordCount: 1 },
      ARN: appArn,
    });
    expect((await update(password(words.two, words.three))).User).toMatchObject({
      Status: "modifying",
      Authentication: { Type: "password", PasswordCount: 2 },
    });
    await expect(update(password(words.one))).rejects.toMatchObject({
      name: "InvalidUserStateFault",
      $metadata: { httpStatusCode: 400 },
    });
    expect(held()).toEqual([words.two, words.three]);
    clock.now += 60_000;
    expect((await user())?.Status).toBe("active");
  });

  const refused: Readonly<Record<string, [Partial<UpdateUserCommandInput>, string]>> = {
    "three passwords": [password(words.one, words.two, words.three), "InvalidParameterValueException"],
    "a password of 15 characters": [password("x".repeat(15)), "InvalidParameterValueException"],
    "the same password twice": [password(words.one, words.one), "InvalidParameterValueException"],
    "passwords for IAM": [
      { AuthenticationMode: { Type: "iam", Passwords: [words.one] } },
      "InvalidParameterCombinationException",
    ],
    nothing: [{}, "InvalidParameterCombinationException"],
  };
  test.each(Object.entries(refused))("a change to %s is refused", async (_, [input, name]) => {
    addLedger();
    await expect(update(input)).rejects.toMatchObject({ name, $metadata: { httpStatusCode: 400 } });
    expect(held()).toEqual([words.one]);
  });

  test("one may become an IAM user, and take passwords again with the type", async () => {
    users.takes(0);
    addLedger();
    await update({ AuthenticationMode: { Type: "iam" } });
    expect((await user())?.Authentication).toEqual({ Type: "iam" });
    await update(password(words.two));
    expect((await user())?.Authentication).toEqual({ Type: "password", PasswordCount: 1 });
  });

  test("one is created once, and deleted with time", async () => {
    const create = (UserName: string, Type: "iam" | "password" = "iam") =>
      client.send(
        new CreateUserCommand({ UserName, AccessString: "on ~* +@read", AuthenticationMode: { Type }, Tags: [] }),
      );
    expect((await create("worker")).User).toMatchObject({ Name: "worker", Status: "active" });
    await expect(create("worker")).rejects.toMatchObject({ name: "UserAlreadyExistsFault" });
    await expect(create("w".repeat(41))).rejects.toMatchObject({ name: "InvalidParameterValueException" });
    await expect(create("reader", "password")).rejects.toThrow(/one or two passwords/);
    expect((await client.send(new DeleteUserCommand({ UserName: "worker" }))).User?.Status).toBe("deleting");
    clock.now += 60_000;
    await expect(user("worker")).rejects.toMatchObject({ name: "UserNotFoundFault" });
    await expect(client.send(new DeleteUserCommand({ UserName: "default" }))).rejects.toThrow(/default user/);
  });
});

describe("tags", () => {
  test("are listed, added and removed by ARN", async () => {
    const { ARN } = addLedger();
    expect(await tagsOf(ARN)).toEqual([{ Key: "env", Value: "prod" }]);
    const Tags = [{ Key: "sallyport/managed", Value: "true" }];
    expect((await client.send(new TagResourceCommand({ ResourceArn: appArn, Tags }))).TagList).toEqual(Tags);
    const untag = () => client.send(new UntagResourceCommand({ ResourceArn: appArn, TagKeys: ["sallyport/managed"] }));
    expect((await untag()).TagList).toEqual([]);
    await expect(untag()).rejects.toMatchObject({ name: "TagNotFoundFault", $metadata: { httpStatusCode: 404 } });
    expect(await tagsOf("arn:aws:memorydb:eu-west-1:111122223333:acl/writers")).toEqual([]);
  });

  test("of a cluster or user in transition are refused", async () => {
    const { ARN } = addLedger();
    memorydb.setStatus(home, "ledger", "updating", { available: 1000 });
    await expect(tagsOf(ARN)).rejects.toMatchObject({ name: "InvalidClusterStateFault" });
    clock.now += 1000;
    expect(await tagsOf(ARN)).toHaveLength(1);
    await update(password(words.two));
    await expect(tagsOf(appArn)).rejects.toMatchObject({
      name: "UserNotFoundFault",
      message: "app is not available for tagging",
    });
  });

  test("of an ARN that is none, or of nothing here, are not told", async () => {
    for (const arn of ["ledger", appArn.replace("/", ":"), appArn.replace("eu-west-1", "us-east-1")])
      await expect(tagsOf(arn)).rejects.toMatchObject({ name: "InvalidARNFault" });
    const not = (type: string) => tagsOf(`arn:aws:memorydb:eu-west-1:111122223333:${type}/none`);
    await expect(not("user")).rejects.toMatchObject({ name: "UserNotFoundFault" });
    await expect(not("acl")).rejects.toMatchObject({ name: "ACLNotFoundFault" });
    await expect(not("cluster")).rejects.toMatchObject({ name: "ClusterNotFoundFault" });
  });
});

test("S-44 a role may change only users with the tag its policy asks for, and only to passwords", async () => {
  addLedger();
  const role = clientOf(rotating.credentials);
  await expect(update(password(words.two), role)).rejects.toMatchObject({
    name: "AccessDeniedException",
    $metadata: { httpStatusCode: 400 },
  });
  users.setTags(appArn, { "sallyport/managed": "true" });
  await expect(update({ AuthenticationMode: { Type: "iam" } }, role)).rejects.toMatchObject({
    name: "AccessDeniedException",
  });
  expect(held()).toEqual([words.one]);
  await update(password(words.two), role);
  expect(held()).toEqual([words.two]);
});

test("UpdateUser is let through ten at once, then five a second, and faults strike before or after the work", async () => {
  for (const rate of awsRates) endpoint.fault.throttle(rate);
  users.takes(0);
  addLedger();
  for (let at = 0; at < 10; at++) await update(password(`${at}`.padStart(16, "x")));
  await expect(update(password(words.one))).rejects.toMatchObject({ name: "ThrottlingException" });
  clock.now += 1000;
  endpoint.fault.fail({ service: "memorydb", operation: "UpdateUser", code: "InternalFailure", status: 500 });
  await expect(update(password(words.two))).rejects.toMatchObject({ $metadata: { httpStatusCode: 500 } });
  expect(held()).toEqual(["9".padStart(16, "x")]);
  endpoint.fault.drop({ service: "memorydb", operation: "UpdateUser" });
  await expect(update(password(words.two))).rejects.toThrow();
  expect(held()).toEqual([words.two]);
});

describe("on the wire", () => {
  test("an operation is named by its target, and errors by their shapes", async () => {
    const body = Buffer.from(JSON.stringify({ UserName: "app", ...password(words.one) }));
    const request = {
      method: "POST",
      target: "/",
      headers: { "content-type": ["application/x-amz-json-1.1"], "x-amz-target": ["AmazonMemoryDB.UpdateUser"] },
      body,
    };
    expect(memorydb.api.codec.operation(request)).toBe("UpdateUser");
    expect(await memorydb.api.codec.decode("UpdateUser", request)).toEqual({
      UserName: "app",
      AuthenticationMode: { Type: "password", Passwords: [words.one] },
    });
    const refused = memorydb.api.codec.refuse(new Refusal("InvalidUserStateFault", "not now"), "r1");
    expect(refused).toMatchObject({ status: 400, headers: { "content-type": "application/x-amz-json-1.1" } });
    expect(JSON.parse(String(refused.body))).toEqual({ __type: "InvalidUserStateFault", message: "not now" });
  });
});
