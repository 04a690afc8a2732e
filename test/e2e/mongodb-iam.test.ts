// Every client of MongoDB's protocol through both ways in: the plain port with a bearer token over verified TLS, and the tunnel.
// One world for all.
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { mongodbSuite, mongoUrl } from "./clients/mongodb.ts";
import { mongoshSuite } from "./clients/mongosh.ts";
import { missingModule, python, run } from "./clients/program.ts";
import { openTunnelFor, type TunnelOf, type Way } from "./clients/way.ts";
import { database, openShelf, plainShelf, type Shelf } from "./mongodb-world.ts";

let shelf: Shelf;
let tunnel: TunnelOf;
beforeAll(async () => {
  shelf = await openShelf();
  await shelf.world.person("tom", ["documents"]);
  tunnel = await openTunnelFor(shelf.world, "tom", { database, user: "writer", name: "orders" });
});
afterAll(async () => {
  await tunnel?.close();
  await shelf?.close();
});

const throughTunnel: Way = {
  name: "the tunnel",
  place: async () => {
    const { host, port } = tunnel.tunnel;
    return { host, port, user: "writer", database: "orders", password: "any" };
  },
};

const expected: readonly (readonly [title: string, key: string, value: unknown])[] = [
  ["is old: its first hello is an OP_QUERY", "version", expect.stringMatching(/^[34]\./)],
  ["sends parameters and gets several rows", "rows", [7, 8, 9].map((id) => [id, `item ${id}`])],
  ["reads a cursor over many batches", "batches", 500_500],
  ["inserts 1,500 documents at once", "bulk", 1_500],
  ["changes some", "changed", 5],
  ["deletes the rest", "deleted", 1_495],
  ["aggregates", "aggregate", [{ _id: null, sum: 10 }]],
  ["is told errors with their codes", "errors", [11_000, 13, 59]],
  ["carries a document of 4 MB whole, both ways", "large", true],
  ["goes on after an error", "after", 6],
  ["begins, commits and aborts transactions", "transaction", [1, 0]],
  ["knows no address but the one it dialled", "hosts", true],
  ["works without directConnection, and takes what it finds for a router", "finding", [1_000, true]],
  ["with replicaSet=rs0 it finds no server", "replicaSet", "ServerSelectionTimeoutError"],
  ["stays through ten heartbeats of doing nothing", "idle", [true, 0, 1]],
];

for (const way of [plainShelf(() => shelf, "ana"), throughTunnel]) {
  const ground = { way, shelf: () => shelf };
  mongodbSuite(ground);
  mongoshSuite(ground);
  describe(`pymongo through ${way.name}`, () => {
    let missing: string | undefined;
    let found: Readonly<Record<string, unknown>> = {};
    beforeAll(async () => {
      missing = await missingModule("pymongo");
      if (missing !== undefined) return;
      const place = await way.place();
      const env = {
        URL: mongoUrl(place),
        ADDRESS: `${place.host}:${place.port}`,
        COLLECTION: `pymongo-${way.name.split(" ")[1]}`,
      };
      const { status, stdout, stderr } = await run(python, [join(import.meta.dirname, "clients/pymongo_client.py")], {
        env,
      });
      if (status !== 0) throw new Error(`pymongo ended with ${status}:\n${stderr}`);
      found = JSON.parse(stdout) as Readonly<Record<string, unknown>>;
    }, 60_000);
    beforeEach(({ skip }) => skip(missing !== undefined, missing));

    it("is exactly the authorised user", () => {
      expect(found["user"]).toEqual([[shelf.roleArn("writer"), "$external"]]);
    });
    it.each(expected)("%s", (_, key, value) => {
      expect(found[key]).toEqual(value);
    });
  });
}

it("nothing went wrong in the proxy meanwhile", () => {
  const lines = shelf.world.proxies[0]!.log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line));
  expect(lines).toEqual([]);
});
