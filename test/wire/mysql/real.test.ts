// Real drivers through both ways in to a real MariaDB: what a client of either family meets.
import * as mariadb from "mariadb";
import mysql2 from "mysql2/promise";
import { afterEach, describe, expect, test } from "vitest";
import { certificate, connectToken, type Door, openDoor, password } from "./house.ts";

const open: (() => unknown)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

const byMysql2 = async (
  door: Door,
  way: "plain" | "gate",
  over: mysql2.ConnectionOptions = {},
): Promise<mysql2.Connection> => {
  const connection = await mysql2.createConnection({
    ...{ host: "127.0.0.1", port: door.port, user: "ada", database: "orders", password: connectToken },
    ...(way === "plain" ? { ssl: { ca: certificate.ca } } : {}),
    ...over,
  });
  connection.on("error", () => {});
  open.push(() => connection.destroy());
  return connection;
};
const byMariadb = async (
  door: Door,
  way: "plain" | "gate",
  over: mariadb.ConnectionConfig = {},
): Promise<mariadb.Connection> => {
  const connection = await mariadb.createConnection({
    ...{ host: "127.0.0.1", port: door.port, user: "ada", database: "orders", password: connectToken },
    ...(way === "plain" ? { ssl: { ca: certificate.ca } } : {}),
    ...over,
  });
  connection.on("error", () => {});
  open.push(() => connection.destroy());
  return connection;
};

describe.each(["plain", "gate"] as const)("%s", (way) => {
  test("mysql2 logs in as the token's user, asks and prepares", async () => {
    const door = await openDoor(way);
    const client = await byMysql2(door, way);
    const [rows] = await client.query("select current_user() as u, database() as d");
    expect(rows).toEqual([{ u: "ada@%", d: "orders" }]);
    const [sum] = await client.execute("select ? + 1 as n, ? as t, ? as z", [41, "x'y", null]);
    expect(sum).toEqual([{ n: 42, t: "x'y", z: null }]);
    await expect(client.query("selec")).rejects.toMatchObject({ errno: 1064, sqlState: "42000" });
    await client.end();
    expect(door.sessions[0]?.lines()).toMatchObject([
      { type: "query", database: "orders", text: "select current_user() as u, database() as d" },
      { type: "complete", rows: 1 },
      { type: "prepare", text: "select ? + 1 as n, ? as t, ? as z" },
      { type: "prepared", parameters: 3 },
      { type: "execute", values: [41, "x'y", null] },
      { type: "complete", rows: 1 },
      { type: "query", text: "selec" },
      { type: "error", errno: 1064, sqlState: "42000" },
    ]);
  });

  test("mariadb (npm) logs in, asks, prepares and sends in bulk", async () => {
    const door = await openDoor(way);
    const client = await byMariadb(door, way);
    expect(await client.query("select current_user() as u")).toEqual([{ u: "ada@%" }]);
    await client.query("create or replace table bulk (a int, b text)");
    await client.batch("insert into bulk values (?, ?)", [
      [1, "one"],
      [2, null],
      [3, "three"],
    ]);
    expect(await client.query("select count(*) as n, max(b) as m from bulk")).toEqual([{ n: 3n, m: "three" }]);
    await client.end();
  });
});

test("a password user is logged in by challenge", async () => {
  const door = await openDoor("plain", { credential: password() });
  const client = await byMysql2(door, "plain", { user: "grace" });
  expect((await client.query("select current_user() as u"))[0]).toEqual([{ u: "grace@%" }]);
});
