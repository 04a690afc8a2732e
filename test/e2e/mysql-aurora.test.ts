// An Aurora MySQL cluster, standing on MariaDB: the writer's endpoint and the reader's, each with a token of its own.
import { type MariaDb, startMariaDb } from "@sallyport/local/mariadb/server";
import mysql from "mysql2/promise";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { mysql2Config } from "./clients/mysql2.ts";
import { bearerOf, missing, prepareShop } from "./mysql-world.ts";
import { openWorld, plainly, type World } from "./world.ts";

let world: World;
const servers: MariaDb[] = [];
beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  for (const id of ["1", "2"]) {
    const server = await startMariaDb({ settings: { server_id: id } });
    servers.push(server);
    await prepareShop(server);
  }
  world = await openWorld();
  await world.laptop.databases.addCluster({ id: "market", engine: "aurora-mysql", tags: { env: "dev" } }, servers);
  await world.discover();
}, 60_000);
afterAll(async () => {
  await world?.close();
  for (const server of servers) await server.stop();
});

it("discovery finds both endpoints, and each leads to its member as the authorised user", async () => {
  const ana = await world.person("ana", ["dev"]);
  const { databases } = await ana.call("databases", {});
  const market = databases.filter(({ name }) => name.startsWith("market"));
  expect(market.map(({ kind, protocol, status }) => [kind, protocol, status])).toEqual(
    Array(2).fill(["aurora", "mysql", "available"]),
  );
  const found = new Map<string, unknown>();
  for (const { name, labels } of market) {
    const place = plainly(world.laptop, await bearerOf(ana, { database: name }));
    const client = await mysql.createConnection(mysql2Config(place));
    const [rows] = await client.query("select current_user() as who, @@server_id as id");
    found.set(labels["endpoint-type"] ?? "", rows);
    await client.end();
  }
  expect(Object.fromEntries(found)).toEqual({
    primary: [{ who: "reader@%", id: 1 }],
    reader: [{ who: "reader@%", id: 2 }],
  });
});
