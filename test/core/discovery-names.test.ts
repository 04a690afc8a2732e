import { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import { keys, read } from "@sallyport/core/family";
import { describe, expect, it } from "vitest";
import { makeSighting } from "../fakes/kinds.ts";
import { configure, everything, full, here, lineOf, names, run, see, store, world } from "./discovering.ts";

describe("S-06 names", () => {
  const tagged = (identifier: string, name: string, over = {}) =>
    makeSighting(identifier, { tags: { SallyportDatabaseName: name }, ...over });

  it("stay with the first that had one; another gets region and account", async () => {
    await configure("all", { ...everything, regions: ["eu-west-1", "us-east-1"] });
    world.set("rds/us-east-1/self", [{ sightings: [tagged("zeta", "orders", { region: "us-east-1" })] }]);
    await run();
    world.set(here, [{ sightings: [tagged("alpha", "orders")] }]);
    await run();
    expect((await read(store, Database, keys.database("orders")))?.identifier).toBe("zeta");
    expect((await read(store, Database, keys.database("orders-eu-west-1-111122223333")))?.identifier).toBe("alpha");
    expect((await run()).flatMap(({ written }) => written)).toEqual([]);
  });

  it("do not move on when the first is gone", async () => {
    await configure("all", everything);
    world.set(here, [{ sightings: [tagged("a", "orders"), tagged("b", "orders")] }]);
    await run();
    world.set(here, [{ sightings: [tagged("b", "orders")] }]);
    for (let count = 0; count < 4; count++) await run();
    expect(await names()).toEqual(["orders-eu-west-1-111122223333"]);
  });

  it("that are taken, all of them, leave a database out, with a warning", async () => {
    await configure("all", everything);
    world.set(here, [{ sightings: [makeSighting("orders"), makeSighting("orders-rds")] }]);
    const line = lineOf(await run(), here);
    expect(line?.written).toEqual([full("orders")]);
    expect(line?.warnings).toEqual([expect.stringContaining("db:orders-rds is not registered")]);
    world.set(here, [{ sightings: [makeSighting("orders-rds"), makeSighting("orders")] }]);
    expect(lineOf(await run(), here)?.written).toEqual([]);
    expect((await read(store, Database, keys.database(full("orders"))))?.identifier).toBe("orders");
  });

  it("a tag can't take the name of another database, which stays what it was", async () => {
    await configure("all", everything);
    see("orders");
    await run();
    world.set(here, [{ sightings: [tagged("evil", full("orders")), makeSighting("orders")] }]);
    await run();
    expect((await read(store, Database, keys.database(full("orders"))))?.identifier).toBe("orders");
  });

  it("a renamed database has its new name at once and loses the old one after two listings", async () => {
    await configure("all", everything);
    see("orders");
    await run();
    world.set(here, [{ sightings: [tagged("orders", "shop")] }]);
    await run();
    expect(await names()).toEqual([full("orders"), "shop"]);
    await run();
    expect(await names()).toEqual(["shop"]);
  });

  it("the same object seen by two listings is one database, of the listing that has it", async () => {
    const role = "arn:aws:iam::111122223333:role/reach";
    await configure("all", everything);
    see("orders");
    await run();
    await configure("a", { ...everything, assume_role_arn: role });
    world.set(`rds/eu-west-1/${role}`, [{ sightings: [makeSighting("orders")] }]);
    expect((await run()).flatMap(({ written }) => written)).toEqual([]);
    world.set(here, [new Failure("unavailable", "throttled")]);
    expect((await run()).flatMap(({ written }) => written)).toEqual([]);
    await store.write({ remove: keys.discoveryConfig("all") });
    expect((await run()).flatMap(({ warnings, removed }) => [...warnings, ...removed])).toEqual([]);
    expect(await read(store, Database, keys.database(full("orders")))).toMatchObject({
      foundBy: `rds/eu-west-1/${role}`,
      assume: { roleArn: role },
    });
  });
});
