// mariadb from npm, which pipelines by itself and sends batches in bulk.
import { type Connection, type ConnectionConfig, createConnection } from "mariadb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { atWork, type Ground } from "../mysql-world.ts";

export const mariadbSuite = ({ way, server }: Ground): void => {
  describe(`mariadb (npm) through ${way.name}`, () => {
    let client: Connection;
    const open = async (over: ConnectionConfig = {}): Promise<Connection> => {
      const { host, port, user, password, database, ca } = await way.place();
      const ssl = ca === undefined ? {} : { ssl: { ca } };
      return createConnection({ host, port, user, password, database, ...ssl, ...over });
    };
    beforeEach(async () => {
      client = await open();
    });
    afterEach(() => client.destroy());

    it("is exactly the authorised user", async () => {
      expect([...(await client.query("select current_user() as who"))]).toEqual([{ who: "reader@%" }]);
    });
    it("sends parameters and gets several rows, prepared and not", async () => {
      const text = "select id, name from item where id between ? and ? order by id";
      const expected = [7, 8, 9].map((id) => ({ id, name: `item ${id}` }));
      expect([...(await client.query(text, [7, 9]))]).toEqual(expected);
      expect([...(await client.execute(text, [7, 9]))]).toEqual(expected);
    });
    // in bulk through the tunnel, whose greeting is the target's own; one by one where ours is shown
    it("sends a batch", async () => {
      await client.query("create temporary table t (n int, s text)");
      const lines = Array.from({ length: 700 }, (_, n) => [n, n % 7 === 0 ? null : `line ${n}`]);
      await client.batch("insert into t values (?, ?)", lines);
      expect([...(await client.query("select count(*) as n, count(s) as s from t"))]).toEqual([{ n: 700n, s: 600n }]);
    });
    it("pipelines over one connection, an error in its midst", async () => {
      const answers = await Promise.allSettled(
        Array.from({ length: 50 }, (_, n) => client.query(n === 7 ? "selec" : "select ? as n", [n])),
      );
      expect(answers.map((answer) => answer.status === "fulfilled" && answer.value[0].n)).toEqual(
        Array.from({ length: 50 }, (_, n) => n !== 7 && n),
      );
    });
    it("is told an error with its number and SQLSTATE, and goes on", async () => {
      await expect(client.query("insert into item values (0, '')")).rejects.toMatchObject({
        errno: 1142,
        sqlState: "42000",
      });
      expect([...(await client.query("select 1 as n"))]).toEqual([{ n: 1 }]);
    });
    it("streams a result slower than it comes", async () => {
      let rows = 0;
      const stream = client.queryStream("select repeat('x', 1000) as x from seq_1_to_20000");
      for await (const { x } of stream as AsyncIterable<{ x: string }>) {
        rows += x.length === 1000 ? 1 : 0;
        if (rows % 5_000 === 0) await new Promise(setImmediate);
      }
      expect(rows).toBe(20_000);
    });
    it("gets and sends a row of 20 MB whole", async () => {
      const whole = "0123456789abcdef".repeat(1_310_720);
      const [row] = await client.query("select ? as whole", [whole]);
      expect(row.whole === whole).toBe(true);
    });
    it("cancels by KILL QUERY of the id it was greeted with", async () => {
      const sleeping = client.query("select sleep(60) as mariadb_cancel");
      const failed = expect(sleeping).rejects.toMatchObject({ errno: 1317 });
      await atWork(server(), "mariadb_cancel");
      const other = await open();
      await other.query(`kill query ${client.threadId}`);
      await failed;
      other.destroy();
      expect([...(await client.query("select 1 as n"))]).toEqual([{ n: 1 }]);
    });
  });
};
