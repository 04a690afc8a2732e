import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openKinds } from "@sallyport/aws/kinds";
import type { Sighting } from "@sallyport/core/kind";
import { statementsFor } from "@sallyport/core/permission";
import { applyHosts, writeHosts } from "@sallyport/local/hosts";
import { beforeEach, describe, expect, it } from "vitest";
import { accountId, deployment, failureOf, laptop, list, open, rds, region, where } from "./kinds-world.ts";

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
