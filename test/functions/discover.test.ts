import { keys } from "@sallyport/core/family";
import type { Kind, Kinds } from "@sallyport/core/kind";
import { openDiscover } from "@sallyport/functions/discover";
import { expect, it } from "vitest";
import { context, openWorld } from "./world.ts";

/** Kinds that find nothing, or can't look. */
const kindsThat = (discover: Kind["discover"]): Kinds => {
  const kind = (name: Kind["name"]): Kind => ({
    name,
    discover,
    credential: () => Promise.reject(new Error("discovery needs no credential")),
  });
  return {
    rds: kind("rds"),
    aurora: kind("aurora"),
    "redshift-serverless": kind("redshift-serverless"),
    documentdb: kind("documentdb"),
    elasticache: kind("elasticache"),
    "elasticache-serverless": kind("elasticache-serverless"),
    memorydb: kind("memorydb"),
  };
};
const nothing = kindsThat(async function* () {
  yield { sightings: [], warnings: [] };
});

const open = async (kinds = nothing) => {
  const world = openWorld();
  const spec = { aws: [{ types: ["rds"], regions: ["eu-west-1"], tags: { "*": ["*"] } }] };
  const made = { createdAt: 1, createdBy: "root", revision: 1 };
  await world.put([keys.discoveryConfig("all"), { name: "all", spec, ...made }]);
  return { ...world, discover: openDiscover(world.worldOf("discover"), kinds, world.log) };
};

it.each([
  undefined,
  {},
  { dryRun: false },
  { version: "0", id: "1", source: "aws.scheduler", "detail-type": "Scheduled Event", detail: "{}" },
])("S-45 runs for the schedule and for the API: %j", async (event) => {
  const world = await open();
  const { runs } = (await world.discover(event, context)) as { runs: { listing: string; complete: boolean }[] };
  expect(runs.map(({ listing, complete }) => [listing, complete]).sort()).toEqual([
    ["aurora/eu-west-1/self", true],
    ["rds/eu-west-1/self", true],
  ]);
  expect(world.table.items().filter((item) => item.pk.startsWith("run#"))).toHaveLength(2);
});

it("a dry run writes nothing", async () => {
  const world = await open();
  const before = world.table.items();
  expect(await world.discover({ dryRun: true }, context)).toMatchObject({ runs: [{}, {}] });
  expect(world.table.items()).toEqual(before);
});

it.each([{ dryRun: "yes" }, { source: "me", "detail-type": "Scheduled Event" }, { region: "eu-west-1" }, [], "x"])(
  "S-45 a hand-made event starts nothing: %j",
  async (event) => {
    const world = await open();
    await expect(world.discover(event, context)).rejects.toMatchObject({ code: "invalid" });
    expect(world.table.items().some((item) => item.pk.startsWith("run#"))).toBe(false);
  },
);

it("a listing that fails is an error in the log and in the answer, not of the run", async () => {
  // biome-ignore lint/correctness/useYield: it fails before its first page
  const failing = kindsThat(async function* () {
    throw new Error("throttled");
  });
  const world = await open(failing);
  const { runs } = (await world.discover({}, context)) as { runs: { complete: boolean; error: string }[] };
  expect(runs.every(({ complete, error }) => !complete && error.length > 0)).toBe(true);
  expect(world.logged.join()).toContain("discover.partial");
});

it("a region where the service has no address is a warning, which alarms nobody", async () => {
  const nowhere = kindsThat(async function* () {
    yield { sightings: [], warnings: ["RDS has no address in eu-west-9"], incomplete: true };
  });
  const world = await open(nowhere);
  await world.discover({}, context);
  expect(world.logged.join()).toContain("discover.incomplete");
  expect(world.logged.join()).not.toContain("discover.partial");
});
