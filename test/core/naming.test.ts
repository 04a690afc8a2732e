import { isReserved, labelsOf, namesOf, nameTags } from "@sallyport/core/naming";
import { describe, expect, it } from "vitest";
import { makeSighting } from "../fakes/kinds.ts";

const rds = (identifier: string, over = {}) => namesOf("rds", makeSighting(identifier, over)).names;
const aurora = (identifier: string, over = {}) => namesOf("aurora", makeSighting(identifier, over)).names;

describe("names", () => {
  it("say what and where it is", () => {
    expect(rds("orders")).toEqual(["orders-rds-eu-west-1-111122223333"]);
    expect(aurora("orders")).toEqual(["orders-rds-aurora-eu-west-1-111122223333"]);
    expect(aurora("orders", { suffix: "reader" })).toEqual(["orders-reader-rds-aurora-eu-west-1-111122223333"]);
  });

  it("of a Multi-AZ cluster may say that it is one, where an instance is called alike", () => {
    expect(rds("orders", { cluster: "orders", suffix: "reader" })).toEqual([
      "orders-reader-rds-eu-west-1-111122223333",
      "orders-reader-cluster-rds-eu-west-1-111122223333",
    ]);
    expect(aurora("orders", { cluster: "orders" })).toEqual(["orders-rds-aurora-eu-west-1-111122223333"]);
  });

  it("leave out what is in the name already, as a whole part", () => {
    expect(rds("orders-rds")).toEqual(["orders-rds-eu-west-1-111122223333"]);
    expect(rds("orders-eu-west-1")).toEqual(["orders-eu-west-1-rds-111122223333"]);
    expect(rds("words")).toEqual(["words-rds-eu-west-1-111122223333"]);
    expect(rds("orders-rds-eu-west-1-111122223333")).toEqual(["orders-rds-eu-west-1-111122223333"]);
  });

  it.each(nameTags)("a tag %s replaces the first part and stops the suffixes; that of the endpoint stays", (tag) => {
    const tags = { [tag]: "  shop   orders-" };
    expect(rds("x", { tags })).toEqual(["shop-orders", "shop-orders-eu-west-1-111122223333"]);
    expect(aurora("x", { tags, suffix: "reader" })[0]).toBe("shop-orders-reader");
  });

  it("our own tag counts before the others", () => {
    const tags = { "teleport.dev/database_name": "c", TeleportDatabaseName: "b", SallyportDatabaseName: "a" };
    expect(rds("x", { tags })[0]).toBe("a");
  });

  it.each(["", "  ", "a/b", "a:b", "a#b", "a..b", "ö", "ⅰ", "a\u0000", "constructor", "x".repeat(129), ".a"])(
    "S-06 a tag that is no name (%j) is not used, and the run says so",
    (SallyportDatabaseName) => {
      const { names, warnings } = namesOf("rds", makeSighting("orders", { tags: { SallyportDatabaseName } }));
      expect(names).toEqual(["orders-rds-eu-west-1-111122223333"]);
      expect(warnings).toHaveLength(1);
    },
  );
});

describe("labels", () => {
  it("are the tags and what is derived", () => {
    const tags = { env: "dev", "": "empty" };
    const sighting = makeSighting("orders", { tags, vpcId: "vpc-1", state: "backing-up", cluster: "orders" });
    expect(labelsOf("aurora", sighting, "cloud")).toEqual({
      env: "dev",
      "": "empty",
      cluster: "orders",
      "account-id": "111122223333",
      region: "eu-west-1",
      engine: "postgres",
      "engine-version": "17.6",
      "endpoint-type": "instance",
      status: "backing-up",
      "vpc-id": "vpc-1",
      "sallyport/origin": "cloud",
      "sallyport/kind": "aurora",
    });
  });

  it("S-07 no tag replaces or invents a label that is derived, and none of ours comes from a tag", () => {
    const forged = {
      "account-id": "999999999999",
      "sallyport/origin": "config",
      "sallyport/trusted": "yes",
      "vpc-id": "vpc-9",
      namespace: "n",
      workgroup: "w",
      cluster: "c",
    };
    const tags = { ...forged, ...JSON.parse('{"__proto__": "x"}') } as Record<string, string>;
    const labels = labelsOf("rds", makeSighting("orders", { tags }), "cloud");
    expect(labels).toEqual(labelsOf("rds", makeSighting("orders"), "cloud"));
    expect(Object.getPrototypeOf(labels)).toBe(Object.prototype);
    expect(Object.keys(forged).every(isReserved)).toBe(true);
  });

  it("what an administrator adds counts before a tag, and never before what is derived", () => {
    const sighting = makeSighting("orders", { tags: { env: "dev", team: "shop" } });
    const labels = labelsOf("rds", sighting, "dynamic", { env: "prod", region: "mars", constructor: "c" });
    expect(labels).toMatchObject({ env: "prod", team: "shop", region: "eu-west-1", constructor: "c" });
  });
});
