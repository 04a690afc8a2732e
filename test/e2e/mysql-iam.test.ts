// Every client of the MySQL family through both ways in: the plain port with a bearer token over verified TLS, and the tunnel.
// One world for all.
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { connectorJ, pymysql, scriptSuite } from "./clients/found.ts";
import { mariadbSuite } from "./clients/mariadb.ts";
import { mariadbCliSuite } from "./clients/mariadb-cli.ts";
import { mysql2Suite } from "./clients/mysql2.ts";
import { openTunnelFor, type TunnelOf, tunnelWay } from "./clients/way.ts";
import { missing, openShop, plainShop, type Shop } from "./mysql-world.ts";

let shop: Shop;
let tunnel: TunnelOf;
beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  shop = await openShop();
  await shop.world.person("tom", ["dev"]);
  tunnel = await openTunnelFor(shop.world, "tom", { database: "shop", user: "reader", name: "orders" });
});
afterAll(async () => {
  await tunnel?.close();
  await shop?.close();
});

for (const way of [plainShop(() => shop, "ana"), tunnelWay(() => tunnel.tunnel)]) {
  const ground = { way, server: () => shop.server };
  mariadbCliSuite(ground);
  mysql2Suite(ground);
  mariadbSuite(ground);
  scriptSuite(pymysql, ground);
  scriptSuite(connectorJ, ground);
}

it("nothing went wrong in the proxy meanwhile", () => {
  const lines = shop.world.proxies[0]!.log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line));
  expect(lines).toEqual([]);
});
