// Kinds from end to end, with real logins: databases of another account behind a role and an external id, Aurora's custom endpoints,
// Multi-AZ clusters, IAM authentication switched on, and the doctor who looks from inside the network.
import { kindNames } from "@sallyport/core/database";
import { statementsAbroad } from "@sallyport/core/permission";
import type { Account } from "@sallyport/local/account";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openWorld, plainly, type World } from "./world.ts";

const abroad = "444455556666";
const externalId = "shop-7f3a";
let world: World;
let other: Account;
let role: string;

/** Who may assume the role there: our discovery and our proxies, and only with the external id. */
const trustWith = (id: string) => [
  {
    principals: ["discover", "proxy"].map((name) => `arn:aws:iam::${world.laptop.account.id}:role/sallyport-${name}`),
    conditions: { StringEquals: { "sts:ExternalId": id } },
  },
];
const deployment = {
  ...{ partition: "aws", account: abroad, region: "eu-west-1", tableArn: "", discoverArn: "", secretPrefix: "" },
  assumable: [],
};

beforeAll(async () => {
  world = await openWorld({ others: [abroad] });
  const { laptop, servers } = world;
  const [first] = servers;
  other = laptop.others[0]!;
  const statements = statementsAbroad(deployment, kindNames);
  role = other.addRole({ name: "sallyport-reach", trust: trustWith(externalId), statements }).arn;
  await laptop.databases.of(other).addInstance({ id: "ledger", tags: { env: "dev" } }, first!);
});
afterAll(() => world?.close());

const configure = (name: string, matcher: object) =>
  world.put({
    kind: "discovery_config",
    version: "v1",
    metadata: { name },
    spec: { aws: [{ types: ["rds"], regions: ["eu-west-1"], tags: { "*": ["*"] }, ...matcher }] },
  });
const discover = async () => (await world.admin.call("discover", {})).runs;
const forget = (name: string) => world.admin.call("removeResource", { kind: "discovery_config", name });
const conditionOf = async (name: string) => {
  const { findings } = await world.admin.call("doctor", { database: name });
  return findings.find(({ about }) => about.startsWith(name)) ?? expect.unreachable(`${name} is not known`);
};

/** What the database says to a statement, as somebody new. */
let people = 0;
const ask = async (database: string, statement: string): Promise<unknown[]> => {
  const ana = await world.person(`ana${++people}`, ["dev"]);
  const { caFile: _, ca, ...place } = plainly(world.laptop, await world.bearer(ana, { database }));
  const client = new pg.Client({ ...place, ssl: { ca } });
  await client.connect();
  try {
    return (await client.query({ text: statement, rowMode: "array" })).rows.flat();
  } finally {
    await client.end();
  }
};

describe("another account", () => {
  it("is listed and logged in to through its role, with the external id, in the person's own name", async () => {
    await configure("theirs", { assume_role_arn: role, external_id: externalId });
    expect((await discover()).find(({ listing }) => listing === `rds/eu-west-1/${role}`)).toMatchObject({
      complete: true,
      found: 1,
      warnings: [],
    });
    expect(await ask("ledger", "select current_user")).toEqual(["reader"]);
    const assumed = world.laptop.aws.calls().filter(({ operation }) => operation === "AssumeRole");
    // no further hop: the external id is said once a chain, and each chain is one hop long
    expect(new Set(assumed.map(({ arn }) => arn?.split("/")[1]))).toEqual(
      new Set(["sallyport-discover", "sallyport-proxy"]),
    );
    const listed = world.laptop.aws.calls().filter(({ arn }) => arn?.includes(`:${abroad}:`));
    expect(new Set(listed.map(({ arn }) => arn))).toEqual(
      new Set([`arn:aws:sts::${abroad}:assumed-role/sallyport-reach/sally-discovery`]),
    );
  });

  it("that asks for another external id is answered with both halves of the trust and a way to try", async () => {
    // the keys of an external id that was right are still good: a wrong one gets none
    await forget("theirs");
    await configure("theirs", { assume_role_arn: role, external_id: "wrong-9c1d" });
    const error = (await discover()).find(({ listing }) => listing === `rds/eu-west-1/${role}`)?.error ?? "";
    const us = "arn:aws:iam::111122223333:role/sallyport-discover";
    expect(error.split("\n")).toEqual([
      `AWS does not let us assume ${role}`,
      `the policy of ${us} needs {"Effect":"Allow","Action":"sts:AssumeRole","Resource":"${role}"}`,
      expect.stringMatching(/^the trust policy of .* needs \{.*"sts:ExternalId":"<external id>"/),
      expect.stringMatching(/^try it as .*: aws sts assume-role --role-arn .* --external-id '<external id>'$/),
    ]);
    expect(error).not.toContain("wrong-9c1d");
    await forget("theirs");
    await configure("theirs", { assume_role_arn: role, external_id: externalId });
    await discover();
  });

  it("that trusts us no longer is no longer logged in to, and whoever tries is told why", async () => {
    other.trust(role, trustWith("another"));
    await expect(ask("ledger", "select 1")).rejects.toMatchObject({
      message: expect.stringContaining("does not let us assume"),
      hint: expect.stringContaining("aws sts assume-role --role-arn"),
    });
    other.trust(role, trustWith(externalId));
    expect(await ask("ledger", "select 1")).toEqual([1]);
  });

  it("S-07 that the deployment does not trust is not looked into, however open its door", async () => {
    const everything = [{ actions: ["*"], resources: ["*"] }];
    const open = other.addRole({ name: "open-door", trust: [{ principals: ["*"] }], statements: everything }).arn;
    await configure("strangers", { assume_role_arn: open });
    const run = (await discover()).find(({ listing }) => listing === `rds/eu-west-1/${open}`);
    expect(run).toMatchObject({ complete: false, found: 0, error: expect.stringContaining(`assume ${open}`) });
    await forget("strangers");
  });

  it("S-07 whose databases carry our own labels as tags gains nothing by them", async () => {
    const { laptop } = world;
    const tags = {
      "account-id": laptop.account.id,
      "sallyport/origin": "config",
      "sallyport/kind": "aurora",
      env: "prod",
    };
    await laptop.databases.of(other).addInstance({ id: "forged", tags }, world.servers[0]!);
    await discover();
    await world.put({
      kind: "role",
      version: "v7",
      metadata: { name: "home-only" },
      spec: { allow: { db_labels: { "account-id": laptop.account.id }, db_users: ["reader"], db_names: ["orders"] } },
    });
    const eve = await world.person("eve", ["home-only"]);
    const reached = (await eve.call("databases", {})).databases;
    expect(reached.length).toBeGreaterThan(0);
    expect(reached.filter(({ name }) => name.includes("forged"))).toEqual([]);
    laptop.rds.remove({ accountId: abroad, region: laptop.region }, "forged");
  });
});

describe("clusters", () => {
  it("of Aurora are logged in to at a custom endpoint: it is dialled, the cluster's name is verified and signed for", async () => {
    const { laptop, servers } = world;
    const { fronts } = await laptop.databases.addCluster({ id: "shop", tags: { env: "dev" } }, [
      servers[0]!,
      servers[0]!,
    ]);
    laptop.databases.addCustomEndpoint({ cluster: "shop", id: "analytics" }, [fronts[1]!]);
    await discover();
    expect(await ask("shop-custom-analytics", "select current_user")).toEqual(["reader"]);
    expect(fronts.map((front) => front.counters().admitted)).toEqual([0, 1]);
    expect(await ask("shop", "select 1")).toEqual([1]);
    expect(await ask("shop-reader", "select 1")).toEqual([1]);
    expect(fronts.map((front) => front.counters().admitted)).toEqual([1, 2]);
  });

  it("of Multi-AZ are a primary and a reader, by the cluster's resource id", async () => {
    const { laptop, servers } = world;
    const spec = { id: "multi", engine: "postgres", tags: { env: "dev" } };
    const { fronts } = await laptop.databases.addCluster(spec, [servers[0]!, servers[0]!]);
    await discover();
    expect(await ask("multi", "select 1")).toEqual([1]);
    expect(await ask("multi-reader", "select 1")).toEqual([1]);
    expect(fronts.map((front) => front.counters().admitted)).toEqual([1, 1]);
  });
});

describe("S-35 a name that was bent", () => {
  it("S-35 leads no login anywhere but to the database: not to metadata, not to a neighbour with a certificate of its own", async () => {
    const { laptop, servers } = world;
    const { fronts, record } = await laptop.databases.addCluster({ id: "vault", tags: { env: "dev" } }, [servers[0]!]);
    const host = record.Endpoint ?? "";
    const port = record.Port ?? 0;
    // one that AWS vouches for, in the same network and on the same port, and not the one that was asked for
    const stranger = await laptop.rdsAuthority.issue(["billing.abc.eu-west-1.rds.amazonaws.com"]);
    const check = () => true;
    const neighbour = await servers[0]!.front({ identity: stranger, check, host: "127.200.0.1", port });
    await discover();
    expect(await ask("vault", "select 1")).toEqual([1]);
    try {
      for (const [address, said] of [
        ["169.254.169.254", "does not resolve to a database's address"],
        ["169.254.170.2", "does not resolve to a database's address"],
        ["::ffff:169.254.169.254", "does not resolve to a database's address"],
        ["127.200.0.1", `its certificate is not for ${host}`],
      ] as const) {
        const undo = laptop.databases.bend(host, [address]);
        await expect(ask("vault", "select 1")).rejects.toThrow(said);
        undo();
      }
      const { connections, admitted, refused } = neighbour.counters();
      expect([connections, admitted, refused]).toEqual([1, 0, 0]);
      expect(await ask("vault", "select 1")).toEqual([1]);
      expect(fronts[0]?.counters().admitted).toBe(2);
    } finally {
      await neighbour.close();
    }
  });
});

describe("IAM authentication that is off", () => {
  it("is switched on where a matcher asks for it, by the function that may, and the database is then reached", async () => {
    const { laptop, servers } = world;
    const home = { accountId: laptop.account.id, region: laptop.region };
    await laptop.databases.addInstance({ id: "late", iam: false, tags: { env: "dev", iam: "please" } }, servers[0]!);
    await discover();
    expect(await conditionOf("late")).toMatchObject({
      level: "problem",
      text: expect.stringContaining("authentication is off"),
    });
    await configure("mend", { tags: { iam: "please" }, enable_iam_auth: true });
    await discover();
    expect(await conditionOf("late")).toMatchObject({ text: expect.stringContaining("being switched on") });
    await discover();
    const modified = laptop.aws.calls().filter(({ operation }) => operation === "ModifyDBInstance");
    expect(modified.map(({ arn }) => arn?.split("/")[1])).toEqual(["sallyport-enable"]);
    // what takes a minute or more on AWS
    const done = { DBInstanceStatus: "available", IAMDatabaseAuthenticationEnabled: true, PendingModifiedValues: {} };
    laptop.rds.change(home, "late", done);
    await discover();
    expect(await conditionOf("late")).toMatchObject({ level: "ok" });
    expect(await ask("late", "select 1")).toEqual([1]);
    await forget("mend");
  });
});

describe("the doctor", () => {
  const seen = async () => (await world.admin.call("doctor", { database: "orders" })).findings;
  it("sees from inside the network whether a database answers, and who it is", async () => {
    expect(await seen()).toContainEqual({
      level: "ok",
      about: expect.stringMatching(/^orders/),
      text: expect.stringMatching(/^127\.0\.\d+\.\d+ port \d+ answers, and its certificate is right$/),
    });
    await world.fronts.orders.misbehave({ is: "refusing" });
    try {
      expect((await seen()).at(-1)).toMatchObject({
        level: "problem",
        text: expect.stringContaining("nothing listens on 127."),
        hint: expect.stringContaining("it may be stopped, starting or failing over"),
      });
    } finally {
      await world.fronts.orders.misbehave();
    }
  });
});
