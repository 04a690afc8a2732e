// sally as people run it: the program itself, one folder a person, against a whole Sallyport. The tests are one story, in order.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isOnPath, type Outcome, type Running, run, start } from "./clients/program.ts";
import { atWork } from "./clients/way.ts";
import { openWorld, password, type World } from "./world.ts";

const root = join(import.meta.dirname, "../..");
const main = join(root, "packages/cli/src/main.ts");
const noPsql = "psql is not on PATH: apt install postgresql-client";

let world: World;
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sally-homes-"));
  world = await openWorld();
});
afterAll(async () => {
  await world?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A person with a folder of their own. */
const makePerson = (name: string) => {
  const env = (): Record<string, string> => ({ HOME: join(folder, name) });
  return {
    env,
    sally: (args: string, input = "", more: Readonly<Record<string, string>> = {}): Promise<Outcome> =>
      run(process.execPath, [main, ...args.split(" ")], { input, env: { ...env(), ...more } }),
    /** The last argument may hold spaces. */
    startSally: (args: string, ...last: readonly string[]): Running =>
      start(process.execPath, [main, ...args.split(" "), ...last], { env: env() }),
  };
};
const olga = makePerson("olga");
const ana = makePerson("ana");
const inviteIn = (text: string): string => /sly_i_\S+/.exec(text)?.[0] ?? expect.unreachable();

/** The first whole JSON value it prints. */
const announced = async (running: Running): Promise<{ port: number; url: string }> => {
  for (;;) {
    try {
      return JSON.parse(running.stdout()) as { port: number; url: string };
    } catch {
      if (running.child.exitCode !== null) throw new Error(running.stderr());
      await once(running.child.stdout ?? expect.unreachable(), "data");
    }
  }
};

describe("an administrator", () => {
  it("is made by whoever may invoke the bootstrap function, and logs in by invite", async () => {
    const { envOf, operator, api } = world.laptop;
    const { status, stdout } = await olga.sally("init --aws --user olga", "", envOf(operator));
    expect(status).toBe(0);
    const login = await olga.sally(`login --server ${api} --user olga --invite ${inviteIn(stdout)}`, `${password}\n`);
    expect(login).toMatchObject({ status: 0, stderr: "" });
    expect(JSON.parse((await olga.sally("status -f json")).stdout)).toMatchObject({ user: "olga", server: api });
  });
  it("writes a role, invites somebody with it, and has databases discovered", async () => {
    const role = `kind: role\nversion: v7\nmetadata: { name: orders-read }\nspec:\n  allow: { db_labels: { env: dev }, db_names: [orders], db_users: [reader] }\n`;
    expect(await olga.sally("create -f -", role)).toMatchObject({ status: 0, stdout: "role orders-read created\n" });
    expect(await olga.sally("create -f -", role)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("--force"),
    });
    expect((await olga.sally("get role/orders-read")).stdout).toContain("db_users:");
    expect((await olga.sally("discover")).status).toBe(0);
    const { status, stdout } = await olga.sally("users add ana --roles orders-read");
    expect(status).toBe(0);
    const login = await ana.sally(`login --server ${world.laptop.api} --invite ${inviteIn(stdout)}`, `${password}\n`);
    expect(login).toMatchObject({ status: 0, stdout: expect.stringContaining("as ana (roles: orders-read)") });
  });
});

describe("a person", () => {
  it("sees the databases their roles reach, and no others", async () => {
    const { stdout } = await ana.sally("db ls -f json");
    expect(JSON.parse(stdout)).toMatchObject([
      { name: expect.stringMatching(/^orders/), users: [{ user: "reader", names: ["orders"] }] },
    ]);
  });
  it("db connect: psql, whose exit status is passed on", async ({ skip }) => {
    skip(!isOnPath("psql"), noPsql);
    const well = await ana.sally("db connect orders", "\\pset format unaligned\n\\t on\nselect current_user, 6 * 7;\n");
    expect(well).toMatchObject({ status: 0, stdout: expect.stringMatching(/^reader\|42$/m) });
    const badly = await ana.sally("db connect orders", "\\set ON_ERROR_STOP on\nselect 1/0;\nselect 'not reached';\n");
    expect(badly).toMatchObject({ status: 3, stderr: expect.stringContaining("division by zero") });
    expect(badly.stdout).not.toContain("not reached");
  });
  it("S-01 S-48 what their roles say nothing of is not there; what they say not enough of is explained", async () => {
    const hidden = await ana.sally("db connect payroll");
    expect([hidden.status, hidden.stdout]).toEqual([1, ""]);
    expect(hidden.stderr).toBe('error: there is no database "payroll" that you may reach\nhint: sally db ls\n');
    const denied = await ana.sally("db connect orders -u writer");
    expect([denied.status, denied.stdout]).toEqual([3, ""]);
    expect(denied.stderr).toMatch(/^error: .*writer.*\nhint: .+\n$/);
    const explained = await ana.sally("db explain orders -u writer");
    expect(explained.status).toBe(3);
    expect(explained.stdout).toMatch(/^denied: orders\S* as "writer"/);
    expect((await ana.sally("db explain orders")).stdout).toMatch(/^allowed: orders\S* as "reader"/);
  });
});

describe("sally run", () => {
  const program = `
    const pg = (await import(process.argv[1])).default;
    const clients = [1, 2, 3].map(() => new pg.Client(process.env.DATABASE_URL));
    await Promise.all(clients.map((client) => client.connect()));
    const rows = await Promise.all(clients.map((client) => client.query("select current_user as u, count(*)::int as n from item")));
    console.log(JSON.stringify(rows.map((one) => one.rows[0])));
    await Promise.all(clients.map((client) => client.end()));
    process.exitCode = 7;`;

  it("gives a program the connection in its environment and ends with its status", async () => {
    const pg = import.meta.resolve("pg");
    const { outcome } = ana.startSally("run orders --", process.execPath, "--input-type=module", "-e", program, pg);
    const { status, stdout, stderr } = await outcome;
    expect([status, stderr]).toEqual([7, ""]);
    expect(JSON.parse(stdout)).toEqual(Array(3).fill({ u: "reader", n: 1000 }));
  });
  it("means this database, whatever the person's own settings say", async ({ skip }) => {
    skip(!isOnPath("psql"), noPsql);
    const own = { PGHOST: "127.0.0.9", PGPORT: "1", PGUSER: "postgres", PGSSLMODE: "verify-full", PGPASSWORD: "mine" };
    const { status, stdout } = await ana.sally("run orders -- psql -XAtc select(current_user)", "", own);
    expect([status, stdout]).toEqual([0, "reader\n"]);
  });
  it("hands a Ctrl-C on: the statement is cancelled at the database", async ({ skip }) => {
    skip(!isOnPath("psql"), noPsql);
    const args = ["run", "orders", "--", "psql", "-X", "-c", "select pg_sleep(60)"];
    const env = { ...ana.env(), PGAPPNAME: "sally ctrl-c" };
    const { child, outcome } = start(process.execPath, [main, ...args], { env });
    await atWork(world.servers, "sally ctrl-c");
    child.kill("SIGINT");
    expect(await outcome).toMatchObject({ status: 1, stderr: expect.stringContaining("due to user request") });
  });
});

describe("sally proxy db", () => {
  const open = async () => {
    const running = ana.startSally("proxy db orders -f json");
    return { ...(await announced(running)), ...running };
  };
  it("opens the same port each time, for any number of connections and any password", async ({ skip }) => {
    skip(!isOnPath("psql"), noPsql);
    const ports: number[] = [];
    for (let time = 0; time < 2; time++) {
      const { port, url, child, outcome } = await open();
      ports.push(port);
      for (const PGPASSWORD of ["", "anything"]) {
        const { stdout, stderr } = await run("psql", [url, "-XAtc", "select current_user"], { env: { PGPASSWORD } });
        expect([stdout, stderr]).toEqual(["reader\n", ""]);
      }
      child.kill("SIGINT");
      expect(await outcome).toMatchObject({ status: 0 });
    }
    expect(ports[1]).toBe(ports[0]);
  });
  it("says so when that port is taken", async () => {
    const first = await open();
    const second = await ana.sally("proxy db orders");
    expect(second).toMatchObject({ status: 1, stdout: "" });
    expect(second.stderr).toMatch(/^error: port \d+ can't be used.*\nhint: .*--port\n$/);
    first.child.kill("SIGTERM");
    expect((await first.outcome).status).toBe(0);
  });
});

describe("sally db login", () => {
  const select = ["-XAtc", "select current_user"];
  it("prints a connection string that stock clients take, until db logout", async ({ skip }) => {
    skip(!isOnPath("psql"), noPsql);
    const { status, stdout } = await ana.sally("db login orders");
    expect(status).toBe(0);
    const url = stdout.trim();
    expect(url).toContain("sslmode=verify-full");
    expect(await run("psql", [url, ...select])).toMatchObject({ status: 0, stdout: "reader\n" });
    const { stdout: exports } = await ana.sally("db env orders");
    expect(await run("sh", ["-c", `${exports}\npsql -XAtc 'select current_user'`])).toMatchObject({
      stdout: "reader\n",
    });
    expect((await ana.sally("db logout orders")).status).toBe(0);
    const late = await run("psql", [url, ...select]);
    expect(late).toMatchObject({
      status: 2,
      stdout: "",
      stderr: expect.stringContaining("this token is not valid here"),
    });
  });
});

describe("a lock", () => {
  it("S-08 cuts what is running within five seconds, keeps its people out, and lets them in again when removed", async ({
    skip,
  }) => {
    skip(!isOnPath("psql"), noPsql);
    const { outcome } = ana.startSally("run orders -- psql -X -c", "set application_name = 'cut'; select pg_sleep(60)");
    await atWork(world.servers, "cut");
    const locked = await olga.sally("lock --user ana --ttl 1h --message gone-for-lunch");
    expect(locked.status).toBe(0);
    const lockedAt = performance.now();
    const { status, stderr } = await outcome;
    expect(performance.now() - lockedAt).toBeLessThan(5_000);
    expect(status).toBe(2);
    expect(stderr).toContain("gone-for-lunch");
    expect(await ana.sally("db connect orders")).toMatchObject({
      status: 3,
      stderr: expect.stringContaining("gone-for-lunch"),
    });
    const locks = JSON.parse((await olga.sally("get lock -f json")).stdout) as { metadata: { name: string } }[];
    for (const { metadata } of locks) expect((await olga.sally(`rm lock/${metadata.name}`)).status).toBe(0);
    expect((await ana.sally("db connect orders", "select 1;\n")).status).toBe(0);
  });
});

describe("logout", () => {
  it("forgets everything", async () => {
    expect((await ana.sally("logout")).status).toBe(0);
    expect(await ana.sally("db ls")).toMatchObject({
      status: 4,
      stderr: expect.stringContaining("you are not logged in"),
    });
  });
});
