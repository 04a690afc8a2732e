// Stock drivers as they would come to a door, closed after each test.
import * as mariadb from "mariadb";
import mysql2 from "mysql2/promise";
import { afterEach } from "vitest";
import { certificate, connectToken, type Door } from "./house.ts";

export type Way = "plain" | "gate";
const open: (() => unknown)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

export const byMysql2 = async (
  door: Door,
  way: Way,
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

export const byMariadb = async (
  door: Door,
  way: Way,
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
