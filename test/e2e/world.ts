// A whole Sallyport for end-to-end tests: the laptop account, real PostgreSQL servers, an administrator, people. Each test file
// opens its own and closes it; nothing is shared between files but the machine.
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { type Client, openClient } from "@sallyport/client/client";
import type { ConnectAnswer, Document } from "@sallyport/core/api";
import { secret } from "@sallyport/core/secret";
import type { ProxyTask } from "@sallyport/local/fleet";
import { type Laptop, type LaptopOptions, openLaptop } from "@sallyport/local/laptop";
import { openBinaries } from "@sallyport/local/postgres/binaries";
import type { Front } from "@sallyport/local/postgres/front";
import { type Postgres, startPostgres } from "@sallyport/local/postgres/server";

export interface World {
  readonly laptop: Laptop;
  readonly servers: readonly Postgres[];
  /** `orders` (env: dev) and `payroll` (env: prod), both on the first server. */
  readonly fronts: { readonly orders: Front; readonly payroll: Front };
  readonly admin: Client;
  readonly proxies: readonly ProxyTask[];
  /** A user with these roles, logged in. */
  person(name: string, roles: readonly string[]): Promise<Client>;
  put(document: Document): Promise<void>;
  discover(): Promise<void>;
  /** A bearer token for the plain port. */
  bearer(client: Client, over?: { database?: string; user?: string; name?: string }): Promise<ConnectAnswer>;
  close(): Promise<void>;
}

export interface WorldOptions extends LaptopOptions {
  readonly proxies?: number;
  readonly servers?: number;
  readonly build?: "embedded" | "debian";
  /** Server settings, as for `postgres -c`. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly proxyEnv?: Readonly<Record<string, string>>;
}

export const password = "correct horse battery staple";

/** Everything on databases of env dev, as the IAM user reader or writer. */
const devRole: Document = {
  kind: "role",
  version: "v7",
  metadata: { name: "dev" },
  spec: { allow: { db_labels: { env: "dev" }, db_users: ["reader", "writer"], db_names: ["orders"] } },
};

/** The same roles and databases on each server, so that a reader is like its writer. */
const prepare = async (server: Postgres): Promise<void> => {
  for (const user of ["reader", "writer"]) await server.addUser(user, { iam: true });
  await server.addUser("legacy", { password: secret("legacy-password-1") });
  await server.addDatabase("orders", "writer");
  await server.addDatabase("payroll", "writer");
  await server.sql(
    "orders",
    "create table item (id int primary key, name text); insert into item select n, 'item ' || n from generate_series(1, 1000) n; grant select on item to reader; grant all on item to writer; grant all on schema public to writer",
  );
};

/** An invite by break-glass: what `sally init --aws` does. */
const bootstrap = async (laptop: Laptop, user: string): Promise<string> => {
  const lambda = new LambdaClient({ endpoint: laptop.aws.url, region: laptop.region, credentials: laptop.operator });
  try {
    const answer = await lambda.send(
      new InvokeCommand({ FunctionName: "bootstrap", Payload: Buffer.from(JSON.stringify({ user })) }),
    );
    const body = Buffer.from(answer.Payload ?? []).toString("utf8");
    if (answer.FunctionError) throw new Error(`bootstrap failed: ${body}`);
    return (JSON.parse(body) as { invite: string }).invite;
  } finally {
    lambda.destroy();
  }
};

const login = async (api: string, user: string, invite: string): Promise<Client> => {
  const anonymous = openClient({ api });
  await anonymous.call("acceptInvite", { invite, password });
  const { token } = await anonymous.call("login", { user, password });
  return openClient({ api, token: secret(token) });
};

export const openWorld = async (options: WorldOptions = {}): Promise<World> => {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const binaries = await openBinaries(options.build ?? "embedded");
    undo.push(() => binaries.remove());
    const servers = await Promise.all(
      Array.from({ length: options.servers ?? 1 }, () =>
        startPostgres({ binaries, ...(options.settings && { settings: options.settings }) }),
      ),
    );
    for (const server of servers) undo.push(() => server.stop());
    await Promise.all(servers.map(prepare));
    const [first] = servers;
    if (!first) throw new Error("a world needs a server");

    const laptop = await openLaptop(options);
    undo.push(() => laptop.close());
    const { front: orders } = await laptop.databases.addInstance({ id: "orders", tags: { env: "dev" } }, first);
    const { front: payroll } = await laptop.databases.addInstance({ id: "payroll", tags: { env: "prod" } }, first);

    const admin = await login(laptop.api, "root", await bootstrap(laptop, "root"));
    const put = async (document: Document): Promise<void> => {
      await admin.call("putResource", { kind: document.kind, name: document.metadata.name, document });
    };
    const discover = async (): Promise<void> => {
      const { runs } = await admin.call("discover", {});
      const failed = runs.find((run) => !run.complete);
      if (failed) throw new Error(`discovery failed: ${failed.error}`);
    };
    await put({
      kind: "discovery_config",
      version: "v1",
      metadata: { name: "here" },
      spec: { aws: [{ types: ["rds"], regions: [laptop.region], tags: { "*": ["*"] } }] },
    });
    await put(devRole);
    await discover();
    const proxies: ProxyTask[] = [];
    for (let at = 0; at < (options.proxies ?? 1); at++) proxies.push(await laptop.startProxy(options.proxyEnv));

    return {
      laptop,
      servers,
      fronts: { orders, payroll },
      admin,
      proxies,
      put,
      discover,
      close,
      person: async (name, roles) =>
        login(laptop.api, name, (await admin.call("invite", { user: name, roles: [...roles] })).invite),
      bearer: (client, over = {}) =>
        client.call("connect", { database: "orders", user: "reader", name: "orders", ...over }),
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
};

/** What a stock client needs for the plain port. */
export const plainly = (laptop: Laptop, answer: ConnectAnswer) => ({
  host: "localhost",
  port: laptop.ports[answer.protocol],
  user: answer.user,
  database: answer.name ?? "",
  password: answer.token,
  caFile: laptop.caFile,
  ca: answer.direct?.ca ?? "",
});
