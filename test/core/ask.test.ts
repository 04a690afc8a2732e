// What an ask becomes when its database name is left out.
import { completeAsk, type Scene } from "@sallyport/core/ask";
import type { Database } from "@sallyport/core/database";
import { describe, expect, it } from "vitest";
import { makeDatabase, now } from "./make.ts";

const scene: Scene = {
  subject: { user: { name: "ana", roles: [], traits: {}, state: "active" }, loginExpiresAt: now },
  ...{ roles: new Map(), locks: [], databases: [], now },
};
const nameOf = (database: Database, names: readonly string[], user = "analyst"): string | undefined =>
  completeAsk(scene, database, [{ user, names }], { database: database.name }).name;

describe("the database name when none is named", () => {
  const warehouse = makeDatabase({ kind: "redshift-serverless" });
  const documents = makeDatabase({ kind: "documentdb", protocol: "mongodb" });

  it("is the only one that the roles mention, whatever the kind", () => {
    for (const database of [makeDatabase(), warehouse, documents]) expect(nameOf(database, ["orders"])).toBe("orders");
  });
  it.each([[["*"]], [["dev", "orders"]]])("is dev on Redshift Serverless where that is one of %j", (names) => {
    expect(nameOf(warehouse, names)).toBe("dev");
  });
  it("is test on DocumentDB where any may be, as its own clients have it", () => {
    expect(nameOf(documents, ["*"], "arn:aws:iam::111122223333:role/analyst")).toBe("test");
  });
  it("is the user's own elsewhere where any may be", () => {
    expect(nameOf(makeDatabase(), ["*"])).toBe("analyst");
  });
  it("is asked for among several", () => {
    expect(() => nameOf(warehouse, ["orders", "payroll"])).toThrow("which database name of orders?");
  });
});
