// Discovery and what it has switched on, with kinds that are lists: who is asked for, how often, and what is told of it.

import { randomBytes } from "node:crypto";
import { Database } from "@sallyport/core/database";
import { DiscoveryConfigSpec } from "@sallyport/core/discovery";
import { enable } from "@sallyport/core/enable";
import { Failure } from "@sallyport/core/failure";
import { keys, read } from "@sallyport/core/family";
import { beforeEach, describe, expect, it } from "vitest";
import { makeSighting, openFakeKinds } from "../fakes/kinds.ts";
import { configure, events, everything, full, here, lineOf, run, store, world } from "./discovering.ts";
import { hour, now } from "./make.ts";

const off = { status: "unsupported", reason: "IAM authentication is off: do this", iamOff: true } as const;
const opted = { ...everything, enable_iam_auth: true };
let at: number;
let refusal: Failure | undefined;
let asked: string[];
beforeEach(() => {
  at = now;
  refusal = undefined;
  asked = [];
});

const kinds = () => {
  const fake = openFakeKinds(world);
  const switchOn = async (_: object, { identifier }: { identifier: string }) => {
    asked.push(identifier);
    if (refusal) throw refusal;
  };
  return { ...fake, rds: { ...fake.rds, enable: switchOn } };
};
const random = { bytes: randomBytes };
const enabling = () => enable({ store, kinds: kinds(), clock: { now: () => at }, random });
const discover = (more: object = {}) => run({ kinds: kinds(), enable: enabling, ...more });
const reasonOf = async (name: string) => (await read(store, Database, keys.database(full(name))))?.reason;

describe("switching IAM authentication on", () => {
  it("is asked for where a matcher opted in, for what is off and matches, and told of", async () => {
    await configure("all", everything);
    await configure("some", { ...opted, tags: { team: "shop" } });
    world.set(here, [
      {
        sightings: [
          makeSighting("orders", { ...off, tags: { team: "shop" } }),
          makeSighting("billing", off),
          makeSighting("ready", { tags: { team: "shop" } }),
        ],
      },
    ]);
    const line = lineOf(await discover(), here);
    expect(asked).toEqual(["orders"]);
    expect(line?.warnings).toEqual([]);
    expect(await reasonOf("orders")).toBe("IAM authentication was off and is being switched on");
    expect(await reasonOf("billing")).toBe(off.reason);
    expect(events().filter(({ name }) => name === "database.enable")).toMatchObject([
      { actor: "enable", details: { outcome: "asked", resource: "db-ORDERS" } },
    ]);
  });

  it("is not asked for where nobody opted in", async () => {
    await configure("all", everything);
    world.set(here, [{ sightings: [makeSighting("orders", off)] }]);
    expect(lineOf(await discover(), here)?.warnings).toEqual([]);
    expect(await enabling()).toEqual([]);
    expect(asked).toEqual([]);
  });

  it("that AWS refuses stands in the run and with the database, and ends neither", async () => {
    await configure("all", opted);
    world.set(here, [{ sightings: [makeSighting("orders", off), makeSighting("billing")] }]);
    refusal = new Failure("denied", "rds:ModifyDBInstance is not allowed", { hint: "add this statement" });
    const line = lineOf(await discover(), here);
    expect(line).toMatchObject({ complete: true, found: 2 });
    expect(line?.error).toBeUndefined();
    expect(line?.warnings).toEqual([
      expect.stringContaining("rds:ModifyDBInstance is not allowed\nadd this statement"),
    ]);
    expect(await reasonOf("orders")).toContain("switching it on failed: rds:ModifyDBInstance is not allowed");
  });

  it("is asked for once an hour at most, whatever came of it", async () => {
    await configure("all", opted);
    world.set(here, [{ sightings: [makeSighting("orders", off)] }]);
    for (const wanted of [undefined, new Failure("denied", "no")]) {
      refusal = wanted;
      const [first] = await enabling();
      for (at += hour - 1; (await enabling())[0]?.at === first?.at; at += 2) expect(await enabling()).toEqual([first]);
      expect(first?.outcome).toBe(wanted ? "refused" : "asked");
      at += hour;
    }
    expect(asked).toHaveLength(4);
  });

  it("of a cluster is asked for once, however many endpoints it has", async () => {
    await configure("all", opted);
    const shared = { ...off, arn: "arn:aws:rds:eu-west-1:111122223333:cluster:shop", resourceId: "cluster-SHOP" };
    const reader = makeSighting("shop", { ...shared, endpointType: "reader", suffix: "reader" });
    const custom = makeSighting("shop", {
      ...shared,
      arn: `${shared.arn}x`,
      endpointType: "custom",
      suffix: "custom-x",
    });
    world.set(here, [{ sightings: [makeSighting("shop", { ...shared, endpointType: "primary" }), reader, custom] }]);
    await discover();
    expect(asked).toEqual(["shop"]);
    for (const name of ["shop", "shop-reader", "shop-custom-x"]) expect(await reasonOf(name)).toContain("switched on");
  });

  it("is asked for by one of two runs at a time", async () => {
    await configure("all", opted);
    world.set(here, [{ sightings: [makeSighting("orders", off)] }]);
    const both = await Promise.all([enabling(), enabling()]);
    expect(asked).toEqual(["orders"]);
    expect(both.flat().map(({ outcome }) => outcome)).toEqual(["asked", "asked"]);
  });

  it("is only told of by a dry run, and by a deployment that has not opted in", async () => {
    await configure("all", opted);
    world.set(here, [{ sightings: [makeSighting("orders", off)] }]);
    expect(lineOf(await discover({ dryRun: true }), here)?.warnings).toEqual([
      expect.stringContaining("would be switched on"),
    ]);
    expect(lineOf(await run({ kinds: kinds() }), here)?.warnings).toEqual([
      expect.stringContaining("the deployment has not opted in"),
    ]);
    expect(asked).toEqual([]);
  });

  it("that can't even be started is a warning of the run", async () => {
    await configure("all", opted);
    world.set(here, [{ sightings: [makeSighting("orders", off)] }]);
    const failing = () => Promise.reject(new Failure("unavailable", "it can't be started"));
    expect(lineOf(await discover({ enable: failing }), here)).toMatchObject({
      complete: true,
      warnings: [expect.stringContaining("was not switched on: it can't be started")],
    });
  });

  it("whose own listing fails says so", async () => {
    await configure("all", opted);
    world.set(here, [{ sightings: [makeSighting("orders", off)] }, new Failure("denied", "not you")]);
    expect(await enabling()).toMatchObject([
      { resource: "db-ORDERS", outcome: "asked" },
      { resource: here, outcome: "refused", reason: "not you" },
    ]);
  });
});

describe("S-07 discovery only from accounts that were asked", () => {
  const role = "arn:aws:iam::444455556666:role/reach";
  const there = `rds/eu-west-1/${role}`;
  it("S-07 a database of another account than the role's is left out, whatever its tags", async () => {
    await configure("theirs", { ...everything, assume_role_arn: role });
    const forged = makeSighting("evil", { ...off, account: "999999999999", tags: { env: "prod" } });
    world.set(there, [{ sightings: [makeSighting("theirs", { account: "444455556666" }), forged] }]);
    const line = lineOf(await discover(), there);
    expect(line).toMatchObject({
      found: 1,
      warnings: [expect.stringContaining("is not of the account that was asked")],
    });
  });

  it("S-44 nothing is switched on in another account, whose role is the proxies' too", async () => {
    const matcher = { ...opted, assume_role_arn: role };
    expect(DiscoveryConfigSpec.safeParse({ aws: [matcher] }).error?.issues).toMatchObject([
      { message: expect.stringContaining("in another one, switch IAM authentication on there") },
    ]);
    // one that came into the table some other way is not read
    await configure("theirs", matcher);
    world.set(there, [{ sightings: [makeSighting("theirs", { ...off, account: "444455556666" })] }]);
    expect(lineOf(await discover(), "discovery_config/theirs")?.error).toContain("can't be read");
    expect(asked).toEqual([]);
  });
});
