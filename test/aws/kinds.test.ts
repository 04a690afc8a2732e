import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openKinds } from "@sallyport/aws/kinds";
import { isRdsHost, judge } from "@sallyport/aws/rds";
import type { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { Found, Kind, Listing, Sighting } from "@sallyport/core/kind";
import { statementsFor } from "@sallyport/core/permission";
import { openAccount } from "@sallyport/local/account";
import { applyHosts, writeHosts } from "@sallyport/local/hosts";
import { openRds, type Rds } from "@sallyport/local/services/rds";
import { openSts } from "@sallyport/local/services/sts";
import { verifyToken } from "@sallyport/local/signature";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeDatabase } from "../core/make.ts";
import { type Laptop, openLaptop } from "./laptop.ts";

const region = "eu-west-1";
const accountId = "111122223333";
const where = { accountId, region };
const deployment = {
  partition: "aws",
  account: accountId,
  region,
  tableArn: `arn:aws:dynamodb:${region}:${accountId}:table/x`,
  discoverArn: `arn:aws:lambda:${region}:${accountId}:function:discover`,
  secretPrefix: "sallyport",
  assumable: ["arn:aws:iam::444455556666:role/reach"],
};
let laptop: Laptop;
let rds: Rds;
beforeEach(async () => {
  rds = openRds();
  const accounts = [openAccount({ id: accountId }), openAccount({ id: "444455556666" })];
  laptop = await openLaptop([rds.api, openSts(accounts)], accounts);
});
afterEach(() => laptop[Symbol.asyncDispose]());

/** With exactly what the discover function may. */
const open = (statements = statementsFor("discover", deployment, ["rds", "aurora"])) =>
  openKinds({ clock: { now: Date.now }, connection: laptop.as("discover", statements) });
const list = async (kind: Kind, listing: Listing = { region }): Promise<Found> => {
  const sightings: Sighting[] = [];
  const warnings: string[] = [];
  let incomplete = false;
  for await (const page of kind.discover(listing)) {
    sightings.push(...page.sightings);
    warnings.push(...page.warnings);
    incomplete ||= page.incomplete === true;
  }
  return { sightings, warnings, ...(incomplete && { incomplete }) };
};
const one = async (kind: Kind): Promise<Sighting> => {
  const { sightings } = await list(kind);
  expect(sightings).toHaveLength(1);
  return sightings[0]!;
};
const failureOf = (promise: Promise<unknown>): Promise<Failure> =>
  promise.then(
    () => expect.unreachable("nothing was thrown"),
    (thrown: unknown) => (thrown instanceof Failure ? thrown : Promise.reject(thrown)),
  );

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
    for (const engine of ["mysql", "mariadb", "oracle-ee", "docdb"]) rds.addInstance(where, { id: engine, engine });
    rds.addCluster(where, { id: "cluster" });
    rds.addInstance(where, { id: "member", cluster: "cluster" });
    rds.addCluster(where, { id: "multi", engine: "postgres" });
    rds.addInstance(where, { id: "multi-1", cluster: "multi" });
    rds.addInstance(where, { id: "unheard-of", engine: "postgres-9000" as string });
    expect((await list(open().rds)).sightings).toEqual([]);
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
    addCluster("orders", ["a", "b"], { status: "stopped" });
    expect((await list(open().aurora)).sightings.map(({ status }) => status)).toEqual(["unavailable", "unavailable"]);
    rds.setStatus(where, "orders", "failing-over");
    expect((await list(open().aurora)).sightings.map(({ status }) => status)).toEqual(["available", "available"]);
  });

  it("are listed to the last page, custom endpoints left out", async () => {
    for (let count = 0; count < 110; count++) addCluster(`c-${count}`, ["a"]);
    rds.addCustomEndpoint(where, { cluster: "c-1", id: "analytics" });
    expect((await list(open().aurora)).sightings).toHaveLength(110);
  });
});

describe("listings that go wrong", () => {
  it.each(["rds", "aurora"] as const)(
    "%s says which permission is missing, with the statement to add",
    async (name) => {
      const failure = await failureOf(list(open([])[name]));
      expect([failure.code, failure.message]).toEqual([
        "denied",
        "rds:DescribeDBInstances is not allowed in eu-west-1",
      ]);
      expect(failure.hint).toContain('{"Effect":"Allow","Action":"rds:DescribeDBInstances","Resource":"*"}');
    },
  );

  it("throttling is waited out", async () => {
    rds.addInstance(where, { id: "orders" });
    laptop.endpoint.fault.fail({ service: "rds", code: "Throttling", status: 400, times: 3 });
    expect((await list(open().rds)).sightings).toHaveLength(1);
  });

  it("a failing second page is a failure, after what the first one had", async () => {
    for (let count = 0; count < 150; count++) rds.addInstance(where, { id: `db-${count}` });
    const kind = open().rds;
    const seen: Sighting[] = [];
    const walk = async () => {
      for await (const { sightings } of kind.discover({ region })) {
        seen.push(...sightings);
        laptop.endpoint.fault.fail({ service: "rds", code: "InternalFailure", status: 500, times: 10 });
      }
    };
    expect((await failureOf(walk())).code).toBe("unavailable");
    expect(seen).toHaveLength(100);
  });

  it("a region where RDS has no address is no error, and not complete either", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-hosts-"));
    const file = join(folder, "hosts.json");
    writeHosts(file, {});
    const undo = applyHosts(file);
    try {
      const keys = async () => ({ accessKeyId: "a", secretAccessKey: "b" });
      const kinds = openKinds({ clock: { now: Date.now }, connection: { keys } });
      for (const kind of [kinds.rds, kinds.aurora])
        expect(await list(kind, { region: "eu-north-9" })).toEqual({
          sightings: [],
          warnings: ["RDS has no address in eu-north-9"],
          incomplete: true,
        });
    } finally {
      undo();
      await rm(folder, { recursive: true });
    }
  });
});

describe("another account", () => {
  const theirs = { accountId: "444455556666", region };
  beforeEach(() => {
    laptop.accounts[1]!.addRole({
      name: "reach",
      trust: [{ principals: [accountId], conditions: { StringEquals: { "sts:ExternalId": "ext" } } }],
      statements: statementsFor("discover", deployment, ["rds", "aurora"]),
    });
  });

  it("is listed through its role", async () => {
    rds.addInstance(where, { id: "ours" });
    rds.addInstance(theirs, { id: "theirs" });
    const assume = { roleArn: "arn:aws:iam::444455556666:role/reach", externalId: "ext" };
    expect((await list(open().rds, { region, assume })).sightings).toMatchObject([
      { identifier: "theirs", account: "444455556666" },
    ]);
    const described = laptop.endpoint.calls().find(({ operation }) => operation === "DescribeDBInstances");
    expect(described?.arn).toBe("arn:aws:sts::444455556666:assumed-role/reach/sally-discovery");
  });

  it("that does not trust us is a failure with both halves of the trust", async () => {
    const assume = { roleArn: "arn:aws:iam::444455556666:role/reach", externalId: "wrong" };
    const failure = await failureOf(list(open().rds, { region, assume }));
    expect([failure.code, failure.hint]).toEqual(["denied", expect.stringContaining("the trust policy of")]);
  });
});

describe("credentials", () => {
  const database: Database = makeDatabase();
  const { host } = database.endpoint;
  const verify = (token: string, now = Date.now(), at = `${host}:5432`) =>
    verifyToken({
      token,
      service: "rds-db",
      host: at,
      region,
      expect: { Action: "connect", DBUser: "reader" },
      credentials: (id) => laptop.accounts.map((account) => account.key(id)).find((key) => key !== undefined),
      now,
    });
  const passwordOf = async (kind: Kind, of: Database, person = "ana") => {
    const credential = await kind.credential(of, "reader", { user: person });
    if (credential.as !== "password") throw new Error("no password");
    expect(credential).toMatchObject({ user: "reader", methods: "clear" });
    expect(JSON.stringify(credential)).not.toContain("X-Amz-Signature");
    return credential.password.reveal();
  };

  it.each(["rds", "aurora"] as const)(
    "of %s are a token that RDS takes, in clear and nowhere but there",
    async (name) => {
      expect(verify(await passwordOf(open()[name], database)).arn).toBe(`arn:aws:iam::${accountId}:user/discover`);
    },
  );

  it("are signed for another host where one is named", async () => {
    const primary = "primary.abc.eu-west-1.rds.amazonaws.com";
    const token = await passwordOf(open().aurora, { ...database, signFor: { host: primary, port: 5433 } });
    expect(verify(token, Date.now(), `${primary}:5433`).region).toBe(region);
  });

  it("in another account are the person's own: two people never share one", async () => {
    laptop.accounts[1]!.addRole({ name: "reach", trust: [{ principals: [accountId] }] });
    const theirs = { ...database, assume: { roleArn: "arn:aws:iam::444455556666:role/reach" } };
    const kinds = open();
    const [ana, bo] = [await passwordOf(kinds.rds, theirs, "ana"), await passwordOf(kinds.rds, theirs, "bo")];
    expect([ana, bo].map((token) => verify(token).arn)).toEqual([
      "arn:aws:sts::444455556666:assumed-role/reach/sally-ana",
      "arn:aws:sts::444455556666:assumed-role/reach/sally-bo",
    ]);
    expect(await passwordOf(kinds.rds, theirs, "ana")).toBe(ana);
  });

  it("S-35 are never made for a host that is not RDS's own", async () => {
    const kinds = open();
    for (const evil of [`${host}.evil.example`, "127.0.0.1", "orders.abc.us-east-1.rds.amazonaws.com"]) {
      const endpoint = { ...database.endpoint, host: evil, verifyName: evil };
      const failure = await failureOf(kinds.rds.credential({ ...database, endpoint }, "reader", { user: "ana" }));
      expect(failure.code).toBe("upstream_untrusted");
    }
    const signFor = { host: "evil.example", port: 5432 };
    expect((await failureOf(kinds.rds.credential({ ...database, signFor }, "reader", { user: "ana" }))).code).toBe(
      "upstream_untrusted",
    );
  });

  it("without any keys fail, and say so", async () => {
    const keys = () => Promise.reject(new Error("Could not load credentials from any providers"));
    const kinds = openKinds({ clock: { now: Date.now }, connection: { keys } });
    expect(await failureOf(kinds.rds.credential(database, "reader", { user: "ana" }))).toMatchObject({
      code: "unavailable",
      message: "there are no AWS keys to log in with",
    });
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
  expect(judge("x", "deleting", usable)).toEqual({ status: "unavailable", reason: "AWS says it is deleting" });
  expect(judge("x", "", usable).warning).toContain("status is missing");
});
