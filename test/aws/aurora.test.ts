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
    addCluster("mysql", ["a"], { engine: "aurora-mysql" });
    addCluster("docs", ["a"], { engine: "docdb" });
    addCluster("empty", []);
    expect((await list(open().aurora)).sightings.map(({ endpointType }) => endpointType)).toEqual(["reader"]);
  });

  it("of Serverless v1, or without IAM authentication, are unsupported with what mends it", async () => {
    addCluster("old", [], { engineMode: "serverless", iam: false });
    addCluster("off", ["a"], { iam: false });
    expect((await list(open().aurora)).sightings).toMatchObject([
      { identifier: "off", status: "unsupported", reason: expect.stringContaining("modify-db-cluster") },
      { identifier: "old", status: "unsupported", reason: expect.stringContaining("Serverless v2") },
    ]);
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

  it("are listed to the last page, custom endpoints left out", async () => {
    for (let count = 0; count < 110; count++) addCluster(`c-${count}`, ["a"]);
    rds.addCustomEndpoint(where, { cluster: "c-1", id: "analytics" });
    expect((await list(open().aurora)).sightings).toHaveLength(110);
  });
});
