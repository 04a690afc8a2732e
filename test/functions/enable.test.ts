import { Failure } from "@sallyport/core/failure";
import { keys } from "@sallyport/core/family";
import type { Kinds } from "@sallyport/core/kind";
import { openEnable } from "@sallyport/functions/enable";
import { expect, it } from "vitest";
import { makeSighting, openFakeKinds } from "../fakes/kinds.ts";
import { context, openWorld } from "./world.ts";

const open = async (refusal?: Failure) => {
  const world = openWorld();
  const spec = { aws: [{ types: ["rds"], regions: ["eu-west-1"], tags: { "*": ["*"] }, enable_iam_auth: true }] };
  await world.put([keys.discoveryConfig("all"), { name: "all", spec, createdAt: 1, createdBy: "root", revision: 1 }]);
  const fake = openFakeKinds(
    new Map([["rds/eu-west-1/self", [{ sightings: [makeSighting("orders", { iamOff: true })] }]]]),
  );
  const asked: string[] = [];
  const kinds: Kinds = {
    ...fake,
    rds: {
      ...fake.rds,
      enable: async (_, { identifier }) => {
        asked.push(identifier);
        if (refusal) throw refusal;
      },
    },
  };
  return { ...world, asked, enable: openEnable(world.worldOf("enable"), kinds, world.log) };
};

it("S-44 runs with what it may do at the table, and tells what it did", async () => {
  const world = await open();
  const enabled = [{ resource: "db-ORDERS", outcome: "asked", at: world.clock.now() }];
  expect(await world.enable({}, context)).toEqual({ enabled });
  expect(world.asked).toEqual(["orders"]);
  expect(world.events("database.enable")).toHaveLength(1);
  // what it is asked again within the hour is answered from the table
  expect(await world.enable(undefined, context)).toEqual({ enabled });
  expect(world.asked).toHaveLength(1);
});

it("logs what AWS refused, and answers it", async () => {
  const world = await open(new Failure("denied", "rds:ModifyDBInstance is not allowed"));
  expect(await world.enable({}, context)).toMatchObject({
    enabled: [{ outcome: "refused", reason: "rds:ModifyDBInstance is not allowed" }],
  });
  expect(world.logged.join()).toContain("enable.refused");
});

it.each([
  { databases: ["orders"] },
  { resource: "db-ORDERS", EnableIAMDatabaseAuthentication: true },
  { source: "aws.events", "detail-type": "Scheduled Event" },
  { dryRun: false },
  "orders",
  ["orders"],
])("S-45 an event that names something is none of its own: %j", async (event) => {
  const world = await open();
  await expect(world.enable(event, context)).rejects.toMatchObject({ code: "invalid" });
  expect(world.asked).toEqual([]);
});
