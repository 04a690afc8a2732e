// ElastiCache and MemoryDB: what is found, and what is said of what can't be logged in to.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openKinds } from "@sallyport/aws/kinds";
import { labelsOf, namesOf } from "@sallyport/core/naming";
import { statementsFor } from "@sallyport/core/permission";
import { applyHosts, writeHosts } from "@sallyport/local/hosts";
import { describe, expect, it } from "vitest";
import {
  addCache,
  arnOf,
  type CacheKind,
  cacheKinds,
  elasticache,
  laptop,
  memorydb,
  open,
  without,
} from "./cache-world.ts";
import { accountId, deployment, failureOf, list, region, where } from "./kinds-world.ts";

const found = async (kind: CacheKind) => list(open(kind, "discover"));

describe("replication groups", () => {
  it("without cluster mode are a primary and a reader, with tags, labels and the version of their nodes", async () => {
    elasticache.addReplicationGroup(where, {
      id: "orders",
      engine: "valkey",
      engineVersion: "7.2.6",
      tags: { env: "dev" },
    });
    const { sightings, warnings } = await found("elasticache");
    expect(warnings).toEqual([]);
    const host = (label: string) =>
      expect.stringMatching(new RegExp(`^${label}\\.orders\\..+\\.euw1\\.cache\\.amazonaws\\.com$`));
    const shared = {
      protocol: "redis",
      identifier: "orders",
      engine: "valkey",
      engineVersion: "7.2.6",
      tags: { env: "dev" },
    };
    expect(sightings).toMatchObject([
      { ...shared, endpointType: "primary", status: "available", endpoint: { host: host("master"), roots: "amazon" } },
      { ...shared, endpointType: "reader", suffix: "reader", endpoint: { host: host("replica"), port: 6379 } },
    ]);
    for (const { endpoint } of sightings) expect(endpoint?.verifyName).toBe(endpoint?.host);
    expect(sightings.map((one) => namesOf("elasticache", one).names[0])).toEqual([
      `orders-elasticache-${region}-${accountId}`,
      `orders-reader-elasticache-${region}-${accountId}`,
    ]);
    expect(labelsOf("elasticache", sightings[0]!, "cloud")).toMatchObject({
      ...{ cluster: "orders", engine: "valkey", "engine-version": "7.2.6", "endpoint-type": "primary", env: "dev" },
      ...{ "account-id": accountId, region, status: "available", "sallyport/kind": "elasticache" },
    });
  });

  it.each(["enabled", "compatible"] as const)(
    "with cluster mode %s are their configuration endpoint",
    async (clusterMode) => {
      elasticache.addReplicationGroup(where, { id: "orders", clusterMode });
      const { sightings } = await found("elasticache");
      expect(sightings).toMatchObject([
        { endpointType: "configuration", endpoint: { host: expect.stringMatching(/^clustercfg\.orders\./) } },
      ]);
    },
  );

  it("with encryption in transit off are unsupported, with the command that switches it on", async () => {
    elasticache.addReplicationGroup(where, { id: "orders", tls: false });
    const { sightings } = await found("elasticache");
    expect(sightings.map(({ status }) => status)).toEqual(["unsupported", "unsupported"]);
    expect(sightings[0]?.reason).toContain(
      `aws elasticache modify-replication-group --region ${region} --replication-group-id orders --transit-encryption-enabled`,
    );
  });

  it("page to the end, with all their nodes", async () => {
    for (let count = 0; count < 130; count++)
      elasticache.addReplicationGroup(where, { id: `g-${count}`, engineVersion: `7.1.${count}` });
    const { sightings } = await found("elasticache");
    expect(sightings).toHaveLength(260);
    expect(sightings.find(({ identifier }) => identifier === "g-127")?.engineVersion).toBe("7.1.127");
  });

  it("made anew under the same name are another database", async () => {
    const id = async () => (await found("elasticache")).sightings[0]?.resourceId;
    elasticache.addReplicationGroup(where, { id: "orders" });
    const before = await id();
    elasticache.change(where, "orders", { ReplicationGroupCreateTime: new Date(1_000) });
    expect([before === (await id()), await id()]).toEqual([false, "orders@1000"]);
  });

  it("that show no endpoint yet are kept without one", async () => {
    elasticache.addReplicationGroup(where, { id: "fresh", status: "creating", fields: { NodeGroups: [] } });
    const { sightings } = await found("elasticache");
    expect(sightings).toMatchObject([
      { endpointType: "primary", status: "unavailable", reason: "AWS says it is creating" },
    ]);
    expect(sightings[0]?.endpoint).toBeUndefined();
  });
});

describe("serverless caches", () => {
  it("are one database each, by the full version where it is told", async () => {
    elasticache.addServerlessCache(where, { name: "sessions", engine: "valkey", tags: { env: "prod" } });
    const { sightings, warnings } = await found("elasticache-serverless");
    expect(warnings).toEqual([]);
    expect(sightings).toMatchObject([
      {
        arn: arnOf("elasticache-serverless", "sessions"),
        endpointType: "serverless",
        status: "available",
        tags: { env: "prod" },
        engine: "valkey",
        engineVersion: expect.stringMatching(/^\d+\.\d/),
        endpoint: {
          host: expect.stringMatching(/^sessions-.+\.serverless\.euw1\.cache\.amazonaws\.com$/),
          roots: "amazon",
        },
      },
    ]);
    expect(namesOf("elasticache-serverless", sightings[0]!).names).toEqual([
      `sessions-elasticache-serverless-${region}-${accountId}`,
    ]);
  });

  it("of memcached are unsupported, with what to use instead", async () => {
    elasticache.addServerlessCache(where, { name: "pages", fields: { Engine: "memcached" } });
    expect((await found("elasticache-serverless")).sightings).toMatchObject([
      { status: "unsupported", reason: "memcached is not spoken here: use a cache of Valkey or Redis OSS" },
    ]);
  });

  it("page to the end", async () => {
    for (let count = 0; count < 70; count++) elasticache.addServerlessCache(where, { name: `c-${count}` });
    expect((await found("elasticache-serverless")).sightings).toHaveLength(70);
  });
});

describe("MemoryDB clusters", () => {
  it("are one database each", async () => {
    memorydb.addCluster(where, { name: "ledger", acl: "people", tags: { env: "dev" }, shards: 2 });
    const { sightings, warnings } = await found("memorydb");
    expect(warnings).toEqual([]);
    expect(sightings).toMatchObject([
      {
        arn: arnOf("memorydb", "ledger"),
        endpointType: "cluster",
        cluster: "ledger",
        status: "available",
        tags: { env: "dev" },
        engine: "redis",
        endpoint: { host: expect.stringMatching(/^clustercfg\.ledger\..+\.memorydb\.eu-west-1\.amazonaws\.com$/) },
      },
    ]);
    expect(namesOf("memorydb", sightings[0]!).names).toEqual([`ledger-memorydb-${region}-${accountId}`]);
  });

  it("that ask nobody who they are, or have TLS off, are unsupported, with the fix", async () => {
    memorydb.addCluster(where, { name: "anyone" });
    memorydb.addCluster(where, { name: "bare", acl: "people", tls: false });
    const { sightings } = await found("memorydb");
    expect(sightings.map(({ identifier, status, reason }) => [identifier, status, reason])).toEqual([
      [
        "anyone",
        "unsupported",
        expect.stringContaining("aws memorydb update-cluster --region eu-west-1 --cluster-name anyone --acl-name"),
      ],
      ["bare", "unsupported", expect.stringContaining("--tls-enabled")],
    ]);
  });

  it("page to the end", async () => {
    for (let count = 0; count < 120; count++) memorydb.addCluster(where, { name: `c-${count}`, acl: "people" });
    expect((await found("memorydb")).sightings).toHaveLength(120);
  });
});

describe.each(cacheKinds)("%s", (kind) => {
  const listing =
    kind === "elasticache"
      ? "elasticache:DescribeReplicationGroups"
      : kind === "memorydb"
        ? "memorydb:DescribeClusters"
        : "elasticache:DescribeServerlessCaches";
  const tags = kind === "memorydb" ? "memorydb:ListTags" : "elasticache:ListTagsForResource";
  const setStatus = (status: string) =>
    kind === "memorydb" ? memorydb.setStatus(where, "orders", status) : elasticache.setStatus(where, "orders", status);

  it("is found with what core says discovery needs, and nothing more is asked", async () => {
    addCache(kind, "orders", "people");
    expect((await found(kind)).sightings.length).toBeGreaterThan(0);
    const asked = new Set(laptop.endpoint.calls().flatMap(({ actions = [] }) => actions));
    const may = new Set(statementsFor("discover", deployment, [kind]).flatMap(({ actions }) => actions));
    expect([...may].filter((action) => /^(elasticache|memorydb):/.test(action)).sort()).toEqual([...asked].sort());
  });

  it("says which permission is missing, with the statement to add", async () => {
    const failure = await failureOf(list(open(kind, "discover", { statements: without(kind, "discover", listing) })));
    expect([failure.code, failure.hint]).toEqual([
      "denied",
      `add to the policy: ${JSON.stringify({ Effect: "Allow", Action: listing, Resource: "*" })}`,
    ]);
  });

  it("is registered without tags where they may not be asked for, and the run says so", async () => {
    addCache(kind, "orders", "people");
    const { sightings, warnings } = await list(open(kind, "discover", { statements: without(kind, "discover", tags) }));
    expect(sightings[0]).toMatchObject({ status: "available", tags: {} });
    expect(sightings[0]?.withheld).toBeUndefined();
    expect(warnings).toEqual([
      expect.stringContaining(JSON.stringify({ Effect: "Allow", Action: tags, Resource: arnOf(kind, "orders") })),
    ]);
  });

  it("withholds tags while it is not available, which is no failure and no warning", async () => {
    addCache(kind, "orders", "people");
    setStatus("snapshotting");
    const { sightings, warnings } = await found(kind);
    expect(sightings[0]).toMatchObject({ status: "available", state: "snapshotting", tags: {}, withheld: true });
    expect(warnings).toEqual([]);
  });

  it.each([
    ["AVAILABLE", "available", undefined],
    ["deleting", "unavailable", "AWS says it is deleting"],
    ["create-failed", "unavailable", "AWS says it is create-failed"],
    ["pondering", "available", "its status pondering is not known here: it counts as usable"],
  ])("in state %s is %s", async (state, status, reason) => {
    addCache(kind, "orders", "people");
    setStatus(state);
    const { sightings, warnings } = await found(kind);
    expect([sightings[0]?.status, sightings[0]?.reason]).toEqual([status, reason]);
    expect(warnings).toEqual(state === "pondering" ? [`orders: ${reason}`] : []);
  });

  it("fails as a whole when tags fail for another reason than a permission or a state", async () => {
    addCache(kind, "orders", "people");
    const service = kind === "memorydb" ? "memorydb" : "elasticache";
    const operation = tags.slice(tags.indexOf(":") + 1);
    laptop.endpoint.fault.fail({ service, operation, code: "InternalFailure", status: 500, times: 10 });
    expect((await failureOf(found(kind))).code).toBe("unavailable");
  });

  it("S-34 is verified by the name that AWS gives its endpoint, against Amazon's own roots", async () => {
    addCache(kind, "orders", "people");
    const { sightings } = await found(kind);
    for (const { endpoint } of sightings)
      expect(endpoint).toMatchObject({ verifyName: endpoint?.host, roots: "amazon", port: 6379 });
    expect(sightings).not.toHaveLength(0);
  });

  it("S-35 is not registered by an endpoint that is not the service's own", async () => {
    addCache(kind, "orders", "people");
    const at = { Address: "orders.cache.example.com", Port: 6379 };
    if (kind === "memorydb") memorydb.change(where, "orders", { ClusterEndpoint: at });
    else if (kind === "elasticache") elasticache.change(where, "orders", { ConfigurationEndpoint: at });
    else elasticache.change(where, "orders", { Endpoint: at });
    const { sightings } = await found(kind);
    expect(sightings).toMatchObject([
      { status: "unsupported", reason: expect.stringContaining("orders.cache.example.com") },
    ]);
    expect(sightings[0]?.endpoint).toBeUndefined();
  });

  it("is listed through a role of another account", async () => {
    laptop.accounts[1]!.addRole({
      name: "reach",
      trust: [{ principals: [accountId] }],
      statements: statementsFor("discover", { ...deployment, account: "444455556666" }, [kind]),
    });
    const theirs = { accountId: "444455556666", region };
    if (kind === "memorydb") memorydb.addCluster(theirs, { name: "theirs", acl: "people" });
    else if (kind === "elasticache") elasticache.addReplicationGroup(theirs, { id: "theirs" });
    else elasticache.addServerlessCache(theirs, { name: "theirs" });
    const assume = { roleArn: "arn:aws:iam::444455556666:role/reach" };
    const { sightings } = await list(open(kind, "discover"), { region, assume });
    expect(sightings[0]).toMatchObject({ identifier: "theirs", account: "444455556666", status: "available" });
  });
});

it("a region where the service has no address is no error, and not complete either", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-hosts-"));
  const file = join(folder, "hosts.json");
  writeHosts(file, {});
  const undo = applyHosts(file);
  try {
    const keys = async () => ({ accessKeyId: "a", secretAccessKey: "b" });
    const kinds = openKinds({ clock: { now: Date.now }, connection: { keys } });
    for (const [kind, title] of [
      ["elasticache", "ElastiCache"],
      ["elasticache-serverless", "ElastiCache"],
      ["memorydb", "MemoryDB"],
    ] as const)
      expect(await list(kinds[kind], { region: "eu-north-9" })).toEqual({
        sightings: [],
        warnings: [`${title} has no address in eu-north-9`],
        incomplete: true,
      });
  } finally {
    undo();
    await rm(folder, { recursive: true });
  }
});
