// Redshift Serverless as its people reach it: psql and psycopg2, both linked to libpq, through both ways in. What stands for it is
// a PostgreSQL that says it is 8.0.2; SQL and catalogs of Redshift's own are not tried here.
import { userRoleStatements } from "@sallyport/core/permission";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isOnPath, missingModule, type Outcome, python, run, start } from "./clients/program.ts";
import { atWork, libpqEnv, openTunnelFor, type Place, type TunnelOf } from "./clients/way.ts";
import { openWorld, plainly, type World } from "./world.ts";

let world: World;
let tunnel: TunnelOf;
const database = "sales";
const wish = { database, user: "analyst", name: "orders" };
const people = new Map<string, Awaited<ReturnType<World["person"]>>>();

beforeAll(async () => {
  world = await openWorld();
  const { account, region, databases } = world.laptop;
  await databases.addWorkgroup({ name: "sales", tags: { env: "dev" }, databases: ["orders"] }, world.servers[0]!);
  account.addRole({
    name: "analyst",
    tags: { sallyport: "database-user" },
    trust: [{ principals: [account.id], actions: ["sts:AssumeRole", "sts:SetSourceIdentity"] }],
    statements: userRoleStatements("redshift-serverless", { partition: "aws", account: account.id }),
  });
  await world.put({
    kind: "discovery_config",
    version: "v1",
    metadata: { name: "warehouse" },
    spec: { aws: [{ types: ["redshift-serverless"], regions: [region], tags: { "*": ["*"] } }] },
  });
  await world.put({
    kind: "role",
    version: "v7",
    metadata: { name: "warehouse" },
    spec: { allow: { db_labels: { workgroup: "sales" }, db_users: ["analyst"], db_names: ["orders"] } },
  });
  await world.discover();
  for (const name of ["ana", "tom", "theo"]) people.set(name, await world.person(name, ["warehouse"]));
  tunnel = await openTunnelFor(world, "tom", wish);
});
afterAll(async () => {
  await tunnel?.close();
  await world?.close();
});

const plain = async (person = "ana"): Promise<Place> =>
  plainly(world.laptop, await world.bearer(people.get(person)!, wish));
const ways: readonly (readonly [string, () => Promise<Place>])[] = [
  ["the plain port", () => plain()],
  [
    "the tunnel",
    async () => {
      const { host, port } = tunnel.tunnel;
      return { host, port, user: "analyst", database: "orders", password: "any" };
    },
  ],
];

describe.each(ways)("psql through %s", (name, place) => {
  const flags = ["-X", "-q", "-A", "-t"];
  const psql = async (input: string): Promise<Outcome> => run("psql", flags, { input, env: libpqEnv(await place()) });
  beforeEach(({ skip }) => skip(!isOnPath("psql"), "psql is not on PATH: apt install postgresql-client"));

  it("is IAMR:<role> on a server that says it is Redshift's 8.0.2", async () => {
    const script = "select current_user, session_user;\n\\echo :SERVER_VERSION_NAME\nselect version();";
    const { status, stdout, stderr } = await psql(script);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^IAMR:analyst\|IAMR:analyst\n8\.0\.2\nPostgreSQL 8\.0\.2 .*Redshift /);
  });
  it("works: rows, a transaction, COPY, an error with its SQLSTATE", async () => {
    const script = `select sum(n) from generate_series(1, 1000) n;
begin; create temp table t (n int, s text); insert into t values (1, 'kept'); commit;
copy t from stdin;\n2\ttwo\n\\.\ncopy t to stdout (format csv);\nselect 1/0;\n\\echo :SQLSTATE`;
    const { status, stdout, stderr } = await psql(script);
    expect([status, stdout, stderr]).toEqual([0, "500500\n1,kept\n2,two\n22012\n", "ERROR:  division by zero\n"]);
  });
  it("cancels by Ctrl-C", async () => {
    const application = `redshift psql ${name}`;
    const env = { ...libpqEnv(await place()), PGAPPNAME: application };
    const { child, outcome } = start("psql", [...flags, "-c", "select pg_sleep(60)"], { env });
    await atWork(world.servers, application);
    child.kill("SIGINT");
    expect(await outcome).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("ERROR:  canceling statement due to user request"),
    });
  });
  it("reads what an administrator of the database must do where the role may not come in", async () => {
    await world.servers[0]!.sql("postgres", "revoke connect on database orders from public");
    try {
      const { status, stderr } = await psql("select 1;");
      expect(status).toBe(2);
      expect(stderr).toContain("permission denied for database");
      expect(stderr).toContain('CREATE USER "IAMR:analyst" PASSWORD DISABLE; GRANT USAGE ON SCHEMA');
    } finally {
      await world.servers[0]!.sql("postgres", "grant connect on database orders to public");
    }
  });
});

describe.each(ways)("psycopg2 through %s", (_, place) => {
  let missing: string | undefined;
  beforeAll(async () => {
    missing = await missingModule("psycopg2");
  });
  beforeEach(({ skip }) => skip(missing !== undefined, missing));

  it("asks for parameters and gets them, by the protocol of 8.0.2", async () => {
    const script = `import psycopg2, json
connection = psycopg2.connect("")
cursor = connection.cursor()
cursor.execute("select current_user, %s, version()", ("it's",))
row = cursor.fetchone()
cursor.execute("select n from generate_series(1, %s) n", (500,))
print(json.dumps([row[0], row[1], row[2][:16], len(cursor.fetchall()), connection.server_version, connection.info.protocol_version]))`;
    const { stdout, stderr } = await run(python, ["-c", script], { env: libpqEnv(await place()) });
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual(["IAMR:analyst", "it's", "PostgreSQL 8.0.2", 500, 80002, 3]);
  });
});

describe("when AWS gives no credentials", () => {
  beforeEach(({ skip }) => skip(!isOnPath("psql"), "psql is not on PATH: apt install postgresql-client"));

  const throttle = (times: number): void =>
    world.laptop.aws.fault.fail({
      ...{ service: "redshift-serverless", operation: "GetCredentials", times },
      ...{ code: "ThrottlingException", message: "Rate exceeded", status: 400 },
    });
  const psql = async (person: string) =>
    run("psql", ["-XAtc", "select current_user"], { env: libpqEnv(await plain(person)) });

  it("a GetCredentials that is throttled once is asked again, and psql comes in", async () => {
    throttle(1);
    expect(await psql("theo")).toEqual({ status: 0, stdout: "IAMR:analyst\n", stderr: "" });
  });
  it("one that stays throttled is told in psql, and the next login asks anew", async () => {
    people.set("tess", await world.person("tess", ["warehouse"]));
    throttle(20);
    const { status, stderr } = await psql("tess");
    world.laptop.aws.fault.clear();
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/FATAL: {2}Redshift gives no more credentials just now\nHINT: {2}try again in a minute/),
    ]);
    expect(await psql("tess")).toMatchObject({ status: 0, stdout: "IAMR:analyst\n" });
  });
});
