import { namesOf } from "@sallyport/core/naming";
import { describe, expect, it } from "vitest";
import { accountId, list, open, rds, region, where } from "./kinds-world.ts";

describe("Aurora clusters", () => {
  const addCluster = (id: string, members: readonly string[], more: object = {}) => {
    const cluster = rds.addCluster(where, { id, ...more });
    for (const member of members) rds.addInstance(where, { id: `${id}-${member}`, cluster: id, vpcId: "vpc-2" });
    return cluster;
  };

  it("have a primary, and a reader when there is one", async () => {
    const cluster = addCluster("orders", ["a", "b"], { tags: { env: "dev" } });
    addCluster("single", ["a"]);
    const { sightings } = await list(open().aurora);
    expect(sightings.map((found) => [found.identifier, found.endpointType, found.suffix])).toEqual([
      ["orders", "primary", undefined],
      ["orders", "reader", "reader"],
      ["single", "primary", undefined],
    ]);
    expect(sightings[1]).toEqual({
      protocol: "postgres",
      arn: `arn:aws:rds:${region}:${accountId}:cluster:orders`,
      partition: "aws",
      account: accountId,
      region,
      identifier: "orders",
      resourceId: cluster.DbClusterResourceId,
      engine: "aurora-postgresql",
      engineVersion: "17.6",
      endpointType: "reader",
      suffix: "reader",
      cluster: "orders",
      state: "available",
      status: "available",
      tags: { env: "dev" },
      vpcId: "vpc-2",
      endpoint: { host: cluster.ReaderEndpoint, port: 5432, verifyName: cluster.ReaderEndpoint, roots: "rds" },
    });
  });

  it("without a writer have no primary; other engines are not ours", async () => {
    addCluster("replica", ["a"]);
    rds.change(where, "replica", { DBClusterMembers: [{ DBInstanceIdentifier: "replica-a", IsClusterWriter: false }] });
    addCluster("multi", ["a"], { engine: "postgres" });
    addCluster("docs", ["a"], { engine: "docdb" });
    addCluster("empty", []);
    expect((await list(open().aurora)).sightings.map(({ endpointType }) => endpointType)).toEqual(["reader"]);
  });

  it.each([
    ["aurora-postgresql", "postgres", 5432],
    ["aurora-mysql", "mysql", 3306],
  ])("of %s speak %s, at every endpoint", async (engine, protocol, port) => {
    addCluster("orders", ["a", "b"], { engine });
    rds.addCustomEndpoint(where, { cluster: "orders", id: "reports" });
    const { sightings } = await list(open().aurora);
    expect(sightings.map((found) => [found.engine, found.protocol, found.endpoint?.port])).toEqual(
      Array.from({ length: 3 }, () => [engine, protocol, port]),
    );
  });

  it("of Serverless v1, or without IAM authentication, are unsupported with what mends it", async () => {
    addCluster("old", [], { engineMode: "serverless", iam: false });
    addCluster("off", ["a"], { iam: false });
    expect((await list(open().aurora)).sightings).toMatchObject([
      { identifier: "off", status: "unsupported", reason: expect.stringContaining("modify-db-cluster"), iamOff: true },
      { identifier: "old", status: "unsupported", reason: expect.stringContaining("Serverless v2") },
    ]);
    expect((await list(open().aurora)).sightings[1]).not.toHaveProperty("iamOff");
  });

  it("are unavailable as a whole, or with one endpoint", async () => {
    const { ReaderEndpoint: reader } = addCluster("orders", ["a", "b"], { status: "stopped" });
    expect((await list(open().aurora)).sightings.map(({ status }) => status)).toEqual(["unavailable", "unavailable"]);
    rds.setStatus(where, "orders", "failing-over");
    expect((await list(open().aurora)).sightings.map(({ status }) => status)).toEqual(["available", "available"]);
    // the account gives its own endpoints their cluster's state: this row, sorted behind the reader's, says another
    const row = rds.addCustomEndpoint(where, { cluster: "orders", id: "row" });
    Object.assign(row, { Endpoint: reader, EndpointType: "WRITER", Status: "Deleting" });
    expect((await list(open().aurora)).sightings).toMatchObject([
      { endpointType: "primary", status: "available" },
      { endpointType: "reader", status: "unavailable", reason: "AWS says it is deleting" },
    ]);
  });

  it("have each custom endpoint beside them: dialled by its own name, verified and signed for by the cluster's", async () => {
    const cluster = addCluster("orders", ["a", "b"], { tags: { env: "dev" } });
    const custom = rds.addCustomEndpoint(where, { cluster: "orders", id: "analytics", type: "READER" });
    const { sightings } = await list(open().aurora);
    expect(sightings.map(({ endpointType }) => endpointType)).toEqual(["primary", "reader", "custom"]);
    expect(custom.Endpoint).toMatch(/^analytics\.cluster-custom-/);
    expect(sightings[2]).toMatchObject({
      arn: custom.DBClusterEndpointArn,
      identifier: "orders",
      resourceId: cluster.DbClusterResourceId,
      suffix: "custom-analytics",
      tags: { env: "dev" },
      endpoint: { host: custom.Endpoint, port: 5432, verifyName: cluster.Endpoint },
      signFor: { host: cluster.Endpoint, port: 5432 },
    });
    expect(namesOf("aurora", sightings[2]!).names).toEqual([
      `orders-custom-analytics-rds-aurora-eu-west-1-${accountId}`,
    ]);
  });

  it("keep two custom endpoints apart, each with a state of its own", async () => {
    addCluster("orders", ["a"]);
    rds.addCustomEndpoint(where, { cluster: "orders", id: "one" });
    Object.assign(rds.addCustomEndpoint(where, { cluster: "orders", id: "two" }), { Status: "inactive" });
    const found = (await list(open().aurora)).sightings;
    expect(found.map(({ suffix, status }) => [suffix, status])).toEqual([
      [undefined, "available"],
      ["custom-one", "available"],
      ["custom-two", "unavailable"],
    ]);
    expect(new Set(found.map(({ arn, endpointType }) => `${arn} ${endpointType}`)).size).toBe(3);
  });

  it.each(["evil.example", "analytics.cluster-custom-abc.us-east-1.rds.amazonaws.com", "127.0.0.1"])(
    "S-35 with the custom endpoint %s have it unsupported, and it is not kept",
    async (Endpoint) => {
      addCluster("orders", ["a"]);
      Object.assign(rds.addCustomEndpoint(where, { cluster: "orders", id: "bad" }), { Endpoint });
      const found = (await list(open().aurora)).sightings[1];
      expect(found).toMatchObject({ status: "unsupported", reason: expect.stringContaining(Endpoint) });
      expect(found).not.toHaveProperty("endpoint");
    },
  );

  it("with a member whose certificate is from rds-ca-2019 say which one to rotate", async () => {
    rds.addCluster(where, { id: "orders" });
    rds.addInstance(where, { id: "orders-a", cluster: "orders", certificateAuthority: "rds-ca-2019" });
    expect((await list(open().aurora)).sightings).toMatchObject([
      { status: "available", reason: expect.stringContaining("--db-instance-identifier orders-a") },
    ]);
  });

  it("are listed to the last page", async () => {
    for (let count = 0; count < 110; count++) addCluster(`c-${count}`, ["a"]);
    expect((await list(open().aurora)).sightings).toHaveLength(110);
  });
});
