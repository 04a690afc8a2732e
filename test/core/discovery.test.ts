import { Database } from "@sallyport/core/database";
import { keys, read, readAll, toItem } from "@sallyport/core/family";
import { describe, expect, it } from "vitest";
import { makeSighting, openFakeKinds } from "../fakes/kinds.ts";
import {
  ask,
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

describe("discovery", () => {
  it("writes what it finds, with an event and the epoch's step each, and a Run item", async () => {
    await configure("all", everything);
    see("orders", "billing");
    const lines = await run({ actor: "ana" });
    expect(lineOf(lines, here)).toMatchObject({
      complete: true,
      found: 2,
      written: [full("orders"), full("billing")],
      removed: [],
      warnings: [],
    });
    expect(await read(store, Database, keys.database(full("orders")))).toMatchObject({
      identifier: "orders",
      origin: "cloud",
      network: "default",
      foundBy: here,
      labels: { "sallyport/kind": "rds", "endpoint-type": "instance" },
    });
    expect(await epoch()).toBe(2);
    expect(events()).toMatchObject([
      { name: "database.change", actor: "ana" },
      { name: "database.change", actor: "ana" },
    ]);
    expect(await store.get(keys.run("discovery", here))).toMatchObject({ listing: here, complete: true, misses: {} });
  });

  it("writes a database only when it changed, and the epoch moves only then", async () => {
    await configure("all", everything);
    see("orders", "billing");
    await run();
    const [epochBefore, countBefore] = [await epoch(), events().length];
    expect((await run()).flatMap(({ written }) => written)).toEqual([]);
    expect([await epoch(), events().length]).toEqual([epochBefore, countBefore]);
    world.set(here, [
      { sightings: [makeSighting("orders", { status: "unavailable", state: "stopped", reason: "it is stopped" })] },
      { sightings: [makeSighting("billing")] },
    ]);
    expect((await run()).flatMap(({ written }) => written)).toEqual([full("orders")]);
    expect(await epoch()).toBe(epochBefore + 1);
    const changed = events().flatMap(({ details }) => (details["changed"] as string[] | undefined) ?? []);
    expect(changed.sort()).toEqual(["labels", "reason", "status"]);
  });

  it("takes only what a matcher's tags select, and an empty selector selects nothing", async () => {
    await configure(
      "dev",
      { ...everything, tags: { env: ["dev", "staging"] } },
      { ...everything, tags: { team: "shop" } },
    );
    await configure("none", { ...everything, tags: {} });
    world.set(here, [
      {
        sightings: [
          makeSighting("a", { tags: { env: "dev" } }),
          makeSighting("b", { tags: { env: "prod", team: "shop" } }),
          makeSighting("c", { tags: { env: "prod" } }),
          makeSighting("d"),
        ],
      },
    ]);
    await run();
    expect(await names()).toEqual([full("a"), full("b")]);
  });

  it("S-07 a matcher's tags are the tags alone: a derived label selects nothing", async () => {
    await configure("x", { ...everything, tags: { "account-id": "111122223333" } });
    see("orders");
    await run();
    expect(await names()).toEqual([]);
  });

  it("asks each kind, region and role once, whatever the number of matchers", async () => {
    const role = "arn:aws:iam::444455556666:role/reach";
    await configure("a", everything, { ...everything, regions: ["eu-west-1", "us-east-1"] });
    await configure("b", { ...everything, assume_role_arn: role, external_id: "ext" });
    const kinds = openFakeKinds(world);
    await run({ kinds });
    const assume = { roleArn: role, externalId: "ext" };
    expect(kinds.asked).toHaveLength(6);
    expect(kinds.asked).toEqual(expect.arrayContaining([{ region: "us-east-1" }, { region: "eu-west-1", assume }]));
  });

  it("a dry run says what it would do and writes nothing", async () => {
    await configure("all", everything);
    see("orders");
    const before = store.items();
    expect((await run({ dryRun: true })).flatMap(({ written }) => written)).toEqual([full("orders")]);
    expect(store.items()).toEqual(before);
  });

  it("fails when the table can't be read, and touches nothing", async () => {
    await configure("all", everything);
    see("orders");
    store.fault.break();
    await expect(run()).rejects.toMatchObject({ code: "unavailable" });
    store.fault.mend();
    expect(await names()).toEqual([]);
  });

  it("a database that can't be written is told of, and the others are", async () => {
    await configure("all", everything);
    see("orders", "billing");
    store.fault.breakWhen((change) => "put" in change && change.put.sk === full("orders"));
    const line = lineOf(await run(), here);
    expect(line).toMatchObject({ written: [full("billing")], error: expect.stringContaining(full("orders")) });
    expect(await epoch()).toBe(1);
  });
});

describe("a database without an endpoint", () => {
  it("keeps the one that was known, and its state is told", async () => {
    await configure("all", everything);
    see("orders");
    await run();
    const { endpoint, ...bare } = makeSighting("orders", {
      status: "unavailable",
      state: "creating",
      reason: "it is creating",
    });
    world.set(here, [{ sightings: [bare] }]);
    for (let count = 0; count < 3; count++) await run();
    expect(await read(store, Database, keys.database(full("orders")))).toMatchObject({
      endpoint,
      status: "unavailable",
    });
  });

  it("is not registered before it has one", async () => {
    await configure("all", everything);
    const { endpoint, ...bare } = makeSighting("orders", {
      status: "unavailable",
      state: "creating",
      reason: "it is creating",
    });
    expect(endpoint).toBeDefined();
    world.set(here, [{ sightings: [bare] }]);
    expect(lineOf(await run(), here)).toMatchObject({
      written: [],
      warnings: [`${full("orders")} is not registered: it is creating`],
    });
  });
});

describe("db resources", () => {
  it("make a database of what AWS says, whatever its tags, with labels and a description", async () => {
    await ask("shop", { labels: { env: "prod", region: "mars" }, description: "the shop", identifier: "ORDERS" });
    see("orders", "billing");
    await run();
    expect(await names()).toEqual(["shop"]);
    expect(await read(store, Database, keys.database("shop"))).toMatchObject({
      origin: "dynamic",
      description: "the shop",
      labels: { env: "prod", region: "eu-west-1", "sallyport/origin": "dynamic" },
      endpoint: { host: "orders.abc.eu-west-1.rds.amazonaws.com" },
    });
  });

  it("name all endpoints of what they name, beside what discovery finds by itself", async () => {
    await configure("all", everything);
    await ask("shop", { kind: "aurora" });
    const cluster = { arn: "arn:aws:rds:eu-west-1:111122223333:cluster:orders" };
    world.set("aurora/eu-west-1/self", [
      {
        sightings: [
          makeSighting("orders", { ...cluster, endpointType: "primary" }),
          makeSighting("orders", { ...cluster, endpointType: "reader", suffix: "reader" }),
        ],
      },
    ]);
    await run();
    expect(await names()).toEqual([
      "orders-rds-aurora-eu-west-1-111122223333",
      "orders-reader-rds-aurora-eu-west-1-111122223333",
      "shop",
      "shop-reader",
    ]);
  });

  it("look through the role of the account they name", async () => {
    const role = "arn:aws:iam::444455556666:role/reach";
    await configure("a", { ...everything, tags: { env: "dev" }, assume_role_arn: role });
    await ask("theirs", { account: "444455556666" });
    world.set(`rds/eu-west-1/${role}`, [{ sightings: [makeSighting("orders", { account: "444455556666" })] }]);
    see("orders");
    await run();
    expect(await readAll(store, Database, "database#")).toMatchObject([{ name: "theirs", account: "444455556666" }]);
  });

  it("that name nothing are told of; their database goes after two listings", async () => {
    await ask("shop");
    see("orders");
    await run();
    see();
    expect(lineOf(await run(), here)?.warnings).toEqual(["db shop: there is no rds orders in 111122223333 eu-west-1"]);
    expect(await names()).toEqual(["shop"]);
    await run();
    expect(await names()).toEqual([]);
  });

  it("that are removed take their database along at once", async () => {
    await configure("all", everything);
    await ask("shop");
    see("orders");
    await run();
    expect(await names()).toEqual([full("orders"), "shop"]);
    await store.write({ remove: keys.dynamicDatabase("shop") });
    expect((await run()).flatMap(({ removed }) => removed)).toEqual(["shop"]);
  });

  it("that can't be read keep everything, and may follow an object to another place", async () => {
    await ask("shop");
    see("orders");
    await run();
    await ask("shop", { region: "nowhere at all" });
    expect(lineOf(await run(), "db/shop")?.complete).toBe(false);
    expect(await names()).toEqual(["shop"]);
    await ask("shop", { region: "us-east-1" });
    world.set("rds/us-east-1/self", [{ sightings: [makeSighting("orders", { region: "us-east-1" })] }]);
    await run();
    expect(await readAll(store, Database, "database#")).toMatchObject([{ name: "shop", region: "us-east-1" }]);
  });
});

describe("tags that AWS does not tell while a thing is being changed", () => {
  const tagged = { tags: { env: "prod", SallyportDatabaseName: "shop", status: "odd" } };
  const withheld = { tags: {}, withheld: true, state: "modifying" } as const;
  const show = (over: object) => world.set(here, [{ sightings: [makeSighting("orders", over)] }]);
  const stored = () => read(store, Database, keys.database("shop"));

  it("stay the last known ones, its name too, and nothing is removed", async () => {
    await configure("all", { ...everything, tags: { env: "prod" } });
    show(tagged);
    await run();
    show(withheld);
    for (let count = 0; count < 3; count++)
      expect(lineOf(await run(), here)).toMatchObject({ complete: true, found: 1, removed: [], warnings: [] });
    expect((await stored())?.labels).toMatchObject({ env: "prod", SallyportDatabaseName: "shop", status: "modifying" });
    show({ ...tagged, tags: { env: "dev" } });
    await run();
    await run();
    expect(await names()).toEqual([]);
  });

  it("keep one that was never seen out until they are told: nobody could say to whom it is denied", async () => {
    await configure("all", everything);
    await ask("mine");
    show(withheld);
    const line = lineOf(await run(), here);
    expect([line?.found, line?.warnings]).toEqual([
      0,
      [
        "arn:aws:rds:eu-west-1:111122223333:db:orders is not registered yet: AWS does not tell its tags while it is modifying",
      ],
    ]);
    show(tagged);
    await run();
    expect(await names()).toEqual(["mine", "shop"]);
  });

  it("of a db resource stay its own", async () => {
    await configure("none", { ...everything, tags: { env: "nothing" } });
    await ask("mine", { labels: { env: "given" } });
    show(tagged);
    await run();
    show(withheld);
    await run();
    expect((await read(store, Database, keys.database("mine")))?.labels).toMatchObject({
      env: "given",
      SallyportDatabaseName: "shop",
    });
    // what an administrator gave one resource is no tag of the thing
    expect(await names()).toEqual(["mine"]);
  });
});

it("a stored database that can't be read is replaced by what is seen under its name, and otherwise left alone", async () => {
  await configure("all", everything);
  for (const name of [full("orders"), "unknown"])
    await store.write({ put: toItem(keys.database(name), { name, kind: "something else" }) });
  see("orders");
  await run();
  await run();
  expect(await read(store, Database, keys.database(full("orders")))).toMatchObject({ identifier: "orders" });
  expect(await store.get(keys.database("unknown"))).toBeDefined();
});

it("a listing without end of warnings keeps the first hundred", async () => {
  await configure("all", everything);
  world.set(here, [{ warnings: Array.from({ length: 250 }, (_, count) => `warning ${count}`) }]);
  const warnings = lineOf(await run(), here)?.warnings;
  expect([warnings?.length, warnings?.at(-1)]).toEqual([101, "and 150 more warnings"]);
});
