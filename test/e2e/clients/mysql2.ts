// mysql2 from npm, by its promises.
import { createConnection } from "mysql2";
import mysql from "mysql2/promise";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { atWork, type Ground } from "../mysql-world.ts";
import type { Place } from "./way.ts";

export const mysql2Config = (place: Place): mysql.ConnectionOptions => ({
  host: place.host,
  port: place.port,
  user: place.user,
  password: place.password,
  database: place.database,
  ...(place.ca !== undefined && { ssl: { ca: place.ca, verifyIdentity: true } }),
});

export const mysql2Suite = ({ way, server }: Ground): void => {
  describe(`mysql2 through ${way.name}`, () => {
    let client: mysql.Connection;
    const open = async (over: mysql.ConnectionOptions = {}): Promise<mysql.Connection> =>
      mysql.createConnection({ ...mysql2Config(await way.place()), ...over });
    const rows = async (text: string, values?: mysql.ExecuteValues): Promise<unknown> =>
      (values === undefined ? await client.query(text) : await client.execute(text, values))[0];
    beforeEach(async () => {
      client = await open();
    });
    afterEach(() => client.destroy());

    it("is exactly the authorised user", async () => {
      expect(await rows("select current_user() as who, database() as name")).toEqual([
        { who: "reader@%", name: "orders" },
      ]);
    });
    it("sends parameters and gets several rows", async () => {
      const found = await rows("select id, name from item where id between ? and ? order by id", [7, 9]);
      expect(found).toEqual([7, 8, 9].map((id) => ({ id, name: `item ${id}` })));
    });
    it("sends and gets binary values", async () => {
      const bytes = Buffer.from([0, 1, 255, 128, 39, 92, 10]);
      const at = new Date("2026-02-03T04:05:06Z");
      const found = await rows("select hex(?) as b, cast(? as binary) as same, ? as n, ? as t", [
        bytes,
        bytes,
        null,
        at,
      ]);
      expect(found).toMatchObject([{ b: bytes.toString("hex").toUpperCase(), same: bytes, n: null }]);
    });
    it("is told an error with its number and SQLSTATE, and goes on", async () => {
      await expect(rows("insert into item values (0, '')")).rejects.toMatchObject({ errno: 1142, sqlState: "42000" });
      await expect(rows("selec ?", [1])).rejects.toMatchObject({ errno: 1064 });
      expect(await rows("select 1 as n")).toEqual([{ n: 1 }]);
    });
    it("commits and rolls back", async () => {
      await rows("create temporary table t (n int) engine=innodb");
      for (const end of ["commit", "rollback"] as const) {
        await client.beginTransaction();
        await rows("insert into t values (?)", [1]);
        await client[end]();
      }
      expect(await rows("select n from t")).toEqual([{ n: 1 }]);
    });
    it("sends several statements at once where it asked to", async () => {
      const several = await open({ multipleStatements: true });
      expect((await several.query("select 1 as a; select 2 as b; do 0"))[0]).toMatchObject([
        [{ a: 1 }],
        [{ b: 2 }],
        {},
      ]);
      several.destroy();
      await expect(rows("select 1; select 2")).rejects.toMatchObject({ errno: 1064 });
    });
    it("keeps a prepared statement, and gives it back", async () => {
      const by = await client.prepare("select name from item where id = ?");
      for (const id of [1, 2, 3]) expect((await by.execute([id]))[0]).toEqual([{ name: `item ${id}` }]);
      await by.close();
      expect(await rows("show session status like 'Com_stmt_close'")).toMatchObject([{ Value: "1" }]);
    });
    it("streams row by row", async () => {
      const ids: number[] = [];
      const calling = createConnection(mysql2Config(await way.place()));
      for await (const { id } of calling.query("select id from item order by id").stream()) ids.push(id as number);
      calling.destroy();
      expect(ids).toEqual(Array.from({ length: 1000 }, (_, n) => n + 1));
    });
    it("chooses another database, and is told of one that is not its own", async () => {
      await rows("use information_schema");
      expect(await rows("select database() as name")).toEqual([{ name: "information_schema" }]);
      await expect(rows("use payroll")).rejects.toMatchObject({ errno: 1044 });
    });
    it("may not become somebody else, and stays who it is", async () => {
      await expect(client.changeUser({ user: "legacy", password: "legacy-password-1" })).rejects.toMatchObject({
        errno: 1235,
      });
      expect(await rows("select current_user() as who")).toEqual([{ who: "reader@%" }]);
    });
    it("gets and sends a row of 20 MB whole", async () => {
      const whole = "0123456789abcdef".repeat(1_310_720);
      const [row] = (await rows("select ? as whole", [whole])) as { whole: string }[];
      expect(row?.whole === whole).toBe(true);
    });
    it("cancels by KILL QUERY of the id it was greeted with", async () => {
      const sleeping = client.query("select sleep(60) as mysql2_cancel");
      const failed = expect(sleeping).rejects.toMatchObject({ errno: 1317, sqlState: "70100" });
      await atWork(server(), "mysql2_cancel");
      const other = await open();
      await other.query(`kill query ${client.threadId}`);
      await failed;
      other.destroy();
      expect(await rows("select 1 as n")).toEqual([{ n: 1 }]);
    });
  });
};
