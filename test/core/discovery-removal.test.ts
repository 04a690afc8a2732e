import { Failure } from "@sallyport/core/failure";
import { keys, toItem } from "@sallyport/core/family";
import { beforeEach, describe, expect, it } from "vitest";
import { makeSighting } from "../fakes/kinds.ts";
import {
  configure,
  epoch,
  events,
  everything,
  full,
  here,
  lineOf,
  names,
  run,
  see,
  store,
  world,
} from "./discovering.ts";
import { makeDatabase } from "./make.ts";

describe("removal", () => {
  beforeEach(async () => {
    await configure("all", everything);
    see("orders", "billing");
    await run();
    see("billing");
  });

  it("comes after two complete listings in a row that did not see it", async () => {
    expect((await run()).flatMap(({ removed }) => removed)).toEqual([]);
    expect(await names()).toContain(full("orders"));
    const before = await epoch();
    expect((await run()).flatMap(({ removed }) => removed)).toEqual([full("orders")]);
    expect(await names()).toEqual([full("billing")]);
    expect(await epoch()).toBe(before + 1);
    expect(events().at(-1)).toMatchObject({ name: "database.remove", details: { database: full("orders") } });
  });

  it("does not come when it was seen in between", async () => {
    await run();
    see("orders", "billing");
    await run();
    see("billing");
    await run();
    expect(await names()).toContain(full("orders"));
  });

  it.each([
    ["a listing that fails at once", () => [new Failure("unavailable", "throttled")]],
    [
      "a listing whose second page fails",
      () => [{ sightings: [makeSighting("billing")] }, new Failure("denied", "no")],
    ],
    ["a region where nobody was there to ask", () => [{ incomplete: true as const, warnings: ["no rds here"] }]],
  ])("never comes after %s", async (_, pages) => {
    world.set(here, pages());
    for (let count = 0; count < 4; count++)
      expect(lineOf(await run(), here)).toMatchObject({ complete: false, removed: [] });
    expect(await names()).toEqual([full("billing"), full("orders")]);
    see("billing");
    await run();
    expect(await names()).toContain(full("orders"));
  });

  it("a failed listing between two that miss it does not make a third", async () => {
    await run();
    world.set(here, [new Failure("unavailable", "throttled")]);
    await run();
    expect(await names()).toContain(full("orders"));
    see("billing");
    await run();
    expect(await names()).toEqual([full("billing")]);
  });

  it("what a failing listing did see is written, and other listings are not held up", async () => {
    await configure("more", { ...everything, regions: ["us-east-1"] });
    world.set(here, [
      { sightings: [makeSighting("fresh")] },
      new Failure("unavailable", "throttled", { hint: "wait" }),
    ]);
    world.set("rds/us-east-1/self", [{ sightings: [makeSighting("far", { region: "us-east-1" })] }]);
    const lines = await run();
    expect(lineOf(lines, here)).toMatchObject({ complete: false, error: "throttled\nwait", written: [full("fresh")] });
    expect(lineOf(lines, "rds/us-east-1/self")).toMatchObject({ complete: true, found: 1 });
    expect(await names()).toHaveLength(4);
  });

  it("comes at once for what no resource asks for any more", async () => {
    await store.write({ remove: keys.discoveryConfig("all") });
    expect((await run()).flatMap(({ removed }) => removed).sort()).toEqual([full("billing"), full("orders")]);
    expect(await names()).toEqual([]);
  });

  it("does not come at all while a resource can't be read", async () => {
    await store.write({ put: toItem(keys.discoveryConfig("broken"), { name: "broken", spec: { aws: "nothing" } }) });
    const lines = [await run(), await run(), await run()].flat();
    expect(lines.filter(({ listing }) => listing === "discovery_config/broken")).toHaveLength(3);
    expect(lineOf(lines, "discovery_config/broken")).toMatchObject({ complete: false, error: expect.any(String) });
    await store.write({ remove: keys.discoveryConfig("all") });
    await run();
    expect(await names()).toEqual([full("billing"), full("orders")]);
  });

  it("a matcher that does not compile counts as one that can't be read", async () => {
    await configure("broken", { ...everything, tags: { env: "^(?=x)$" } });
    const lines = [await run(), await run()].flat();
    expect(lineOf(lines, "discovery_config/broken")?.error).toContain("not a regular expression");
    expect(await names()).toContain(full("orders"));
  });

  it("is left to the listing that found it", async () => {
    await store.write({
      put: toItem(keys.database("other"), makeDatabase({ name: "other", foundBy: "rds/us-east-1/self" })),
    });
    await configure("far", { ...everything, regions: ["us-east-1"] });
    world.set("rds/us-east-1/self", [new Failure("unavailable", "down")]);
    await run();
    await run();
    expect(await names()).toEqual([full("billing"), "other"]);
  });

  it("a second run at the same time changes nothing twice", async () => {
    await run();
    const both = await Promise.all([run(), run()]);
    expect(both.flat().flatMap(({ removed }) => removed)).toEqual([full("orders")]);
    expect(both.flat().flatMap(({ warnings }) => warnings)).toEqual([
      `${full("orders")} was changed by another run meanwhile`,
    ]);
  });
});
