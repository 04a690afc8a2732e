// The mongodb driver from npm by both ways in, before a target that is ours.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Document, MongoClient, type MongoClientOptions } from "mongodb";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { certificate, connectToken, type Door, linesOf, openDoor, target } from "./house.ts";

let folder: string;
let ca: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-mongo-"));
  ca = join(folder, "ca.pem");
  await writeFile(ca, certificate.ca);
});
afterAll(() => rm(folder, { recursive: true }));
const open: MongoClient[] = [];
afterEach(async () => {
  for (const client of open.splice(0)) await client.close(true);
});

type Way = "plain" | "gate";
const urlOf = (door: Door, way: Way, options: { password?: string; direct?: boolean } = {}): string => {
  const { password = connectToken, direct = false } = options;
  const more = `retryWrites=false${direct ? "&directConnection=true" : ""}`;
  if (way === "gate") return `mongodb://127.0.0.1:${door.port}/orders?${more}`;
  return `mongodb://reader:${password}@127.0.0.1:${door.port}/orders?authMechanism=PLAIN&authSource=%24external&tls=true&tlsCAFile=${encodeURIComponent(ca)}&${more}`;
};
const connect = async (url: string, options: MongoClientOptions = {}): Promise<MongoClient> => {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 5_000, ...options });
  open.push(client);
  return client.connect();
};

describe.each<[Way, boolean]>([
  ["plain", false],
  ["plain", true],
  ["gate", false],
  ["gate", true],
])("%s, directConnection=%s", (way, direct) => {
  test("writes, reads and goes on with a cursor over its pool", async () => {
    const door = await openDoor(way);
    const client = await connect(urlOf(door, way, { direct }), { maxPoolSize: 5, appName: "the tests" });
    const items = client.db("orders").collection(`items-${way}-${direct}`);
    const made = Array.from({ length: 1000 }, (_, n) => ({ n, text: "x".repeat(1000) }));
    expect((await items.insertMany(made)).insertedCount).toBe(1000);
    const all: Document[] = [];
    for await (const one of items.find({}, { batchSize: 100 })) {
      all.push(one);
      // other commands run meanwhile, so that batches come over several connections
      if (all.length % 100 === 50) await Promise.all([items.findOne({ n: 7 }), items.findOne({ n: 8 })]);
    }
    expect(all.map(({ n }) => n)).toEqual(made.map(({ n }) => n));
    const lines = linesOf(door);
    expect(lines).toContainEqual(expect.objectContaining({ type: "complete", command: "insert", rows: 1000 }));
    expect(lines.filter(({ command, type }) => command === "getMore" && type === "complete").length).toBe(9);
    expect(target.connections()).toBeLessThanOrEqual(door.came());
  });
});

describe.each<Way>(["plain", "gate"])("%s", (way) => {
  test("a driver that is idle keeps its monitor, and none of it reaches the database", async () => {
    const door = await openDoor(way);
    const client = await connect(urlOf(door, way), { heartbeatFrequencyMS: 500 });
    const beats: unknown[] = [];
    const three = new Promise<void>((resolve) => {
      client.on("serverHeartbeatSucceeded", (event) => {
        beats.push(event.reply);
        if (beats.length === 3) resolve();
      });
    });
    await client.db("orders").command({ ping: 1 });
    await three;
    for (const beat of beats) {
      expect(beat).toMatchObject({ msg: "isdbgrid", ok: 1, logicalSessionTimeoutMinutes: 30 });
      for (const name of ["hosts", "me", "setName", "primary", "topologyVersion", "passives", "arbiters"])
        expect(beat).not.toHaveProperty(name);
    }
    expect(door.came()).toBeGreaterThan(target.connections());
    expect(door.sessions.length).toBe(1);
  });

  test("transactions' commands pass", async () => {
    const door = await openDoor(way);
    const client = await connect(urlOf(door, way));
    const session = client.startSession();
    session.startTransaction();
    const items = client.db("orders").collection("transacted");
    await items.insertOne({ n: 1 }, { session });
    await session.commitTransaction();
    await session.endSession();
    expect(linesOf(door)).toContainEqual(
      expect.objectContaining({ type: "command", command: "commitTransaction", db: "admin" }),
    );
  });

  test("a database outside the role is refused in the server's words, and the connection goes on", async () => {
    const denied = { denied: true as const, reasons: [{ code: "no_allow" as const, text: "not yours" }] };
    const door = await openDoor(way, { guard: (name) => (name === "orders" ? undefined : denied) });
    const client = await connect(urlOf(door, way), { maxPoolSize: 1 });
    await expect(client.db("stock").collection("a").findOne()).rejects.toMatchObject({
      code: 13,
      codeName: "Unauthorized",
      message: expect.stringContaining("not yours"),
    });
    expect(await client.db("orders").command({ ping: 1 })).toMatchObject({ ok: 1 });
    expect(target.heard.some(({ $db }) => $db === "stock")).toBe(false);
  });

  test("after a failover the driver finds its way back", async () => {
    const door = await openDoor(way);
    const client = await connect(urlOf(door, way), { retryReads: true });
    await client.db("orders").collection("a").findOne();
    target.fail();
    await expect(client.db("orders").collection("a").findOne()).resolves.toBeNull();
  });
});

test("a bad token is refused as a failed login", async () => {
  const door = await openDoor("plain");
  await expect(connect(urlOf(door, "plain", { password: "wrong" }))).rejects.toMatchObject({ code: 18 });
});

test("S-21 a client without TLS is told that it needs it", async () => {
  const door = await openDoor("plain");
  const url = `mongodb://127.0.0.1:${door.port}/?directConnection=true`;
  await expect(connect(url, { serverSelectionTimeoutMS: 1_000 })).rejects.toThrow(/tls=true/);
});

test("a client that asks for a mechanism of its own is told which to use", async () => {
  const door = await openDoor("plain");
  const url = `mongodb://reader:x@127.0.0.1:${door.port}/?tls=true&tlsCAFile=${encodeURIComponent(ca)}`;
  await expect(connect(url)).rejects.toThrow(/authMechanism=PLAIN/);
});

test("through the gate a login that is sent anyway is taken unseen", async () => {
  const door = await openDoor("gate");
  const client = await connect(
    `mongodb://any:thing@127.0.0.1:${door.port}/?authMechanism=PLAIN&authSource=%24external`,
  );
  expect(await client.db("orders").command({ ping: 1 })).toMatchObject({ ok: 1 });
});

test("a driver that asks for a replica set finds none", async () => {
  const door = await openDoor("plain");
  await expect(connect(`${urlOf(door, "plain")}&replicaSet=rs0`, { serverSelectionTimeoutMS: 1_000 })).rejects.toThrow(
    /Server selection timed out|no.*primary/i,
  );
});
