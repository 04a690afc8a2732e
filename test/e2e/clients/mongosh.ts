// mongosh as `sally db connect` calls it, and as people do with a URL that `sally db login` printed. It has a folder of its own
// (test/clients).
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Ground } from "../mongodb-world.ts";
import { finding, mongoUrl } from "./mongodb.ts";
import { type Outcome, run } from "./program.ts";

export const mongosh = join(import.meta.dirname, "../../clients/node_modules/.bin/mongosh");
/** Why it can't be used; undefined when it can. */
export const missingMongosh = existsSync(mongosh) ? undefined : "no mongosh: npm ci --prefix test/clients";

export const mongoshSuite = ({ way, shelf }: Ground): void => {
  describe(`mongosh through ${way.name}`, () => {
    let home = "";
    beforeAll(async () => {
      home = await mkdtemp(join(tmpdir(), "sally-mongosh-"));
    });
    afterAll(() => rm(home, { recursive: true, force: true }));
    beforeEach(({ skip }) => skip(missingMongosh !== undefined, missingMongosh));

    const evaluate = async (script: string, bend = (url: string) => url): Promise<Outcome> =>
      run(mongosh, [bend(mongoUrl(await way.place())), "--norc", "--quiet", "--json=relaxed", "--eval", script], {
        env: { HOME: home },
      });

    it("is exactly the authorised user, reads, writes, aggregates and goes on after errors", async () => {
      const script = `
        const failing = (act) => { try { act(); return "no error"; } catch ({ code, codeName }) { return [code, codeName]; } };
        const own = db.getCollection("mongosh-${way.name.split(" ")[1]}");
        own.insertMany(Array.from({ length: 100 }, (_, n) => ({ _id: n, n })));
        own.updateMany({ n: { $lt: 10 } }, { $inc: { n: 1000 } });
        const cursor = own.find({ n: { $gte: 50 } }).sort({ _id: 1 }).batchSize(9);
        ({
          user: db.runCommand({ connectionStatus: 1 }).authInfo.authenticatedUsers,
          name: db.getName(),
          item: db.item.findOne({ _id: 42 }),
          read: cursor.toArray().length,
          sum: own.aggregate([{ $group: { _id: null, sum: { $sum: "$n" } } }]).toArray()[0].sum,
          double: failing(() => own.insertOne({ _id: 1 })),
          outside: failing(() => db.getSiblingDB("payroll").salary.findOne()),
          after: own.countDocuments(),
        })`;
      const { status, stdout, stderr } = await evaluate(script);
      expect([status, stderr]).toEqual([0, ""]);
      expect(JSON.parse(stdout)).toEqual({
        user: [{ user: shelf().roleArn("writer"), db: "$external" }],
        name: "orders",
        item: { _id: 42, name: "item 42" },
        read: 60,
        sum: 4_950 + 10_000,
        double: [11_000, null],
        outside: [13, "Unauthorized"],
        after: 100,
      });
    });
    it("works without directConnection", async () => {
      const { status, stdout, stderr } = await evaluate("db.item.countDocuments()", finding);
      expect([status, stdout.trim(), stderr]).toEqual([0, "1000", ""]);
    });
    it("with replicaSet=rs0 it says that it finds no server", async () => {
      const { status, stdout, stderr } = await evaluate("1", (url) =>
        finding(url).replace("retryWrites", "replicaSet=rs0&serverSelectionTimeoutMS=1500&retryWrites"),
      );
      expect(status).not.toBe(0);
      expect(stdout + stderr).toMatch(/ServerSelection|server selection|selection timed out/i);
    });
  });
};
