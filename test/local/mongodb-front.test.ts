// The front for DocumentDB and the built-in server behind it, by the official driver with keys of the emulated account.
import { openAccount } from "@sallyport/local/account";
import { createAuthority } from "@sallyport/local/certificate";
import { type Front, type MongoFrontOptions, startMongoFront } from "@sallyport/local/mongodb/front";
import { checksumOf } from "@sallyport/local/mongodb/packet";
import { type BuiltinServer, startBuiltin } from "@sallyport/local/mongodb/server";
import { Double, Int32, MongoClient, type MongoClientOptions, ObjectId } from "mongodb";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

const region = "eu-west-1";
const account = openAccount();
const [analyst, stranger] = ["analyst", "stranger"].map((name) => account.addRole({ name }));
let server: BuiltinServer;
let front: Front;
let ca: string;
let writer = true;
let ahead = 0;
const clients: MongoClient[] = [];

beforeAll(async () => {
  const authority = await createAuthority({ now: Date.now() });
  const identity = await authority.issue(["127.0.0.1"]);
  ca = authority.ca;
  server = startBuiltin();
  await server.addUser(analyst!.arn, [{ role: "readWrite", db: "shop" }]);
  const options: MongoFrontOptions = {
    server,
    identity,
    member: () => ({ writer, me: "a:1", primary: "a:1", hosts: ["a:1", "b:1"] }),
    verifier: {
      credentials: (id) => account.key(id),
      now: () => Date.now() + ahead,
      host: `sts.${region}.amazonaws.com`,
      region,
    },
  };
  front = await startMongoFront(options);
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  writer = true;
  ahead = 0;
  await front.misbehave();
});
afterAll(async () => {
  await front?.close();
  await server?.stop();
});

const keysOf = (name: string) => account.session(name, { sessionName: "sally-ana" }).credentials;
const connect = (role = "analyst", over: MongoClientOptions = {}, keys = keysOf(role)): Promise<MongoClient> => {
  const client = new MongoClient(`mongodb://127.0.0.1:${front.port}/?authMechanism=MONGODB-AWS&authSource=$external`, {
    tls: true,
    ca,
    directConnection: true,
    retryWrites: false,
    serverSelectionTimeoutMS: 3000,
    authMechanismProperties: { AWS_CREDENTIAL_PROVIDER: async () => keys },
    ...over,
  });
  clients.push(client);
  return client.connect();
};

describe("MONGODB-AWS", () => {
  it("lets a role in that is a user of the database, as that role", async () => {
    const client = await connect();
    const { authInfo } = await client.db("shop").command({ connectionStatus: 1 });
    expect(authInfo.authenticatedUsers).toEqual([{ user: analyst!.arn, db: "$external" }]);
    expect(front.counters().admitted).toBeGreaterThan(0);
  });

  it("refuses a role that is no user, a wrong secret, keys of nobody and keys that have ended, in the same words", async () => {
    const good = keysOf("analyst");
    const ended = account.session("analyst", { sessionName: "x", lifetimeMs: -1 }).credentials;
    for (const [role, keys] of [
      ["stranger", keysOf("stranger")],
      ["analyst", { ...good, secretAccessKey: "x".repeat(40) }],
      ["analyst", { ...good, sessionToken: "x" }],
      ["analyst", { ...good, accessKeyId: "ASIANOBODY" }],
      ["analyst", ended],
    ] as const)
      await expect(connect(role, {}, keys)).rejects.toThrow("Authentication failed.");
    expect(stranger?.arn).toBeDefined();
  });

  it("refuses a signature that is older than STS takes", async () => {
    ahead = 6 * 60_000;
    await expect(connect()).rejects.toThrow("Authentication failed.");
  });

  it("answers hello and ping to whoever has not logged in, and nothing else", async () => {
    const anonymous = new MongoClient(`mongodb://127.0.0.1:${front.port}/`, { tls: true, ca, directConnection: true });
    clients.push(anonymous);
    await anonymous.connect();
    expect(await anonymous.db("admin").command({ ping: 1 })).toMatchObject({ ok: 1 });
    await expect(anonymous.db("shop").collection("item").findOne({})).rejects.toMatchObject({ code: 13 });
  });
});

describe("the built-in server", () => {
  const items = async (over?: MongoClientOptions) => (await connect("analyst", over)).db("shop").collection("item");

  it("keeps documents as they were sent", async () => {
    const item = await items();
    await item.deleteMany({});
    const _id = new ObjectId();
    await item.insertOne({ _id, whole: new Double(5), small: new Int32(5), at: new Date(0), bytes: Buffer.from("x") });
    const [found] = await item.find({ _id }, { promoteValues: false }).toArray();
    expect(found?.["whole"]).toBeInstanceOf(Double);
    expect(found?.["small"]).toBeInstanceOf(Int32);
    expect(await item.countDocuments({ whole: { $gt: 4 } })).toBe(1);
    await expect(item.insertOne({ _id })).rejects.toMatchObject({ code: 11000 });
  });

  it("finds, sorts, projects, pages by cursors and ends them", async () => {
    const item = await items();
    await item.deleteMany({});
    const made = await item.insertMany(Array.from({ length: 250 }, (_, n) => ({ n, even: n % 2 === 0 })));
    expect(made.insertedCount).toBe(250);
    const all = await item.find({}, { batchSize: 20 }).toArray();
    expect(all.map(({ n }) => n)).toEqual(Array.from({ length: 250 }, (_, n) => n));
    const some = await item
      .find({ even: true }, { projection: { _id: 0, n: 1 } })
      .sort({ n: -1 })
      .skip(1)
      .limit(2)
      .toArray();
    expect(some).toEqual([{ n: 246 }, { n: 244 }]);
    const cursor = item.find({}, { batchSize: 2 });
    await cursor.next();
    const { id } = cursor;
    await cursor.close();
    await expect(item.db.command({ getMore: id, collection: "item" })).rejects.toMatchObject({ code: 43 });
    expect(await item.distinct("even")).toHaveLength(2);
  });

  it("updates by operators, by pipelines, by replacement, and upserts", async () => {
    const item = await items();
    await item.deleteMany({});
    await item.insertMany([
      { _id: 1 as never, n: 1, tags: ["a"] },
      { _id: 2 as never, n: 2, tags: [] },
    ]);
    expect(await item.updateOne({ n: 1 }, { $inc: { n: 10 }, $push: { tags: "b" } as never })).toMatchObject({
      modifiedCount: 1,
    });
    expect(await item.updateMany({}, [{ $set: { twice: { $multiply: ["$n", 2] } } }])).toMatchObject({
      matchedCount: 2,
    });
    expect(await item.find({}).sort({ _id: 1 }).toArray()).toEqual([
      { _id: 1, n: 11, tags: ["a", "b"], twice: 22 },
      { _id: 2, n: 2, tags: [], twice: 4 },
    ]);
    await item.replaceOne({ n: 2 }, { n: 3 });
    expect(await item.findOne({ n: 3 })).toEqual({ _id: 2, n: 3 });
    const { upsertedId } = await item.updateOne(
      { sku: "x" },
      { $set: { n: 9 }, $setOnInsert: { new: true } },
      { upsert: true },
    );
    expect(await item.findOne({ _id: upsertedId as never })).toMatchObject({ sku: "x", n: 9, new: true });
    expect(await item.findOneAndUpdate({ n: 3 }, { $set: { n: 4 } }, { returnDocument: "after" })).toEqual({
      _id: 2,
      n: 4,
    });
    expect(await item.findOneAndDelete({ n: 4 })).toEqual({ _id: 2, n: 4 });
    await expect(item.updateOne({ n: 11 }, { $set: { _id: 7 as never } })).rejects.toMatchObject({ code: 66 });
  });

  it("aggregates, and keeps indexes that must be unique", async () => {
    const item = await items();
    await item.drop().catch(() => {});
    await item.insertMany([1, 2, 3, 4].map((n) => ({ n, even: n % 2 === 0 })));
    const sums = await item
      .aggregate([{ $group: { _id: "$even", sum: { $sum: "$n" } } }, { $sort: { sum: 1 } }])
      .toArray();
    expect(sums).toEqual([
      { _id: false, sum: 4 },
      { _id: true, sum: 6 },
    ]);
    await item.createIndex({ n: 1 }, { unique: true });
    expect((await item.indexes()).map(({ name }) => name)).toEqual(["_id_", "n_1"]);
    await expect(item.insertOne({ n: 4 })).rejects.toMatchObject({ code: 11000 });
    await expect(item.watch().next()).rejects.toMatchObject({ code: 40324 });
    const names = (await item.db.listCollections().toArray()).map(({ name }) => name);
    expect(names).toContain("item");
    const { databases } = await item.db.admin().listDatabases();
    expect(databases.map(({ name }) => name)).toContain("shop");
  });

  it("takes a transaction back, and has no retryable writes, as DocumentDB has none", async () => {
    const client = await connect();
    const item = client.db("shop").collection("item");
    await item.deleteMany({});
    // a lone member by its own address is no replica set to the driver
    const session = { id: new ObjectId() };
    const run = (command: object) => server.run("shop", command);
    const within = { lsid: session, txnNumber: 1, autocommit: false };
    await run({ insert: "item", documents: [{ n: 1 }], ...within, startTransaction: true });
    expect(await item.countDocuments()).toBe(1);
    await run({ abortTransaction: 1, ...within });
    expect(await item.countDocuments()).toBe(0);
    await expect(run({ insert: "item", documents: [{ n: 1 }], txnNumber: 2, lsid: session })).rejects.toMatchObject({
      details: { code: 301 },
    });
  });

  it("is a reader when it is made one: no writes, and reads for those alone who ask for it", async () => {
    writer = false;
    const item = await items();
    await expect(item.insertOne({ n: 1 })).rejects.toMatchObject({ code: 10107 });
    await expect(server.hasUser(analyst!.arn)).resolves.toBe(true);
    expect(await (await items({ readPreference: "secondaryPreferred" })).countDocuments()).toBeGreaterThanOrEqual(0);
  });

  it("shows what runs and ends it", async () => {
    const item = await items({ appName: "slow one" });
    const held = server.hold("count");
    const slow = item.estimatedDocumentCount().catch((error: { code?: number }) => error.code);
    await held.arrived;
    const admin = (await connect()).db("admin");
    const { inprog } = await admin.command({ currentOp: 1, appName: "slow one" });
    expect(inprog).toHaveLength(1);
    await admin.command({ killOp: 1, op: inprog[0].opid });
    expect(await slow).toBe(11_601);
    held.release();
  });

  it("has Castagnoli's checksum", () => {
    expect(checksumOf(Buffer.from("123456789"))).toBe(0xe306_9283);
  });
});
