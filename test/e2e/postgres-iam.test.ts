// Every client through both ways in: the plain port with a bearer token over verified TLS, and the tunnel. One world for all.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pgSuite } from "./clients/pg.ts";
import { postgresSuite } from "./clients/postgres.ts";
import { psqlSuite } from "./clients/psql.ts";
import { pythonSuite } from "./clients/python.ts";
import { openRaw, say, short } from "./clients/raw.ts";
import { openTunnelFor, plainWay, type TunnelOf, tunnelWay } from "./clients/way.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let tunnel: TunnelOf;
beforeAll(async () => {
  world = await openWorld();
  await world.person("tom", ["dev"]);
  tunnel = await openTunnelFor(world, "tom", { database: "orders", user: "reader", name: "orders" });
});
afterAll(async () => {
  await tunnel?.close();
  await world?.close();
});

const server = () => world.servers[0]!;

for (const way of [plainWay(() => world, "ana"), tunnelWay(() => tunnel.tunnel)]) {
  const ground = { way, server };
  psqlSuite(ground);
  pgSuite(ground);
  postgresSuite(ground);
  pythonSuite("psycopg2", ground);
  pythonSuite("asyncpg", ground);

  describe(`bytes through ${way.name}`, () => {
    it("a pipeline of the extended protocol, an error in its midst, keeps its order", async () => {
      const raw = await openRaw(await way.place());
      // the planner itself divides by the nought, so that its Bind fails
      const bind = (value: number): Buffer =>
        say("B", "", "half", short(1), short(1), short(1), 4, value, short(1), short(1));
      raw.send(
        say("P", "half", "select 60 / $1::int4", short(0)),
        bind(2),
        say("E", "", 0),
        say("S"),
        bind(0),
        say("E", "", 0),
        bind(3),
        say("S"),
        bind(5),
        say("E", "", 0),
        say("C", Buffer.from("Shalf\0")),
        say("S"),
      );
      const answers = [await raw.answer(), await raw.answer(), await raw.answer()];
      expect(answers.map((all) => all.map(({ type }) => type).join(""))).toEqual(["12DCZ", "EZ", "2DC3Z"]);
      expect(answers[2]?.[1]?.body.readInt32BE(6)).toBe(12);
      raw.close();
    });
    it("protocol 3.2 gets a long cancel key, and a newer minor is talked down", async () => {
      const long = await openRaw(await way.place(), 0x30002);
      expect(long.key.length).toBe(32);
      const newest = await openRaw(await way.place(), 0x30000 + 9999);
      expect(newest.key.length).toBe(32);
      newest.send(say("Q", "select 1"));
      expect((await newest.answer()).map(({ type }) => type).join("")).toBe("TDCZ");
      long.close();
      newest.close();
    });
  });
}

it("nothing went wrong in the proxy meanwhile", () => {
  expect(tunnel.failures).toEqual([]);
  const lines = world.proxies[0]!.log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line));
  expect(lines).toEqual([]);
});
