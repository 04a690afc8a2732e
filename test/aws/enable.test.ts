// IAM authentication switched on by the real clients, with exactly what the function enable may do, against an RDS that takes its
// time: what is asked for, what AWS refuses, and that discovery could not do it itself.
import { openKinds } from "@sallyport/aws/kinds";
import type { Kind, Sighting } from "@sallyport/core/kind";
import { statementsFor } from "@sallyport/core/permission";
import { expect, it } from "vitest";
import { accountId, deployment, failureOf, laptop, list, open, rds, region, where } from "./kinds-world.ts";

const enabling = ["db:orders", "cluster:shop", "cluster:multi"].map((id) => `arn:aws:rds:${region}:${accountId}:${id}`);
const kindsOfEnable = () => {
  const statements = statementsFor("enable", { ...deployment, enabling }, ["rds", "aurora"]);
  return openKinds({ clock: { now: Date.now }, connection: laptop.as("enable", statements) });
};
const seen = async (kind: Kind, id: string): Promise<Sighting> => {
  const found = (await list(kind)).sightings.find(({ identifier }) => identifier === id);
  return found ?? expect.unreachable(`${id} was not seen`);
};
const changes = () =>
  laptop.endpoint.calls().flatMap(({ operation }) => (operation.startsWith("Modify") ? [operation] : []));
const switchOn = async (kind: Kind, id: string) => kind.enable?.({ region }, await seen(kind, id));

it("is a change of the instance, or of the cluster that has it", async () => {
  rds.addInstance(where, { id: "orders", iam: false });
  for (const [id, engine] of [
    ["shop", "aurora-postgresql"],
    ["multi", "postgres"],
  ] as const) {
    rds.addCluster(where, { id, engine, iam: false });
    rds.addInstance(where, { id: `${id}-1`, cluster: id });
  }
  const kinds = kindsOfEnable();
  await switchOn(kinds.rds, "orders");
  await switchOn(kinds.rds, "multi");
  await switchOn(kinds.aurora, "shop");
  expect(changes()).toEqual(["ModifyDBInstance", "ModifyDBCluster", "ModifyDBCluster"]);
  for (const [kind, id] of [
    ["rds", "orders"],
    ["rds", "multi"],
    ["aurora", "shop"],
  ] as const) {
    const sighting = await seen(kinds[kind], id);
    expect(sighting).toMatchObject({ state: "modifying", reason: expect.stringContaining("being switched on") });
    // what is under way is not asked for again
    expect(sighting).not.toHaveProperty("iamOff");
  }
});

it("that AWS does not take is a failure in words: a second change while the first is under way", async () => {
  rds.addInstance(where, { id: "orders", iam: false });
  const kind = kindsOfEnable().rds;
  const sighting = await seen(kind, "orders");
  await kind.enable?.({ region }, sighting);
  expect(await failureOf(kind.enable?.({ region }, sighting) ?? Promise.resolve())).toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("InvalidDBInstanceState"),
  });
});

it("S-44 is refused on what the deployment does not name, with the statement to add, and to discovery altogether", async () => {
  rds.addInstance(where, { id: "billing", iam: false });
  rds.addInstance(where, { id: "orders", iam: false });
  const failure = await failureOf(switchOn(kindsOfEnable().rds, "billing"));
  expect([failure.code, failure.message]).toEqual(["denied", "rds:ModifyDBInstance is not allowed in eu-west-1"]);
  expect(failure.hint).toContain(
    `"Action":"rds:ModifyDBInstance","Resource":"arn:aws:rds:eu-west-1:111122223333:db:billing"`,
  );
  expect((await failureOf(switchOn(open().rds, "orders"))).code).toBe("denied");
});

it("is left to its owner where other changes wait for the maintenance window, since AWS would make those at once too", async () => {
  rds.addInstance(where, { id: "orders", iam: false });
  rds.change(where, "orders", { PendingModifiedValues: { DBInstanceClass: "db.r8g.large", EngineVersion: "17.2" } });
  rds.addCluster(where, { id: "shop", iam: false });
  rds.addInstance(where, { id: "shop-1", cluster: "shop" });
  rds.change(where, "shop", { PendingModifiedValues: { EngineVersion: "17.2" } });
  const kinds = kindsOfEnable();
  for (const [kind, id, waiting] of [
    [kinds.rds, "orders", "DBInstanceClass, EngineVersion"],
    [kinds.aurora, "shop", "EngineVersion"],
  ] as const) {
    const sighting = await seen(kind, id);
    expect(sighting).not.toHaveProperty("iamOff");
    expect(sighting.reason).toContain(`makes at once what waits for the maintenance window as well: ${waiting}`);
  }
});
