// The tour: from a tagged database to SQL through two ways in, a denial, a cancel, a lock, and what the audit says of it all.

import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { headOf, type LineHead } from "@sallyport/core/chain";
import type { Laptop } from "@sallyport/local/laptop";
import { MongoClient } from "mongodb";
import mysql from "mysql2/promise";
import pg from "pg";
import postgres from "postgres";
import type { Stage } from "./account.ts";
import { rotating } from "./redis.ts";
import { loginUrl, onPath, openPerson, type Person } from "./sally.ts";
import { command, good, say, step } from "./terminal.ts";

export const password = "a long enough password";

const discovery = (region: string): string => `kind: discovery_config
metadata: { name: everything }
spec:
  aws:
    - types: [rds, docdb, redshift-serverless, elasticache]
      regions: [${region}]
      tags: { "*": "*" }
`;
const role = `kind: role
version: v7
metadata: { name: dev-read }
spec:
  allow:
    db_labels: { env: [dev, staging] }
    db_names: [orders, catalog, shelf, sales]
    db_users: [reader]
  options: { max_session_ttl: 8h }
`;

const create = async (admin: Person, folder: string, name: string, text: string): Promise<void> => {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, text);
  say(text);
  await admin.run(["create", "-f", file]);
};

const firstAdministrator = async (laptop: Laptop, folder: string): Promise<Person> => {
  step("the first administrator, by IAM");
  const admin = await openPerson("root", folder, laptop.envOf(laptop.operator));
  const { stdout } = await admin.run(["init", "--aws", "--user", "root"]);
  const invite = /sly_i_[\w-]+/.exec(stdout)?.[0];
  if (!invite) throw new Error("init printed no invite");
  await admin.run(["login", "--server", laptop.api, "--user", "root", "--invite", invite, "--password-stdin"], {
    input: password,
  });
  return admin;
};

const invited = async (admin: Person, laptop: Laptop, folder: string): Promise<Person> => {
  step("a role, and a person who holds it");
  await create(admin, folder, "role", role);
  const { stdout } = await admin.run(["users", "add", "ana", "--roles", "dev-read"]);
  const invite = /sly_i_[\w-]+/.exec(stdout)?.[0];
  if (!invite) throw new Error("users add printed no invite");
  const ana = await openPerson("ana", folder);
  await ana.run(["login", "--server", laptop.api, "--user", "ana", "--invite", invite, "--password-stdin"], {
    input: password,
  });
  await ana.run(["status"]);
  await ana.run(["db", "ls"]);
  return ana;
};

const urlOf = (ana: Person, database: string): Promise<string> =>
  loginUrl(ana, database, "-u", "reader", "-n", database);
const plainUrl = async (ana: Person, database = "orders"): Promise<URL> => new URL(await urlOf(ana, database));

/** `pg` as anybody would set it up for that URL, the certificate verified. */
const stockClient = async (url: URL, laptop: Laptop): Promise<pg.Client> =>
  new pg.Client({
    host: url.hostname,
    port: Number(url.port),
    user: url.username,
    database: url.pathname.slice(1),
    password: decodeURIComponent(url.password),
    ssl: { ca: await readFile(laptop.caFile, "utf8") },
  });

const byThePlainPort = async (ana: Person, laptop: Laptop): Promise<void> => {
  step("the plain port: any client, the token is the password");
  command("npx sally db login orders -u reader -n orders");
  const url = await plainUrl(ana);
  const client = await stockClient(url, laptop);
  await client.connect();
  const { rows } = await client.query("select current_user, count(*) from item");
  good(`pg: ${JSON.stringify(rows[0])}`);
  await client.end();
  if (!onPath("psql")) return say("psql is not on PATH: apt install postgresql-client to see it here");
  const { stdout } = await promisify(execFile)("psql", [url.href, "-Atc", "select 'psql as ' || current_user"]);
  good(stdout.trim());
};

const byTheTunnel = async (ana: Person): Promise<void> => {
  step("the tunnel: one port for every protocol, a token bound to a key");
  const tunnel = await ana.stay(["proxy", "db", "orders", "-u", "reader", "-n", "orders"], /postgres(?:ql)?:\/\/\S+/);
  say(tunnel.match[0]);
  const sql = postgres(tunnel.match[0], { max: 2, ssl: false, onnotice: () => {} });
  const [row] = await sql`select current_user, count(*) from item where id <= ${10}`;
  good(`postgres: ${JSON.stringify(row)}`);

  step("a query, cancelled");
  const sleeping = sql`select pg_sleep(60)`;
  const began = performance.now();
  setTimeout(() => sleeping.cancel(), 300);
  const why = await sleeping.then(
    () => "it was not",
    (error: Error) => error.message,
  );
  if (!why.includes("canceling statement")) throw new Error(`the query was not cancelled: ${why}`);
  good(`select pg_sleep(60) ended after ${Math.round(performance.now() - began)} ms: ${why}`);
  await sql.end();
  await tunnel.stop();
};

const onMariaDb = async (ana: Person, laptop: Laptop): Promise<void> => {
  step("the same for MariaDB: another protocol, the same doors");
  const asked = ["db", "login", "shop", "-u", "reader", "-n", "shop"];
  command(`npx sally ${asked.join(" ")}`);
  const { stdout } = await ana.run([...asked, "-f", "json"], { quiet: true });
  const { host, port, user, password } = JSON.parse(stdout) as Readonly<
    Record<"host" | "user" | "password", string>
  > & {
    readonly port: number;
  };
  const ssl = { ca: await readFile(laptop.caFile, "utf8"), verifyIdentity: true };
  const client = await mysql.createConnection({ host, port, user, password, database: "shop", ssl });
  const [rows] = await client.execute("select current_user() as who, count(*) as items from item where id > ?", [10]);
  good(`mysql2, by the plain port: ${JSON.stringify(rows)}`);
  await client.end();

  const tunnel = await ana.stay(["proxy", "db", "shop", "-u", "reader", "-n", "shop"], /mysql:\/\/\S+/);
  say(tunnel.match[0]);
  const through = new URL(tunnel.match[0]);
  if (!onPath("mariadb")) say("mariadb is not on PATH: apt-get install mariadb-client to see it here");
  else {
    const where = [`--host=${through.hostname}`, `--port=${through.port}`, "--user=reader", "--database=shop"];
    const words = [...where, "--protocol=TCP", "--skip-ssl", "-Ne", "select 'mariadb as', current_user()"];
    const said = await promisify(execFile)("mariadb", words);
    good(said.stdout.trim().replace("\t", " "));
  }
  await tunnel.stop();
};

const asRoles = async (ana: Person, laptop: Laptop): Promise<void> => {
  step("databases whose user is an IAM role: the proxy assumes it in the person's name");
  command("npx sally db login shelf -u reader -n shelf");
  const client = new MongoClient(await urlOf(ana, "shelf"));
  try {
    const item = client.db("shelf").collection<{ _id: number; name: string }>("item");
    const { authInfo } = await client.db("admin").command({ connectionStatus: 1 });
    const found = {
      user: authInfo.authenticatedUsers,
      items: await item.countDocuments(),
      first: await item.findOne(),
    };
    good(`mongodb, on DocumentDB by the plain port: ${JSON.stringify(found)}`);
  } finally {
    await client.close();
  }
  if (onPath("mongosh"))
    await ana.run(["db", "connect", "shelf", "-u", "reader", "-n", "shelf"], { input: "db.item.findOne()\n" });
  else say("mongosh is not on PATH: npm install --global mongosh to see sally db connect shelf here");
  command("npx sally db login sales -u reader -n sales");
  const warehouse = await stockClient(await plainUrl(ana, "sales"), laptop);
  await warehouse.connect();
  const { rows } = await warehouse.query("select current_user, split_part(version(), ' on ', 1) as version");
  good(`pg, on Redshift Serverless by the plain port: ${JSON.stringify(rows[0])}`);
  await warehouse.end();
  const names = laptop.sts.assumptions().map(({ roleArn, sessionName }) => `${roleArn} as ${sessionName}`);
  for (const name of new Set(names)) good(`CloudTrail: AssumeRole ${name}`);
};

const denied = async (ana: Person): Promise<void> => {
  step("denials, with their reason");
  say("a database that no role of hers reaches is as if it were not there:");
  await ana.run(["db", "connect", "payroll", "-u", "reader", "-n", "payroll"], { expect: 1 });
  say("one that a role of hers is about says what is missing:");
  await ana.run(["db", "connect", "orders", "-u", "writer", "-n", "orders"], { expect: 3 });
  await ana.run(["db", "explain", "orders", "-u", "writer", "-n", "orders"], { expect: 3 });
};

const locked = async (admin: Person, ana: Person, laptop: Laptop): Promise<void> => {
  step("a lock cuts a live session");
  const client = await stockClient(await plainUrl(ana), laptop);
  // after the reason pg tells of the closed connection too
  const cut = new Promise<Error & { code?: string }>((resolve) => client.on("error", resolve));
  await client.connect();
  good("a session of ana's is open");
  const began = performance.now();
  await admin.run(["lock", "--user", "ana", "--message", "laptop stolen", "--ttl", "1h"]);
  const error = await cut;
  good(`cut after ${Math.round(performance.now() - began)} ms: ${error.code} ${error.message}`);
  const { stdout } = await admin.run(["get", "lock", "-f", "json"], { quiet: true });
  for (const lock of JSON.parse(stdout) as { metadata: { name: string } }[])
    await admin.run(["rm", `lock/${lock.metadata.name}`]);
};

const trail = async (laptop: Laptop): Promise<void> => {
  step("the audit trail of what just happened");
  const lines: { at: number; text: string }[] = [];
  let before: LineHead | undefined;
  for (const line of await laptop.trail()) {
    const said = JSON.parse(line) as Record<string, unknown>;
    before = headOf(said, before);
    const { at, session: _session, seq, chain: _chain, ...rest } = said;
    lines.push({
      at: Number(at),
      text: `${new Date(Number(at)).toISOString()} ${before?.session.slice(0, 12)} ${String(seq)} ${JSON.stringify(rest)}`,
    });
  }
  lines.sort((a, b) => a.at - b.at);
  for (const { text } of lines) say(text.length > 180 ? `${text.slice(0, 177)}…` : text);
  if (lines.length === 0) throw new Error("the audit trail is empty");
  good(`${lines.length} records, in the bucket or on their way there`);
};

/** Runs it all, throws when anything is not as it should be. */
export const walk = async ({ laptop, shop, till }: Stage, folder: string): Promise<void> => {
  const admin = await firstAdministrator(laptop, folder);
  step("discovery of tagged databases");
  await create(admin, folder, "discovery", discovery(laptop.region));
  await admin.run(["discover"]);
  const ana = await invited(admin, laptop, folder);
  await byThePlainPort(ana, laptop);
  await byTheTunnel(ana);
  if (shop) await onMariaDb(ana, laptop);
  await asRoles(ana, laptop);
  if (till) await rotating(admin, ana, laptop);
  await denied(ana);
  await locked(admin, ana, laptop);
  await trail(laptop);
};
