// The mongodb driver from npm, connected by the very URL that `sally` prints. Its monitors never log in; its hello is one of a
// router to it, by whatever topology it was told to expect.
import { connectionUrl } from "@sallyport/cli/connection";
import { secret } from "@sallyport/core/secret";
import { type Document, MongoClient, type MongoClientOptions, MongoServerError } from "mongodb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ground } from "../mongodb-world.ts";
import type { Place } from "./way.ts";

/** As `sally` prints it. */
export const mongoUrl = ({ host, port, user, database: name, password, caFile }: Place): string => {
  const tls = caFile === undefined ? {} : { password: secret(password), tls: { caFile } };
  return connectionUrl({ protocol: "mongodb", host, port, user, name, ...tls });
};

/** The same URL for a driver that is to find out by itself what it talks to. */
export const finding = (url: string): string => url.replace("directConnection=true&", "");

export const mongodbSuite = ({ way, shelf }: Ground): void => {
  describe(`mongodb (npm) through ${way.name}`, () => {
    const opened: MongoClient[] = [];
    let client: MongoClient;
    const open = async (options: MongoClientOptions = {}, bend = (url: string) => url): Promise<MongoClient> => {
      const url = bend(mongoUrl(await way.place()));
      const fresh = new MongoClient(url, { serverSelectionTimeoutMS: 10_000, ...options });
      opened.push(fresh);
      return fresh;
    };
    /** A collection of its own for each test. */
    const scratch = (name: string) => client.db("orders").collection<Document>(`${name}-${way.name.split(" ")[1]}`);
    beforeEach(async () => {
      client = await open();
    });
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close(true);
    });

    it("is exactly the authorised user", async () => {
      const { authInfo } = await client.db("admin").command({ connectionStatus: 1 });
      expect(authInfo["authenticatedUsers"]).toEqual([{ user: shelf().roleArn("writer"), db: "$external" }]);
    });
    it("finds by filter, with a projection, sorted", async () => {
      const items = client.db("orders").collection("item");
      expect(await items.findOne({ _id: 7 as never })).toEqual({ _id: 7, name: "item 7" });
      const found = await items
        .find({ _id: { $gte: 7, $lte: 9 } as never }, { projection: { _id: 0, name: 1 } })
        .sort({ _id: -1 })
        .toArray();
      expect(found).toEqual([9, 8, 7].map((id) => ({ name: `item ${id}` })));
      expect(await items.countDocuments()).toBe(1_000);
    });
    it("reads a cursor over many batches, and leaves one early", async () => {
      const items = client.db("orders").collection("item");
      const ids: unknown[] = [];
      for await (const { _id } of items.find().sort({ _id: 1 }).batchSize(7)) ids.push(_id);
      expect(ids).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 1));
      const cursor = items.find().batchSize(5);
      expect(await cursor.next()).toMatchObject({ name: expect.stringMatching(/^item /) });
      await cursor.close();
      expect(await items.findOne({ _id: 1 as never })).toEqual({ _id: 1, name: "item 1" });
    });
    it("inserts 2,000 documents at once, changes and deletes", async () => {
      const many = scratch("bulk");
      const documents = Array.from({ length: 2_000 }, (_, n) => ({ n, text: "x".repeat(1_000) }));
      expect((await many.insertMany(documents)).insertedCount).toBe(2_000);
      expect(await many.updateMany({ n: { $lt: 10 } }, { $set: { text: "changed" } })).toMatchObject({
        modifiedCount: 10,
      });
      expect(await many.deleteMany({ n: { $gte: 10 } })).toMatchObject({ deletedCount: 1_990 });
      const outcome = await many.bulkWrite([
        { insertOne: { document: { n: 50 } } },
        { updateOne: { filter: { n: 51 }, update: { $set: { n: 51 } }, upsert: true } },
        { deleteOne: { filter: { n: 0 } } },
      ]);
      expect([outcome.insertedCount, outcome.upsertedCount, outcome.deletedCount]).toEqual([1, 1, 1]);
      expect(await many.countDocuments()).toBe(11);
    });
    it("aggregates", async () => {
      const [found] = await client
        .db("orders")
        .collection("item")
        .aggregate([
          { $match: { _id: { $lte: 10 } } },
          { $group: { _id: null, sum: { $sum: "$_id" }, n: { $sum: 1 } } },
        ])
        .toArray();
      expect(found).toEqual({ _id: null, sum: 55, n: 10 });
    });
    it("is told an error with its code, and goes on", async () => {
      const unique = scratch("unique");
      await unique.insertOne({ _id: 1 as never });
      await expect(unique.insertOne({ _id: 1 as never })).rejects.toMatchObject({ code: 11_000 });
      await expect(client.db("orders").command({ noSuchCommand: 1 })).rejects.toMatchObject({
        code: 59,
        codeName: "CommandNotFound",
      });
      expect(await client.db("orders").command({ ping: 1 })).toMatchObject({ ok: 1 });
    });
    it("carries a document of 8 MB whole, both ways", async () => {
      const large = scratch("large");
      const whole = "0123456789abcdef".repeat(524_288);
      await large.insertOne({ _id: 1 as never, whole });
      expect((await large.findOne({ _id: 1 as never }))?.["whole"] === whole).toBe(true);
    });
    it("begins, commits and aborts transactions", async () => {
      const kept = scratch("kept");
      await kept.insertOne({ n: 0 });
      const session = client.startSession();
      await session.withTransaction(async () => {
        await kept.insertOne({ n: 1 }, { session });
      });
      session.startTransaction();
      await kept.insertOne({ n: 2 }, { session });
      await session.abortTransaction();
      await session.endSession();
      const found = await kept.find({}, { projection: { _id: 0 } }).toArray();
      expect(found).toEqual([{ n: 0 }, { n: 1 }]);
    });

    it("S-05 a database outside the role is refused, by every command, while the connection stays", async () => {
      const one = await open({ maxPoolSize: 1 });
      await one.db("orders").command({ ping: 1 });
      const before = shelf().connections();
      for (const refused of [
        () => one.db("payroll").collection("salary").findOne(),
        () => one.db("payroll").collection("salary").insertOne({ n: 1 }),
        () => one.db("payroll").dropDatabase(),
        () => one.db("admin").command({ listDatabases: 1 }),
      ]) {
        const error = await refused().catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(MongoServerError);
        expect(error).toMatchObject({
          code: 13,
          codeName: "Unauthorized",
          message: expect.stringMatching(/^not authorized on/),
        });
      }
      expect(await one.db("orders").command({ ping: 1 })).toMatchObject({ ok: 1 });
      expect(shelf().connections()).toBe(before);
    });
    it("S-05 may not log in again, or out", async () => {
      const one = await open({ maxPoolSize: 1 });
      await one.db("orders").command({ ping: 1 });
      for (const command of [{ saslStart: 1, mechanism: "PLAIN", payload: "" }, { logout: 1 }, { authenticate: 1 }]) {
        const error = await one
          .db("orders")
          .command(command)
          .catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ code: 13, message: expect.stringContaining("not allowed here") });
      }
      expect(await one.db("orders").command({ ping: 1 })).toMatchObject({ ok: 1 });
    });

    it("works without directConnection, and takes what it finds for a router, at the one address it dialled", async () => {
      const own = await open({}, finding);
      const types = new Set<string>();
      own.on("topologyDescriptionChanged", ({ newDescription }) => types.add(newDescription.type));
      expect(
        await own
          .db("orders")
          .collection("item")
          .findOne({ _id: 3 as never }),
      ).toMatchObject({ name: "item 3" });
      expect([...types].at(-1)).toBe("Sharded");
      expect(own.options.hosts).toHaveLength(1);
    });
    it("with replicaSet=rs0 it finds no server: what it talks to is no member of a replica set", async () => {
      const bend = (url: string) => finding(url).replace("retryWrites", "replicaSet=rs0&$&");
      const wrong = await open({ serverSelectionTimeoutMS: 1_500 }, bend);
      await expect(wrong.db("orders").command({ ping: 1 })).rejects.toMatchObject({
        name: "MongoServerSelectionError",
      });
    });
    it("with directConnection=true beside it, it does not look", async () => {
      const own = await open({}, (url) => url.replace("retryWrites", "replicaSet=rs0&$&"));
      expect(await own.db("orders").command({ ping: 1 })).toMatchObject({ ok: 1 });
    });
    it("stays through ten heartbeats of doing nothing, with the same connections", async () => {
      const idle = await open({ heartbeatFrequencyMS: 500, maxPoolSize: 1 }, finding);
      const failed: unknown[] = [];
      idle.on("serverHeartbeatFailed", (event) => failed.push(event.failure));
      idle.on("connectionPoolCleared", (event) => failed.push(event));
      await idle.db("orders").command({ ping: 1 });
      const before = shelf().connections();
      let beats = 0;
      await new Promise<void>((done) => {
        idle.on("serverHeartbeatSucceeded", () => {
          beats += 1;
          if (beats === 10) done();
        });
      });
      expect(failed).toEqual([]);
      expect(await idle.db("orders").command({ ping: 1 })).toMatchObject({ ok: 1 });
      expect(shelf().connections()).toBe(before);
    });
  });
};
