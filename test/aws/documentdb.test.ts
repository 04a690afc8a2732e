// DocumentDB: what is found, and what is signed for whom.
import { isHostOf, stsHosts } from "@sallyport/aws/host";
import { openKinds } from "@sallyport/aws/kinds";
import type { Credential } from "@sallyport/core/credential";
import type { Database } from "@sallyport/core/database";
import { statementsFor } from "@sallyport/core/permission";
import { keysOf } from "@sallyport/local/account";
import { openConversation } from "@sallyport/local/mongodb/sasl";
import { Binary, BSON, type Document } from "mongodb";
import { describe, expect, it } from "vitest";
import { makeDatabase } from "../core/make.ts";
import { accountId, deployment, failureOf, laptop, list, rds, region, where } from "./kinds-world.ts";

const open = (principal: "discover" | "proxy" = "discover") =>
  openKinds({
    clock: { now: Date.now },
    connection: laptop.as(principal, statementsFor(principal, deployment, ["documentdb"])),
  }).documentdb;
const addCluster = (id: string, over: object = {}, members = 2) => {
  rds.addCluster(where, { id, engine: "docdb", iam: false, ...over });
  for (let at = 1; at <= members; at++) rds.addInstance(where, { id: `${id}-${at}`, cluster: id });
};

describe("discovery", () => {
  it("finds the primary and the reader of clusters of version 5.0 and later, tags and all", async () => {
    addCluster("shop", { tags: { env: "dev" } });
    addCluster("lone", { engineVersion: "8.0.0" }, 1);
    rds.addCluster(where, { id: "other" });
    const { sightings, warnings } = await list(open());
    expect(warnings).toEqual([]);
    expect(sightings).toMatchObject([
      { identifier: "lone", endpointType: "primary", status: "available" },
      { identifier: "shop", endpointType: "primary", protocol: "mongodb", status: "available", tags: { env: "dev" } },
      { identifier: "shop", endpointType: "reader", suffix: "reader", status: "available" },
    ]);
    for (const { endpoint } of sightings) {
      expect(endpoint).toMatchObject({ port: 27017, roots: "rds" });
      expect(endpoint?.host).toMatch(new RegExp(`\\.${region}\\.docdb\\.amazonaws\\.com$`));
    }
  });

  it("keeps an older version as unsupported, with the way out", async () => {
    addCluster("old", { engineVersion: "4.0.0" });
    expect((await list(open())).sightings[0]).toMatchObject({
      status: "unsupported",
      reason: "docdb 4.0.0 has no IAM authentication: upgrade it to 5.0 or later",
    });
  });

  it("S-35 an endpoint that is not the service's own is not registered as one", async () => {
    addCluster("bent", { fields: { Endpoint: "bent.cluster-x.eu-west-1.rds.amazonaws.com" } }, 1);
    const [sighting] = (await list(open())).sightings;
    expect([sighting?.status, sighting?.endpoint]).toEqual(["unsupported", undefined]);
    expect(sighting?.reason).toContain("is not an address of DocumentDB");
  });
});

describe("credentials", () => {
  const host = `shop.cluster-abc.${region}.docdb.amazonaws.com`;
  const roleArn = `arn:aws:iam::${accountId}:role/analyst`;
  const database = (over: Partial<Database> = {}): Database =>
    makeDatabase({
      kind: "documentdb",
      protocol: "mongodb",
      endpoint: { host, port: 27017, verifyName: host, roots: "rds" },
      ...over,
    });
  const addRole = () =>
    laptop.accounts[0]!.addRole({
      name: "analyst",
      tags: { sallyport: "database-user" },
      trust: [{ principals: [accountId], actions: ["sts:AssumeRole", "sts:SetSourceIdentity"] }],
    });
  const sts = `sts.${region}.amazonaws.com`;
  const aws = async (of = database(), user = "analyst"): Promise<Extract<Credential, { as: "aws" }>> => {
    const credential = await open("proxy").credential(of, user, { user: "ana" });
    if (credential.as !== "aws") throw new Error("it signs nothing");
    return credential;
  };
  /** A whole conversation with the server half, which verifies for this host and region. */
  const converse = async (
    credential: Extract<Credential, { as: "aws" }>,
    named = sts,
    signedIn = region,
    asked = named,
  ) => {
    const conversation = openConversation({
      credentials: keysOf(laptop.accounts),
      now: Date.now,
      host: asked,
      region: signedIn,
      isUser: async () => true,
    });
    const command = (payload: Document) => ({
      payload: new Binary(BSON.serialize(payload)),
      $db: "$external",
      mechanism: "MONGODB-AWS",
    });
    const begun = conversation.start(command({ r: new Binary(Buffer.alloc(32, 1)), p: 110 }));
    const { s } = BSON.deserialize(begun["payload"].buffer) as { s: Binary };
    const { authorization, date, sessionToken } = await credential.sign(s.buffer, named);
    return conversation.finish(command({ a: authorization, d: date, t: sessionToken?.reveal() }));
  };

  it.each(["analyst", roleArn])("%s signs what STS takes, as the role and in the person's name", async (user) => {
    addRole();
    const credential = await aws(database(), user);
    expect(credential).toMatchObject({ user: roleArn, help: expect.stringContaining(`createUser: "${roleArn}"`) });
    expect((await converse(credential)).user).toBe(roleArn);
    expect((await converse(credential, "sts.amazonaws.com", "us-east-1")).user).toBe(roleArn);
    const [assumed] = laptop.endpoint.calls().filter(({ operation }) => operation === "AssumeRole");
    expect(assumed?.error).toBeUndefined();
  });

  it("a signature for another host, or another nonce, is taken by nobody", async () => {
    addRole();
    const credential = await aws();
    await expect(converse(credential, sts, region, "sts.us-west-2.amazonaws.com")).rejects.toThrow(
      "Authentication failed.",
    );
    await expect(
      converse({ ...credential, sign: (_, host) => credential.sign(Buffer.alloc(64), host) }),
    ).rejects.toThrow("Authentication failed.");
  });

  it.each([
    "sts.example.com",
    "sts.us-west-2.amazonaws.com",
    "sts.eu-west-1.amazonaws.com.evil.example",
    "sts.eu-west-1.amazonaws.com.cn",
    "STS.amazonaws.com",
    "rds.eu-west-1.amazonaws.com",
    "",
  ])("S-33 nothing is signed for a hostile server's STS host %j", async (named) => {
    addRole();
    const failure = await failureOf((await aws()).sign(Buffer.alloc(64), named));
    expect([failure.code, failure.hint]).toEqual([
      "upstream_untrusted",
      expect.stringContaining("look at what stands"),
    ]);
  });

  it("S-35 nothing is assumed for a host that is not DocumentDB's own", async () => {
    addRole();
    const odd = { host: "shop.example.com", port: 27017, verifyName: host, roots: "rds" } as const;
    const failure = await failureOf(open("proxy").credential(database({ endpoint: odd }), "analyst", { user: "ana" }));
    expect(failure.code).toBe("upstream_untrusted");
    expect(laptop.endpoint.calls()).toEqual([]);
  });

  it("STS and the service have names of their own in each partition", () => {
    expect(stsHosts({ partition: "aws-cn", region: "cn-north-1" })).toEqual(["sts.cn-north-1.amazonaws.com.cn"]);
    expect(stsHosts({ partition: "aws-us-gov", region: "us-gov-west-1" })).toEqual(["sts.us-gov-west-1.amazonaws.com"]);
    const cn = { partition: "aws-cn", region: "cn-north-1" };
    expect(isHostOf("docdb", "a.cluster-x.docdb.cn-north-1.amazonaws.com.cn", cn)).toBe(true);
    expect(isHostOf("docdb", "a.cluster-x.docdb.cn-north-1.amazonaws.com", cn)).toBe(false);
  });
});
