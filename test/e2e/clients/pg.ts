// `pg` from npm. COPY goes by its own hooks, as the packages around it do.
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { atWork, type Ground, type Place } from "./way.ts";

type Connection = pg.Connection & { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void };
type Cancelling = pg.Client & { cancel(client: pg.Client, query: unknown): void };

export const pgConfig = (place: Place): pg.ClientConfig => ({
  host: place.host,
  port: place.port,
  user: place.user,
  database: place.database,
  password: place.password,
  ssl: place.ca === undefined ? false : { ca: place.ca },
});

const copy = (client: pg.Client, statement: string, input = ""): Promise<string> =>
  new Promise((resolve, reject) => {
    let output = "";
    client.query({
      submit: (connection: pg.Connection) => connection.query(statement),
      handleCopyInResponse: (connection: Connection) => {
        connection.sendCopyFromChunk(Buffer.from(input));
        connection.endCopyFrom();
      },
      handleCopyData: ({ chunk }: { chunk: Buffer }) => {
        output += chunk.toString();
      },
      handleCommandComplete: () => {},
      handleError: reject,
      handleReadyForQuery: () => resolve(output),
    } as pg.Submittable);
  });

export const pgSuite = ({ way, server }: Ground): void => {
  describe(`pg through ${way.name}`, () => {
    let client: pg.Client;
    const open = async (over: pg.ClientConfig = {}): Promise<pg.Client> => {
      const made = new pg.Client({ ...pgConfig(await way.place()), ...over });
      await made.connect();
      return made;
    };
    beforeEach(async () => {
      client = await open();
    });
    afterEach(() => client.end());

    it("is exactly the authorised user", async () => {
      const { rows } = await client.query("select current_user, session_user");
      expect(rows).toEqual([{ current_user: "reader", session_user: "reader" }]);
    });
    it("sends parameters and gets several rows", async () => {
      const { rows } = await client.query("select id, name from item where id between $1 and $2 order by id", [7, 9]);
      expect(rows).toEqual([7, 8, 9].map((id) => ({ id, name: `item ${id}` })));
    });
    it("sends and gets binary values", async () => {
      const bytes = Buffer.from([0, 1, 255, 128, 39, 92, 10]);
      const values = [bytes, null];
      const query = {
        text: "select encode($1::bytea, 'hex') as b, $2::text as n, 7::int4 as i",
        values,
        binary: true,
      };
      const { rows } = await client.query(query);
      expect(rows).toEqual([{ b: bytes.toString("hex"), n: null, i: 7 }]);
    });
    it("is told an error with its SQLSTATE, and goes on", async () => {
      await expect(client.query("select $1::int", ["seven"])).rejects.toMatchObject({
        code: "22P02",
        severity: "ERROR",
      });
      await expect(client.query("insert into item values (0)")).rejects.toMatchObject({ code: "42501" });
      expect((await client.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
    });
    it("commits and rolls back", async () => {
      await client.query("create temp table t (n int)");
      for (const end of ["commit", "rollback"]) {
        await client.query("begin");
        await client.query("insert into t values ($1)", [1]);
        await client.query(end);
      }
      expect((await client.query("select n from t")).rows).toEqual([{ n: 1 }]);
    });
    it("copies in and out", async () => {
      await client.query("create temp table t (n int, s text)");
      const lines = Array.from({ length: 20_000 }, (_, n) => `${n}\tline ${n}\n`).join("");
      await copy(client, "copy t from stdin", lines);
      expect(await copy(client, "copy t to stdout")).toBe(lines);
      await expect(copy(client, "copy t from stdin", "x\ty\n")).rejects.toMatchObject({ code: "22P02" });
      expect((await client.query("select count(*)::int as n from t")).rows).toEqual([{ n: 20_000 }]);
    });
    it("listens and is notified by another session", async () => {
      const heard = new Promise((resolve) => client.once("notification", resolve));
      await client.query(`listen "pg ${way.name}"`);
      const other = await open();
      await other.query("select pg_notify($1, $2)", [`pg ${way.name}`, "hello"]);
      expect(await heard).toMatchObject({ payload: "hello" });
      await other.end();
    });
    it("keeps a prepared statement", async () => {
      const named = { name: "by-id", text: "select name from item where id = $1" };
      for (const id of [1, 2, 3])
        expect((await client.query({ ...named, values: [id] })).rows).toEqual([{ name: `item ${id}` }]);
      expect(
        (
          await client.query(
            "select name, calls from (select name, generic_plans + custom_plans as calls from pg_prepared_statements) s",
          )
        ).rows,
      ).toEqual([{ name: "by-id", calls: "3" }]);
    });
    it("pipelines", async () => {
      const piped = await open({ pipeline: true });
      const answers = await Promise.allSettled(
        Array.from({ length: 50 }, (_, n) => piped.query("select 60 / $1::int as n", [n])),
      );
      expect(answers.map((answer) => answer.status === "fulfilled" && answer.value.rows[0].n)).toEqual(
        Array.from({ length: 50 }, (_, n) => n > 0 && Math.floor(60 / n)),
      );
      await piped.end();
    });
    it("hears notices", async () => {
      const heard = new Promise((resolve) => client.once("notice", resolve));
      await client.query("do $$ begin raise warning 'take note'; end $$");
      expect(await heard).toMatchObject({ message: "take note", severity: "WARNING" });
    });
    it("has its application_name and options at the database", async () => {
      const named = await open({ application_name: "e2e pg", options: "-c statement_timeout=12345" });
      const { rows } = await named.query(
        "select current_setting('application_name') as a, current_setting('statement_timeout') as s",
      );
      expect(rows).toEqual([{ a: "e2e pg", s: "12345ms" }]);
      await named.end();
    });
    it("gets and sends a row of 20 MB whole", async () => {
      const text = "0123456789abcdef".repeat(1_310_720);
      const { rows } = await client.query("select $1::text as whole, length($1) as n", [text]);
      expect(rows[0].n).toBe(20_971_520);
      expect(rows[0].whole === text).toBe(true);
    });
    it("cancels", async () => {
      const name = `pg cancel ${way.name}`;
      await client.query("select set_config('application_name', $1, false)", [name]);
      const query = new pg.Query("select pg_sleep(60)");
      const failed = new Promise((resolve) => query.once("error", resolve));
      client.query(query);
      await atWork([server()], name);
      const canceller = new pg.Client(pgConfig(await way.place())) as Cancelling;
      canceller.cancel(client, query);
      expect(await failed).toMatchObject({ code: "57014" });
      expect((await client.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
    });
  });
};
