// What the demo finds in its AWS account: one PostgreSQL instance somebody may reach, one nobody may, an Aurora cluster, a
// DocumentDB cluster, a workgroup of Redshift Serverless, and where the servers are installed, since none comes from npm, a MariaDB
// instance and a cache of ElastiCache.
import { randomBytes } from "node:crypto";
import { userRoleStatements, userRoleTag } from "@sallyport/core/permission";
import { secret } from "@sallyport/core/secret";
import { type Laptop, openLaptop } from "@sallyport/local/laptop";
import { haveBinaries, howToInstall } from "@sallyport/local/mariadb/binaries";
import { type MariaDb, startMariaDb } from "@sallyport/local/mariadb/server";
import { startMongo } from "@sallyport/local/mongodb/mongod";
import type { MongoServer } from "@sallyport/local/mongodb/server";
import { openBinaries } from "@sallyport/local/postgres/binaries";
import { type Postgres, startPostgres } from "@sallyport/local/postgres/server";
import { openTill } from "./redis.ts";
import { good, say, step } from "./terminal.ts";

export interface Stage {
  readonly laptop: Laptop;
  /** There is the MariaDB instance `shop`. */
  readonly shop: boolean;
  /** There is the cache `till`. */
  readonly till: boolean;
  close(): Promise<void>;
}

const prepare = async (server: Postgres, name: string): Promise<void> => {
  for (const user of ["reader", "writer"]) await server.addUser(user, { iam: true });
  await server.addUser("owner", { password: secret(randomBytes(16).toString("hex")) });
  await server.addDatabase(name, "writer");
  await server.sql(
    name,
    "create table item (id int primary key, name text); insert into item select n, 'item ' || n from generate_series(1, 1000) n; grant select on item to reader; grant all on item to writer",
  );
};

const openShop = async (undo: (() => Promise<unknown>)[]): Promise<MariaDb | undefined> => {
  if (!(await haveBinaries())) {
    say(`no MariaDB on this machine, so the tour goes without; get it with: ${howToInstall}`);
    return undefined;
  }
  const server = await startMariaDb();
  undo.push(() => server.stop());
  for (const user of ["reader", "writer"]) await server.addUser(user, { iam: true });
  await server.addDatabase("shop");
  await server.sql(
    "shop",
    "create table item (id int primary key, name text); insert into item select seq, concat('item ', seq) from seq_1_to_1000; grant select on shop.* to reader; grant all on shop.* to writer",
  );
  good(`a real MariaDB ${server.version}`);
  return server;
};

const openShelf = async (undo: (() => Promise<unknown>)[]): Promise<MongoServer> => {
  const server = await startMongo();
  undo.push(() => server.stop());
  const documents = Array.from({ length: 1_000 }, (_, n) => ({ _id: n + 1, name: `item ${n + 1}` }));
  await server.run("shelf", { insert: "item", documents });
  if (server.name === "built-in")
    say("no mongod on PATH: a small server of the project's own stands behind DocumentDB's front");
  good(`MongoDB: ${server.name}`);
  return server;
};

/** The IAM role that is a database user of DocumentDB and Redshift Serverless: tagged, and trusting the proxies' account. */
const addDatabaseRole = async ({ account }: Laptop, shelf: MongoServer): Promise<void> => {
  const { id } = account;
  const { arn } = account.addRole({
    name: "reader",
    tags: { [userRoleTag.key]: userRoleTag.value },
    trust: [{ principals: [id], actions: ["sts:AssumeRole", "sts:SetSourceIdentity"] }],
    statements: userRoleStatements("redshift-serverless", { partition: "aws", account: id }),
  });
  await shelf.addUser(arn, [{ role: "read", db: "shelf" }]);
};

/** Ports people type: these when free, any others when not. */
const ports = { api: 8700, postgres: 15432, mysql: 13306, mongodb: 17017, redis: 16379, gate: 17443 };
const openAnywhere = async (): Promise<Laptop> => {
  try {
    return await openLaptop({ ports });
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "EADDRINUSE")) throw thrown;
    say("ports 8700, 15432, 13306, 17017, 16379 or 17443 are taken: using free ones");
    return openLaptop();
  }
};

/** Starts it all, saying what it does; close() leaves nothing behind. */
export const openStage = async (): Promise<Stage> => {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const undone of undo.splice(0).reverse()) await undone();
  };
  try {
    step("an AWS account on this machine");
    const binaries = await openBinaries("embedded");
    undo.push(() => binaries.remove());
    const servers = await Promise.all([
      startPostgres({ binaries }),
      startPostgres({ binaries }),
      startPostgres({ binaries }),
    ]);
    for (const server of servers) undo.push(() => server.stop());
    const [orders, primary, replica] = servers;
    if (!orders || !primary || !replica) throw new Error("a server is missing");
    good(`three real PostgreSQL ${orders.major} servers`);
    await prepare(orders, "orders");
    await orders.addDatabase("payroll", "writer");
    await orders.addDatabase("sales", "writer");
    for (const server of [primary, replica]) await prepare(server, "catalog");
    const shop = await openShop(undo);
    const shelf = await openShelf(undo);

    const laptop = await openAnywhere();
    undo.push(() => laptop.close());
    good(`AWS endpoints at ${laptop.aws.url}: signatures verified, policies enforced`);
    await laptop.databases.addInstance(
      { id: "orders", tags: { env: "dev", team: "shop" }, databaseName: "orders" },
      orders,
    );
    await laptop.databases.addInstance(
      { id: "payroll", tags: { env: "prod", team: "hr" }, databaseName: "payroll" },
      orders,
    );
    await laptop.databases.addCluster({ id: "catalog", tags: { env: "dev", team: "shop" } }, [primary, replica]);
    if (shop) {
      await laptop.databases.addInstance({ id: "shop", engine: "mariadb", tags: { env: "dev", team: "shop" } }, shop);
      good("RDS for MariaDB instance shop (env: dev)");
    }
    await addDatabaseRole(laptop, shelf);
    const near = { env: "dev", team: "shop" };
    await laptop.databases.addDocumentCluster({ id: "shelf", tags: near }, shelf);
    await laptop.databases.addWorkgroup({ name: "sales", tags: near, databases: ["sales"] }, orders);
    good(
      "DocumentDB cluster shelf and Redshift Serverless workgroup sales (env: dev), whose user reader is an IAM role",
    );
    const till = await openTill(laptop, near);
    good("RDS instances orders (env: dev) and payroll (env: prod), Aurora cluster catalog (env: dev)");
    for (const _ of [1, 2]) await laptop.startProxy();
    laptop.schedule.start();
    good(
      `Sallyport deployed: API at ${laptop.api}, two proxies behind ports ${laptop.ports.postgres} (PostgreSQL), ${laptop.ports.mysql} (MySQL, MariaDB), ${laptop.ports.mongodb} (MongoDB), ${laptop.ports.redis} (Redis) and ${laptop.ports.gate} (gate)`,
    );
    return { laptop, shop: shop !== undefined, till, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
};
