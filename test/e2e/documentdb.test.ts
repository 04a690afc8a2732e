// DocumentDB end to end: a person logs in as an IAM role, and the cluster fails over. What stands for DocumentDB verifies what is
// signed; behind it is the small built-in server.
import { type BuiltinServer, startBuiltin } from "@sallyport/local/mongodb/server";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openWorld, plainly, type World } from "./world.ts";

let world: World;
let server: BuiltinServer;
let cluster: Awaited<ReturnType<World["laptop"]["databases"]["addDocumentCluster"]>>;
let ana: Awaited<ReturnType<World["person"]>>;
const clients: MongoClient[] = [];

beforeAll(async () => {
  world = await openWorld();
  const { account, region, databases } = world.laptop;
  server = startBuiltin();
  cluster = await databases.addDocumentCluster({ id: "carts", tags: { env: "dev" } }, server);
  for (const name of ["analyst", "unknown"]) {
    const trust = [{ principals: [account.id], actions: ["sts:AssumeRole", "sts:SetSourceIdentity"] }];
    const { arn } = account.addRole({ name, tags: { sallyport: "database-user" }, trust });
    if (name === "analyst") await server.addUser(arn);
  }
  await world.put({
    kind: "discovery_config",
    version: "v1",
    metadata: { name: "documents" },
    spec: { aws: [{ types: ["docdb"], regions: [region], tags: { "*": ["*"] } }] },
  });
  await world.put({
    kind: "role",
    version: "v7",
    metadata: { name: "documents" },
    spec: {
      allow: { db_labels: { cluster: "carts" }, db_users: ["analyst", "unknown"], db_names: ["shop"] },
    },
  });
  await world.discover();
  ana = await world.person("ana", ["documents"]);
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await world?.close();
  await server?.stop();
});

const connect = async (user = "analyst", database = "carts-docdb-documentdb-eu-west-1-111122223333") => {
  const answer = await world.bearer(ana, { database, user, name: "shop" });
  const { host, port, password, ca } = plainly(world.laptop, answer);
  const client = new MongoClient(`mongodb://${host}:${port}/`, {
    tls: true,
    ca,
    retryWrites: false,
    serverSelectionTimeoutMS: 5000,
    auth: { username: user, password },
    authMechanism: "PLAIN",
    authSource: "$external",
  });
  clients.push(client);
  return client.connect();
};

it("a person is the role inside, in their own name at AWS", async () => {
  const client = await connect();
  const item = client.db("shop").collection("item");
  await item.insertOne({ sku: "a" });
  expect(await item.findOne({ sku: "a" }, { projection: { _id: 0 } })).toEqual({ sku: "a" });
  const assumed = world.laptop.sts.assumptions().filter(({ roleArn }) => roleArn.endsWith("/analyst"));
  expect(assumed.map(({ sessionName, sourceIdentity }) => [sessionName, sourceIdentity])).toEqual([
    ["sally-ana", "sally-ana"],
  ]);
});

it("a role that is no user of the database is told how it becomes one", async () => {
  await expect(connect("unknown")).rejects.toThrow(/Authentication failed[\s\S]*createUser/);
});

it("S-33 a server that wants a signature for another host is given none", async () => {
  for (const front of cluster.fronts) await front.misbehave({ is: "luring", host: "sts.evil.example" });
  await expect(connect()).rejects.toThrow(/signature/);
  for (const front of cluster.fronts) await front.misbehave();
});

it("follows the primary when it moves", async () => {
  const client = await connect();
  const item = client.db("shop").collection("item");
  await item.insertOne({ sku: "before" });
  cluster.failover();
  await expect
    .poll(
      () =>
        item.insertOne({ sku: "after" }).then(
          ({ acknowledged }) => acknowledged,
          () => false,
        ),
      { timeout: 10_000 },
    )
    .toBe(true);
  expect(await item.countDocuments({ sku: "after" })).toBe(1);
});
