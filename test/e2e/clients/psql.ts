// psql as people use it. psql 15 sends its cancel in plain text, whatever the connection was.
import { beforeEach, describe, expect, it } from "vitest";
import { isOnPath, type Outcome, run, start } from "./program.ts";
import { atWork, type Ground, libpqEnv } from "./way.ts";

const flags = ["-X", "-q", "-A", "-t"];

export const psqlSuite = ({ way, server }: Ground): void => {
  const psql = async (input: string, env: Readonly<Record<string, string>> = {}): Promise<Outcome> =>
    run("psql", flags, { input, env: { ...libpqEnv(await way.place()), ...env } });

  describe(`psql through ${way.name}`, () => {
    beforeEach(({ skip }) => skip(!isOnPath("psql"), "psql is not on PATH: apt install postgresql-client"));

    it("is exactly the authorised user", async () => {
      expect(await psql("select current_user, session_user, system_user is null;")).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/^reader\|reader\|/),
        stderr: "",
      });
    });
    it("gets several rows of several statements", async () => {
      const { stdout } = await psql("select id, name from item order by id limit 3; select 'two'\\; select 'three';");
      expect(stdout).toBe("1|item 1\n2|item 2\n3|item 3\ntwo\nthree\n");
    });
    it("prepares, executes with parameters and describes", async () => {
      const { stdout, stderr } = await psql(
        "prepare named(int) as select name from item where id = $1;\nexecute named(42);\nselect id, name from item \\gdesc\n",
      );
      expect([stdout, stderr]).toEqual(["item 42\nid|integer\nname|text\n", ""]);
    });
    it("is told an error with its SQLSTATE, and goes on", async () => {
      const { status, stdout, stderr } = await psql("select 1/0;\n\\echo :SQLSTATE\nselect 'still here';");
      expect([status, stdout]).toEqual([0, "22012\nstill here\n"]);
      expect(stderr).toBe("ERROR:  division by zero\n");
    });
    it("rolls a transaction back", async () => {
      const script = `create temp table t (n int);
begin; insert into t values (1); savepoint s; insert into t values (2); rollback to s; commit;
begin; insert into t values (3); rollback; select count(*), sum(n) from t;`;
      expect(await psql(script)).toMatchObject({ stdout: "1|1\n", stderr: "" });
    });
    it("copies in and out", async () => {
      const script = `create temp table t (n int, s text);\ncopy t from stdin;\n1\tone\n2\t\\N\n\\.\ncopy t to stdout (format csv);\n`;
      expect(await psql(script)).toMatchObject({ stdout: "1,one\n2,\n", stderr: "" });
    });
    it("listens and is notified", async () => {
      const { stdout } = await psql("listen news; notify news, 'hello';\nselect 1;");
      expect(stdout).toContain('Asynchronous notification "news" with payload "hello"');
    });
    it("shows notices", async () => {
      const { stderr } = await psql("do $$ begin raise notice 'take note'; end $$;");
      expect(stderr).toBe("NOTICE:  take note\n");
    });
    it("has its application_name and options at the database", async () => {
      const env = { PGAPPNAME: "e2e psql", PGOPTIONS: "-c statement_timeout=12345 --lock_timeout=54321" };
      const { stdout } = await psql("show application_name; show statement_timeout; show lock_timeout;", env);
      expect(stdout).toBe("e2e psql\n12345ms\n54321ms\n");
    });
    it("S-05 may not go to another database with \\c, and is told so in clear words", async () => {
      const { status, stdout, stderr } = await psql("\\set ON_ERROR_STOP 0\n\\c payroll\nselect 'not reached';");
      expect([status, stdout]).toEqual([2, ""]);
      expect(stderr).toMatch(/this token (opens postgres as user "reader" and database "orders" only|is for database)/);
    });
    it("S-05 may not become another user by startup options", async () => {
      const { status, stderr } = await psql("select 1;", { PGOPTIONS: "-c role=writer" });
      expect(status).toBe(2);
      expect(stderr).toContain("the startup parameter role is not allowed");
    });
    it("gets a row of 20 MB whole", async () => {
      const { stdout } = await psql("select md5(s), s from (select repeat('0123456789abcdef', 1310720) as s) as row;");
      expect(stdout.length).toBe(32 + 1 + 20_971_520 + 1);
    });
    it("cancels by Ctrl-C", async () => {
      const name = `psql cancel ${way.name}`;
      const env = { ...libpqEnv(await way.place()), PGAPPNAME: name };
      const { child, outcome } = start("psql", [...flags, "-c", "select pg_sleep(60)"], { env });
      await atWork([server()], name);
      child.kill("SIGINT");
      expect(await outcome).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("ERROR:  canceling statement due to user request"),
      });
    });
  });
};
