// `postgres` from npm, which pipelines by itself and prepares what it sends.
import { once } from "node:events";
import { text } from "node:stream/consumers";
import postgres from "postgres";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { atWork, type Ground } from "./way.ts";

type Sql = ReturnType<typeof postgres>;
type Options = postgres.Options<Record<string, postgres.PostgresType>>;

export const postgresSuite = ({ way, server }: Ground): void => {
  describe(`postgres through ${way.name}`, () => {
    let sql: Sql;
    const notices: postgres.Notice[] = [];
    const open = async (over: Options = {}): Promise<Sql> => {
      const { host, port, user, database, password, ca } = await way.place();
      return postgres({
        ...{ host, port, user, database, password, max: 1 },
        ssl: ca === undefined ? false : { ca, servername: host },
        onnotice: (notice) => notices.push(notice),
        ...over,
      });
    };
    beforeEach(async () => {
      notices.length = 0;
      sql = await open();
    });
    afterEach(() => sql.end({ timeout: 5 }));

    it("is exactly the authorised user", async () => {
      expect([...(await sql`select current_user, session_user`)]).toEqual([
        { current_user: "reader", session_user: "reader" },
      ]);
    });
    it("sends parameters and gets several rows", async () => {
      const rows = await sql`select id, name from item where id = any(${[7, 8, 9]}) order by id`;
      expect([...rows]).toEqual([7, 8, 9].map((id) => ({ id, name: `item ${id}` })));
    });
    it("sends and gets bytes", async () => {
      const bytes = Buffer.from([0, 1, 255, 128, 39, 92, 10]);
      expect([...(await sql`select ${bytes}::bytea as b`)]).toEqual([{ b: bytes }]);
    });
    it("is told an error with its SQLSTATE, and goes on", async () => {
      await expect(sql`select 1 / ${0}::int`).rejects.toMatchObject({ code: "22012", severity: "ERROR" });
      expect([...(await sql`select 1 as n`)]).toEqual([{ n: 1 }]);
    });
    it("commits and rolls back", async () => {
      await sql`create temp table t (n int)`;
      await sql.begin((inside) => inside`insert into t values (1)`);
      await expect(
        sql.begin(async (inside) => {
          await inside`insert into t values (2)`;
          throw new Error("changed my mind");
        }),
      ).rejects.toThrow("changed my mind");
      expect([...(await sql`select n from t`)]).toEqual([{ n: 1 }]);
    });
    it("copies in and out", async () => {
      await sql`create temp table t (n int, s text)`;
      const lines = Array.from({ length: 20_000 }, (_, n) => `${n}\tline ${n}\n`).join("");
      const into = await sql`copy t from stdin`.writable();
      into.end(lines);
      await once(into, "finish");
      expect(await text(await sql`copy t to stdout`.readable())).toBe(lines);
    });
    it("listens and is notified", async () => {
      const { promise: heard, resolve } = Promise.withResolvers<string>();
      const { unlisten } = await sql.listen(`postgres ${way.name}`, resolve);
      await sql.notify(`postgres ${way.name}`, "hello");
      expect(await heard).toBe("hello");
      await unlisten();
    });
    it("prepares, and pipelines over one connection", async () => {
      const [{ pid } = { pid: 0 }] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
      const answers = await Promise.allSettled(
        Array.from({ length: 50 }, (_, n) => sql`select 60 / ${n}::int as n, pg_backend_pid() as pid`),
      );
      expect(answers.map((answer) => answer.status === "fulfilled" && { ...answer.value[0] })).toEqual(
        Array.from({ length: 50 }, (_, n) => n > 0 && { n: Math.floor(60 / n), pid }),
      );
    });
    it("reads by a cursor", async () => {
      const sizes: number[] = [];
      await sql`select id from item order by id`.cursor(300, (rows) => void sizes.push(rows.length));
      expect(sizes).toEqual([300, 300, 300, 100]);
    });
    it("hears notices", async () => {
      await sql`do $$ begin raise notice 'take note'; end $$`;
      expect(notices.map(({ message }) => message)).toEqual(["take note"]);
    });
    it("has its application_name and options at the database", async () => {
      const named = await open({
        connection: { application_name: "e2e postgres", options: "-c statement_timeout=12345" },
      });
      const rows =
        await named`select current_setting('application_name') as a, current_setting('statement_timeout') as s`;
      expect([...rows]).toEqual([{ a: "e2e postgres", s: "12345ms" }]);
      await named.end();
    });
    it("gets and sends a row of 20 MB whole", async () => {
      const whole = "0123456789abcdef".repeat(1_310_720);
      const [row] = await sql<{ whole: string }[]>`select ${whole}::text as whole`;
      expect(row?.whole === whole).toBe(true);
    });
    it("cancels", async () => {
      const name = `postgres cancel ${way.name}`;
      await sql`select set_config('application_name', ${name}, false)`;
      const query = sql`select pg_sleep(60)`;
      const failed = expect(query).rejects.toMatchObject({ code: "57014" });
      await atWork([server()], name);
      query.cancel();
      await failed;
      expect([...(await sql`select 1 as n`)]).toEqual([{ n: 1 }]);
    });
  });
};
