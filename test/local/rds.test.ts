// The RDS Describe calls with the real client: paging, filters, clusters and their endpoints, states that take time, accounts and regions apart.
import {
  DescribeDBClusterEndpointsCommand,
  DescribeDBClustersCommand,
  DescribeDBInstancesCommand,
  type DescribeDBInstancesCommandInput,
  ModifyDBClusterCommand,
  ModifyDBInstanceCommand,
  paginateDescribeDBInstances,
  RDSClient,
} from "@aws-sdk/client-rds";
import { openAccount } from "@sallyport/local/account";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { openRds } from "@sallyport/local/services/rds";
import { beforeEach, describe, expect, test } from "vitest";

const clock = { now: Date.parse("2026-11-21T12:00:00Z") };
const now = () => clock.now;
const account = openAccount({ now });
const other = openAccount({ id: "444455556666", now });
const everything = [{ actions: ["rds:*"], resources: ["*"] }];
const { credentials } = account.addUser({ name: "ann", statements: everything });
const foreigner = other.addUser({ name: "bob", statements: everything });
const limited = account.addUser({
  name: "eve",
  statements: [{ actions: ["rds:DescribeDBInstances"], resources: ["arn:aws:rds:*:*:db:orders"] }],
});

const home = { accountId: account.id, region: "eu-west-1" };
let rds: ReturnType<typeof openRds>;
let endpoint: Endpoint;
const clients: RDSClient[] = [];
const clientOf = (keys = credentials, region = "eu-west-1") => {
  const client = new RDSClient({ endpoint: endpoint.url, region, credentials: keys, maxAttempts: 2 });
  clients.push(client);
  return client;
};
let client: RDSClient;

beforeEach(async () => {
  rds = openRds(now);
  endpoint = await openEndpoint({ accounts: [account, other], services: [rds.api], now });
  client = clientOf();
  // The account's clock is not this machine's: the first answer tells the client.
  await client.send(new DescribeDBInstancesCommand({}));
  return async () => {
    for (const open of clients.splice(0)) open.destroy();
    await endpoint.close();
  };
});

const names = async (input: DescribeDBInstancesCommandInput) =>
  ((await client.send(new DescribeDBInstancesCommand(input))).DBInstances ?? []).map((db) => db.DBInstanceIdentifier);

test("an instance looks like one of AWS's", async () => {
  rds.addInstance(home, { id: "orders", tags: { env: "prod", empty: "" }, databaseName: "orders" });
  const [db] = (await client.send(new DescribeDBInstancesCommand({}))).DBInstances ?? [];
  expect(db).toMatchObject({
    DBInstanceIdentifier: "orders",
    DBInstanceArn: "arn:aws:rds:eu-west-1:111122223333:db:orders",
    DBInstanceStatus: "available",
    Engine: "postgres",
    IAMDatabaseAuthenticationEnabled: true,
    CACertificateIdentifier: "rds-ca-rsa2048-g1",
    DBSubnetGroup: { VpcId: "vpc-0123456789abcdef0" },
    TagList: [
      { Key: "env", Value: "prod" },
      { Key: "empty", Value: "" },
    ],
  });
  expect(db?.DbiResourceId).toMatch(/^db-[0-9A-Z]{26}$/);
  expect(db?.Endpoint).toMatchObject({
    Address: expect.stringMatching(/^orders\.[a-z0-9]{12}\.eu-west-1\.rds\.amazonaws\.com$/),
    Port: 5432,
  });
});

test("a cluster has endpoints, one writer, and a failover moves it", async () => {
  const cluster = rds.addCluster(home, { id: "ledger" });
  for (const id of ["ledger-1", "ledger-2"]) rds.addInstance(home, { id, cluster: "ledger" });
  const custom = rds.addCustomEndpoint(home, { cluster: "ledger", id: "reports", type: "READER" });
  const members = async () =>
    (await client.send(new DescribeDBClustersCommand({ DBClusterIdentifier: "LEDGER" }))).DBClusters?.[0]
      ?.DBClusterMembers;
  const writers = async () => (await members())?.map((member) => [member.DBInstanceIdentifier, member.IsClusterWriter]);
  expect(cluster).toMatchObject({
    DbClusterResourceId: expect.stringMatching(/^cluster-[0-9A-Z]{26}$/),
    Endpoint: expect.stringMatching(/^ledger\.cluster-[a-z0-9]{12}\./),
    ReaderEndpoint: expect.stringMatching(/^ledger\.cluster-ro-[a-z0-9]{12}\./),
  });
  expect(await writers()).toEqual([
    ["ledger-1", true],
    ["ledger-2", false],
  ]);
  rds.failover(home, "ledger", "ledger-2");
  expect(await writers()).toEqual([
    ["ledger-1", false],
    ["ledger-2", true],
  ]);
  const endpoints =
    (await client.send(new DescribeDBClusterEndpointsCommand({ DBClusterIdentifier: "ledger" }))).DBClusterEndpoints ??
    [];
  expect(endpoints.map((each) => [each.EndpointType, each.Endpoint]).sort()).toEqual([
    ["CUSTOM", custom.Endpoint],
    ["READER", cluster.ReaderEndpoint],
    ["WRITER", cluster.Endpoint],
  ]);
  const onlyCustom = { Filters: [{ Name: "db-cluster-endpoint-type", Values: ["custom"] }] };
  expect((await client.send(new DescribeDBClusterEndpointsCommand(onlyCustom))).DBClusterEndpoints).toHaveLength(1);
  expect(
    (await client.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: "ledger-1" }))).DBInstances?.[0],
  ).toMatchObject({
    Engine: "aurora-postgresql",
    DBClusterIdentifier: "ledger",
  });
});

describe("paging", () => {
  const ids = Array.from({ length: 55 }, (_, at) => `db-${String(at).padStart(3, "0")}`);
  const fill = () => {
    for (const id of ids) rds.addInstance(home, { id });
  };

  test("goes to the end, each instance once", async () => {
    fill();
    const seen: (string | undefined)[] = [];
    let pages = 0;
    for await (const page of paginateDescribeDBInstances({ client, pageSize: 20 }, {})) {
      pages++;
      seen.push(...(page.DBInstances ?? []).map((db) => db.DBInstanceIdentifier));
    }
    expect(pages).toBe(3);
    expect(seen).toEqual(ids);
  });

  test("misses nothing when instances vanish between pages", async () => {
    fill();
    const first = await client.send(new DescribeDBInstancesCommand({ MaxRecords: 20 }));
    for (const id of ids.slice(10, 25)) rds.remove(home, id);
    const second = await client.send(new DescribeDBInstancesCommand({ MaxRecords: 20, Marker: first.Marker }));
    expect(second.DBInstances?.[0]?.DBInstanceIdentifier).toBe("db-025");
  });

  test("ends without a marker when the last page is full", async () => {
    for (const id of ids.slice(0, 20)) rds.addInstance(home, { id });
    expect((await client.send(new DescribeDBInstancesCommand({ MaxRecords: 20 }))).Marker).toBeUndefined();
  });

  test.each([0, 19, 101, 1.5, -20])("refuses pages of %d", async (MaxRecords) => {
    await expect(names({ MaxRecords })).rejects.toMatchObject({
      name: "InvalidParameterValue",
      message: expect.stringContaining("between 20 and 100"),
    });
  });

  test("refuses a marker that is not its own", async () => {
    for (const Marker of ["x", "!!!", Buffer.from("{}").toString("base64"), Buffer.from("null").toString("base64")]) {
      await expect(names({ Marker }), Marker).rejects.toMatchObject({ name: "InvalidParameterValue" });
    }
  });
});

describe("filters", () => {
  beforeEach(() => {
    rds.addInstance(home, { id: "orders" });
    rds.addInstance(home, { id: "shop", engine: "mysql" });
    rds.addCluster(home, { id: "ledger" });
    rds.addInstance(home, { id: "ledger-1", cluster: "ledger" });
  });
  const by = (Name: string, ...Values: string[]) => names({ Filters: [{ Name, Values }] });

  test("match by any value of each filter", async () => {
    expect(await by("engine", "postgres", "mysql")).toEqual(["orders", "shop"]);
    expect(await by("db-instance-id", "orders", "arn:aws:rds:eu-west-1:111122223333:db:shop")).toEqual([
      "orders",
      "shop",
    ]);
    expect(await by("db-cluster-id", "ledger")).toEqual(["ledger-1"]);
    expect(await by("db-instance-id", "nothing")).toEqual([]);
    const both = [
      { Name: "engine", Values: ["postgres", "aurora-postgresql"] },
      { Name: "db-cluster-id", Values: ["ledger"] },
    ];
    expect(await names({ Filters: both })).toEqual(["ledger-1"]);
  });

  test("one engine AWS does not know spoils the whole listing", async () => {
    await expect(by("engine", "postgres", "oracle-99")).rejects.toMatchObject({
      name: "InvalidParameterValue",
      message: "Unrecognized engine name: oracle-99",
    });
  });

  test("an unknown filter, one of another call, and one without values are refused", async () => {
    await expect(by("tag:env", "prod")).rejects.toMatchObject({ name: "InvalidParameterValue" });
    await expect(by("constructor", "x")).rejects.toMatchObject({ name: "InvalidParameterValue" });
    await expect(by("db-cluster-resource-id", "x")).rejects.toMatchObject({ name: "InvalidParameterValue" });
    await expect(by("engine", "")).rejects.toMatchObject({ name: "InvalidParameterCombination" });
  });
});

test("what is not there is NotFound, in the SDK's own error class", async () => {
  await expect(names({ DBInstanceIdentifier: "none" })).rejects.toMatchObject({
    name: "DBInstanceNotFoundFault",
    $metadata: { httpStatusCode: 404 },
  });
  for (const command of [
    new DescribeDBClustersCommand({ DBClusterIdentifier: "none" }),
    new DescribeDBClusterEndpointsCommand({ DBClusterIdentifier: "none" }),
  ]) {
    await expect(client.send(command as DescribeDBClustersCommand)).rejects.toMatchObject({
      name: "DBClusterNotFoundFault",
    });
  }
});

test("accounts and regions see only their own", async () => {
  rds.addInstance(home, { id: "orders" });
  rds.addInstance({ accountId: other.id, region: "eu-west-1" }, { id: "theirs" });
  rds.addInstance({ accountId: account.id, region: "us-east-1" }, { id: "overseas" });
  const list = async (from: RDSClient) =>
    (await from.send(new DescribeDBInstancesCommand({}))).DBInstances?.map((db) => db.DBInstanceIdentifier);
  expect(await list(client)).toEqual(["orders"]);
  expect(await list(clientOf(foreigner.credentials))).toEqual(["theirs"]);
  expect(await list(clientOf(credentials, "us-east-1"))).toEqual(["overseas"]);
});

test("slow states follow the clock", async () => {
  rds.addInstance(home, { id: "orders", status: "creating" });
  rds.addCluster(home, { id: "ledger" });
  const status = async () => (await client.send(new DescribeDBInstancesCommand({}))).DBInstances?.[0]?.DBInstanceStatus;
  expect(await status()).toBe("creating");
  rds.setStatus(home, "orders", "creating", { "backing-up": 60_000, available: 120_000 });
  clock.now += 60_000;
  expect(await status()).toBe("backing-up");
  clock.now += 60_000;
  expect(await status()).toBe("available");
  rds.setStatus(home, "ledger", "modifying", { available: 30_000 });
  const cluster = async () => (await client.send(new DescribeDBClustersCommand({}))).DBClusters?.[0]?.Status;
  expect(await cluster()).toBe("modifying");
  clock.now += 30_000;
  expect(await cluster()).toBe("available");
});

test("a change shows at once, and a removed instance leaves its cluster", async () => {
  rds.addCluster(home, { id: "ledger" });
  rds.addInstance(home, { id: "ledger-1", cluster: "ledger" });
  rds.change(home, "ledger-1", { IAMDatabaseAuthenticationEnabled: false });
  const [db] = (await client.send(new DescribeDBInstancesCommand({}))).DBInstances ?? [];
  expect(db?.IAMDatabaseAuthenticationEnabled).toBe(false);
  rds.remove(home, "ledger-1");
  const [cluster] = (await client.send(new DescribeDBClustersCommand({}))).DBClusters ?? [];
  expect(cluster?.DBClusterMembers ?? []).toEqual([]);
});

test("a permission for one instance does not list the others", async () => {
  rds.addInstance(home, { id: "orders" });
  const eve = clientOf(limited.credentials);
  expect((await eve.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: "orders" }))).DBInstances).toHaveLength(
    1,
  );
  await expect(eve.send(new DescribeDBInstancesCommand({}))).rejects.toThrow(
    "User: arn:aws:iam::111122223333:user/eve is not authorized to perform: rds:DescribeDBInstances on resource: arn:aws:rds:eu-west-1:111122223333:db:* because no identity-based policy allows the rds:DescribeDBInstances action",
  );
});

describe("switching IAM authentication on", () => {
  const on = { EnableIAMDatabaseAuthentication: true, ApplyImmediately: true };
  const instance = (id: string) => new ModifyDBInstanceCommand({ DBInstanceIdentifier: id, ...on });
  const cluster = (id: string) => new ModifyDBClusterCommand({ DBClusterIdentifier: id, ...on });
  const orders = async () =>
    (await client.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: "orders" }))).DBInstances?.[0];

  test("takes its time, and meanwhile nothing else is changed", async () => {
    rds.addInstance(home, { id: "orders", iam: false });
    expect((await client.send(instance("orders"))).DBInstance).toMatchObject({ DBInstanceStatus: "available" });
    expect(await orders()).toMatchObject({
      DBInstanceStatus: "modifying",
      IAMDatabaseAuthenticationEnabled: false,
      PendingModifiedValues: { IAMDatabaseAuthenticationEnabled: true },
    });
    await expect(client.send(instance("orders"))).rejects.toMatchObject({ name: "InvalidDBInstanceStateFault" });
    clock.now += 60_000;
    expect(await orders()).toMatchObject({ DBInstanceStatus: "available", IAMDatabaseAuthenticationEnabled: true });
    expect((await orders())?.PendingModifiedValues?.IAMDatabaseAuthenticationEnabled).toBeUndefined();
    await client.send(instance("orders"));
  });

  test("of a cluster is the cluster's, never a member's, and never Serverless v1's", async () => {
    rds.addCluster(home, { id: "ledger", iam: false });
    rds.addInstance(home, { id: "ledger-1", cluster: "ledger" });
    rds.addCluster(home, { id: "old", iam: false, engineMode: "serverless" });
    for (const command of [instance("ledger-1"), cluster("old")])
      await expect(client.send<never, never>(command as never)).rejects.toMatchObject({
        name: "InvalidParameterCombination",
      });
    await client.send(cluster("ledger"));
    await expect(client.send(cluster("ledger"))).rejects.toMatchObject({ name: "InvalidDBClusterStateFault" });
    clock.now += 60_000;
    const [found] =
      (await client.send(new DescribeDBClustersCommand({ DBClusterIdentifier: "ledger" }))).DBClusters ?? [];
    expect(found).toMatchObject({ Status: "available", IAMDatabaseAuthenticationEnabled: true });
  });

  test("needs a permission on the very object, and names one that is there", async () => {
    rds.addInstance(home, { id: "orders", iam: false });
    await expect(clientOf(limited.credentials).send(instance("orders"))).rejects.toMatchObject({
      name: "AccessDenied",
    });
    await expect(client.send(instance("gone"))).rejects.toMatchObject({ name: "DBInstanceNotFoundFault" });
    await expect(client.send(cluster("gone"))).rejects.toMatchObject({ name: "DBClusterNotFoundFault" });
  });

  test("is the only change there is here: no other one seems to succeed", async () => {
    rds.addInstance(home, { id: "orders" });
    for (const more of [{ MasterUserPassword: "x".repeat(12) }, { ApplyImmediately: false }])
      await expect(
        client.send(new ModifyDBInstanceCommand({ DBInstanceIdentifier: "orders", ...on, ...more })),
      ).rejects.toMatchObject({ name: "NotImplemented" });
  });
});

test("a Multi-AZ cluster has its own endpoints, and none to list", async () => {
  const { Endpoint, ReaderEndpoint } = rds.addCluster(home, { id: "multi", engine: "mysql" });
  const [found] = (await client.send(new DescribeDBClustersCommand({}))).DBClusters ?? [];
  expect(found).toMatchObject({ Engine: "mysql", MultiAZ: true, Endpoint, ReaderEndpoint, Port: 3306 });
  expect(found?.EngineMode).toBeUndefined();
  expect((await client.send(new DescribeDBClusterEndpointsCommand({}))).DBClusterEndpoints).toEqual([]);
});
