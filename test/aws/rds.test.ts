import { isRdsHost } from "@sallyport/aws/host";
import { judge } from "@sallyport/aws/rds";
import { namesOf } from "@sallyport/core/naming";
import { describe, expect, it } from "vitest";
import { accountId, failureOf, list, one, open, rds, region, where } from "./kinds-world.ts";

describe("RDS instances", () => {
  it("are told of as AWS does", async () => {
    const instance = rds.addInstance(where, { id: "orders", tags: { env: "dev" }, vpcId: "vpc-1" });
    expect(await one(open().rds)).toEqual({
      protocol: "postgres",
      arn: `arn:aws:rds:${region}:${accountId}:db:orders`,
      partition: "aws",
      account: accountId,
      region,
      identifier: "orders",
      resourceId: instance.DbiResourceId,
      engine: "postgres",
      engineVersion: "17.6",
      endpointType: "instance",
      state: "available",
      status: "available",
      tags: { env: "dev" },
      vpcId: "vpc-1",
      endpoint: {
        host: instance.Endpoint?.Address,
        port: 5432,
        verifyName: instance.Endpoint?.Address,
        roots: "rds",
      },
    });
  });

  it("of other engines and members of clusters are not ours to list", async () => {
    for (const engine of ["oracle-ee", "sqlserver-ex", "docdb"]) rds.addInstance(where, { id: engine, engine });
    rds.addCluster(where, { id: "cluster" });
    rds.addInstance(where, { id: "member", cluster: "cluster" });
    rds.addInstance(where, { id: "unheard-of", engine: "postgres-9000" as string });
    expect((await list(open().rds)).sightings).toEqual([]);
  });

  it.each([
    ["postgres", "13.4", "postgres", "available"],
    ["mysql", "8.4.5", "mysql", "available"],
    ["mysql", "5.7.44-rds.20250103", "mysql", "available"],
    ["mariadb", "10.6.0", "mysql", "available"],
    ["mariadb", "10.11.10", "mysql", "available"],
    ["mariadb", "11.4.3", "mysql", "available"],
    ["mariadb", "10.5.27", "mysql", "unsupported"],
    ["mariadb", "10.4", "mysql", "unsupported"],
    ["mariadb", "9.9.9", "mysql", "unsupported"],
    ["mariadb", "lts", "mysql", "available"],
  ])("of %s %s speak %s and are %s", async (engine, engineVersion, protocol, status) => {
    rds.addInstance(where, { id: "orders", engine, engineVersion });
    const sighting = await one(open().rds);
    expect(sighting).toMatchObject({ engine, engineVersion, protocol, status, endpointType: "instance" });
    expect(sighting.reason).toBe(
      status === "available"
        ? undefined
        : `mariadb ${engineVersion} has no IAM authentication: upgrade it to 10.6 or later`,
    );
  });

  it("of a version without IAM authentication are not switched on, on or off", async () => {
    rds.addInstance(where, { id: "orders", engine: "mariadb", engineVersion: "10.5.27", iam: false });
    const sighting = await one(open().rds);
    expect(sighting.reason).toContain("upgrade it to 10.6");
    expect(sighting).not.toHaveProperty("iamOff");
  });

  it.each(["mysql", "postgres"])("of a Multi-AZ DB cluster of %s speak its protocol", async (engine) => {
    rds.addCluster(where, { id: "multi", engine });
    rds.addInstance(where, { id: "multi-1", cluster: "multi" });
    const port = engine === "mysql" ? 3306 : 5432;
    expect(await one(open().rds)).toMatchObject({ engine, protocol: engine, endpoint: { port } });
  });

  it("of a Multi-AZ DB cluster are its primary and its reader, by the cluster's resource id", async () => {
    const cluster = rds.addCluster(where, { id: "multi", engine: "postgres", tags: { env: "dev" } });
    for (const id of ["multi-1", "multi-2", "multi-3"])
      rds.addInstance(where, { id, cluster: "multi", vpcId: "vpc-3" });
    rds.addCluster(where, { id: "shop" });
    rds.addInstance(where, { id: "shop-1", cluster: "shop" });
    const { sightings } = await list(open().rds);
    expect(sightings.map(({ endpointType, suffix }) => [endpointType, suffix])).toEqual([
      ["primary", undefined],
      ["reader", "reader"],
    ]);
    expect(sightings[1]).toMatchObject({
      protocol: "postgres",
      arn: `arn:aws:rds:${region}:${accountId}:cluster:multi`,
      resourceId: cluster.DbClusterResourceId,
      engine: "postgres",
      cluster: "multi",
      tags: { env: "dev" },
      vpcId: "vpc-3",
      endpoint: { host: cluster.ReaderEndpoint, verifyName: cluster.ReaderEndpoint },
    });
    expect(namesOf("rds", sightings[1]!).names[0]).toBe(`multi-reader-rds-eu-west-1-${accountId}`);
  });

  it("of a Multi-AZ DB cluster without IAM authentication are mended at the cluster", async () => {
    rds.addCluster(where, { id: "multi", engine: "postgres", iam: false });
    rds.addInstance(where, { id: "multi-1", cluster: "multi" });
    expect(await one(open().rds)).toMatchObject({
      status: "unsupported",
      reason: expect.stringContaining("modify-db-cluster --region eu-west-1 --db-cluster-identifier multi"),
      iamOff: true,
    });
  });

  it("without permission to list clusters are found all the same, before the listing fails", async () => {
    rds.addInstance(where, { id: "orders" });
    const kind = open([{ actions: ["rds:DescribeDBInstances"], resources: ["*"] }]).rds;
    const seen: string[] = [];
    const walk = async () => {
      for await (const { sightings } of kind.discover({ region }))
        seen.push(...sightings.map(({ identifier }) => identifier));
    };
    expect((await failureOf(walk())).message).toBe("rds:DescribeDBClusters is not allowed in eu-west-1");
    expect(seen).toEqual(["orders"]);
  });

  it("are listed to the last page", async () => {
    for (let count = 0; count < 250; count++) rds.addInstance(where, { id: `db-${count}` });
    expect((await list(open().rds)).sightings).toHaveLength(250);
  });

  it("without IAM authentication are unsupported, with the command that mends it", async () => {
    rds.addInstance(where, { id: "orders", iam: false, status: "stopped" });
    expect(await one(open().rds)).toMatchObject({
      status: "unsupported",
      state: "stopped",
      reason:
        "IAM authentication is off: aws rds modify-db-instance --region eu-west-1 --db-instance-identifier orders " +
        "--enable-iam-database-authentication --apply-immediately",
    });
  });

  it("with a certificate from rds-ca-2019 say how to rotate it", async () => {
    rds.addInstance(where, { id: "orders", certificateAuthority: "rds-ca-2019" });
    expect(await one(open().rds)).toMatchObject({ status: "available", reason: expect.stringContaining("rsa2048-g1") });
  });

  it("that are being made have no endpoint yet", async () => {
    rds.addInstance(where, { id: "orders", status: "creating", fields: { Endpoint: undefined as never } });
    const sighting = await one(open().rds);
    expect(sighting).toMatchObject({ status: "unavailable", reason: "AWS says it is creating" });
    expect(sighting).not.toHaveProperty("endpoint");
  });

  it.each([
    ["Available", "available"],
    ["storage-full", "available"],
    ["MODIFYING", "available"],
    ["stopped", "unavailable"],
    ["inaccessible-encryption-credentials-recoverable", "unavailable"],
    ["configuring-something-new", "available"],
  ])("whose status is %s are %s", async (state, status) => {
    rds.addInstance(where, { id: "orders", status: state });
    const { sightings, warnings } = await list(open().rds);
    expect(sightings).toMatchObject([{ state: state.toLowerCase(), status }]);
    expect(warnings).toHaveLength(state === "configuring-something-new" ? 1 : 0);
  });

  it.each([
    "orders.abc.eu-west-1.rds.amazonaws.com.evil.example",
    "orders.abc.us-east-1.rds.amazonaws.com",
    "orders.abc.eu-west-1.rds.amazonaws.com.cn",
    "169.254.169.254",
    "localhost",
    "orders.abc.eu-west-1.rds.amazonaws.com.",
  ])("S-35 with the endpoint %s are unsupported, and it is not kept", async (Address) => {
    rds.addInstance(where, { id: "orders", fields: { Endpoint: { Address, Port: 5432 } } });
    const sighting = await one(open().rds);
    expect(sighting).toMatchObject({ status: "unsupported", reason: expect.stringContaining(Address) });
    expect(sighting).not.toHaveProperty("endpoint");
  });

  it("that claim to be of another region are left out", async () => {
    rds.addInstance(where, { id: "orders", fields: { DBInstanceArn: `arn:aws:rds:us-east-1:${accountId}:db:orders` } });
    expect(await list(open().rds)).toMatchObject({ sightings: [], warnings: [expect.stringContaining("left out")] });
  });
});

describe("S-35 hosts", () => {
  const at = (partition: string, region: string) => (host: string) => isRdsHost(host, { partition, region });
  it("are RDS's own in their region and partition", () => {
    expect(at("aws", "eu-west-1")("c.cluster-ro-abc.eu-west-1.rds.amazonaws.com")).toBe(true);
    expect(at("aws-us-gov", "us-gov-west-1")("o.abc.us-gov-west-1.rds.amazonaws.com")).toBe(true);
    expect(at("aws-cn", "cn-north-1")("o.abc.rds.cn-north-1.amazonaws.com.cn")).toBe(true);
    expect(at("aws-cn", "cn-north-1")("o.abc.cn-north-1.rds.amazonaws.com.cn")).toBe(true);
  });
  it.each([
    ["aws", "eu-west-1", "o.abc.eu-west-1.rds.amazonaws.com.cn"],
    ["aws", "eu-west-1", ".eu-west-1.rds.amazonaws.com"],
    ["aws", "eu-west-1", "eu-west-1.rds.amazonaws.com"],
    ["aws", "eu-west-1", "o.abc.xeu-west-1.rds.amazonaws.com"],
    ["aws", "eu-west-1", "o.abc.eu-west-1.rds.amazonaws.com/x.eu-west-1.rds.amazonaws.com"],
    ["aws", "eu-west-1", "evil@o.eu-west-1.rds.amazonaws.com"],
    ["aws", "eu-west-1", "evil.example#.eu-west-1.rds.amazonaws.com"],
    ["aws", "eu-west-1", "ö.eu-west-1.rds.amazonaws.com"],
    ["aws-cn", "cn-north-1", "o.abc.cn-north-1.rds.amazonaws.com"],
    ["aws-mars", "mars-1", "o.abc.mars-1.rds.amazonaws.com"],
    ["constructor", "eu-west-1", "o.abc.eu-west-1.rds.amazonaws.com"],
  ])("%s %s does not have %j", (partition, region, host) => expect(at(partition, region)(host)).toBe(false));
});

it("every state is usable, bad or unknown, and nothing else", () => {
  const usable = new Set(["available"]);
  expect(judge("x", "available", usable)).toEqual({ status: "available" });
  const bad = [
    ...["creating", "deleting", "delete-precheck", "failed", "stopped", "stopping", "starting", "inactive"],
    ...["cloning-failed", "migration-failed", "preparing-data-migration", "insufficient-capacity"],
    ...["incompatible-create", "incompatible-network", "incompatible-restore"],
    ...["inaccessible-encryption-credentials", "inaccessible-encryption-credentials-recoverable"],
  ];
  for (const state of bad)
    expect(judge("x", state, usable)).toEqual({ status: "unavailable", reason: `AWS says it is ${state}` });
  expect(judge("x", "", usable).warning).toContain("status is missing");
  expect(judge("x", "levitating", usable)).toMatchObject({
    status: "available",
    warning: "x: its status levitating is not known here: it counts as usable",
  });
});
