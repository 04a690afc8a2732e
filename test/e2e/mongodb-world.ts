// A world (world.ts) with a DocumentDB cluster in it, `shelf`: a writer and a reader before the laptop's MongoDB server. Its users
// are the IAM roles reader and writer; in `orders` is the collection `item`, with as many as the tables elsewhere have.
import type { ConnectAnswer } from "@sallyport/core/api";
import { userRoleStatements, userRoleTag } from "@sallyport/core/permission";
import type { Front } from "@sallyport/local/mongodb/front";
import { type BuiltinServer, startBuiltin } from "@sallyport/local/mongodb/server";
import type { Way } from "./clients/way.ts";
import { openWorld, plainly, type World, type WorldOptions } from "./world.ts";

export const database = "shelf-docdb";

export interface Shelf {
  readonly world: World;
  readonly server: BuiltinServer;
  /** The writer's and the reader's, as they were at first. */
  readonly fronts: readonly Front[];
  failover(): void;
  roleArn(name: string): string;
  /** Connections that the members have seen so far. */
  connections(): number;
  close(): Promise<void>;
}

/** A role that people may be as database user: tagged, trusting the proxies' account, and known to the database. */
const addDatabaseRole = async (
  { laptop }: World,
  server: BuiltinServer | undefined,
  name: string,
  trusting = true,
): Promise<string> => {
  const { account } = laptop;
  const { arn } = account.addRole({
    name,
    tags: { [userRoleTag.key]: userRoleTag.value },
    trust: trusting ? [{ principals: [account.id], actions: ["sts:AssumeRole", "sts:SetSourceIdentity"] }] : [],
    statements: userRoleStatements("documentdb", { partition: "aws", account: account.id }),
  });
  await server?.addUser(arn, [{ role: "readWrite", db: "orders" }]);
  return arn;
};

/** Who may be reader and writer in the databases orders and stock. */
const role = (region: string) =>
  [
    {
      kind: "discovery_config",
      version: "v1",
      metadata: { name: "documents" },
      spec: { aws: [{ types: ["docdb"], regions: [region], tags: { "*": ["*"] } }] },
    },
    {
      kind: "role",
      version: "v7",
      metadata: { name: "documents" },
      spec: {
        allow: {
          db_labels: { env: "dev" },
          db_users: ["reader", "writer", "stranger", "nobody"],
          db_names: ["orders", "stock"],
        },
      },
    },
  ] as const;

export const openShelf = async (options: WorldOptions = {}): Promise<Shelf> => {
  const server = startBuiltin();
  const documents = Array.from({ length: 1_000 }, (_, n) => ({ _id: n + 1, name: `item ${n + 1}` }));
  await server.run("orders", { insert: "item", documents });
  await server.run("payroll", { insert: "salary", documents: [{ _id: 1 }] });
  const world = await openWorld(options);
  try {
    const { fronts, failover } = await world.laptop.databases.addDocumentCluster(
      { id: "shelf", tags: { env: "dev" } },
      server,
    );
    for (const name of ["reader", "writer"]) await addDatabaseRole(world, server, name);
    await addDatabaseRole(world, server, "stranger", false);
    await addDatabaseRole(world, undefined, "nobody");
    for (const document of role(world.laptop.region)) await world.put(structuredClone(document) as never);
    await world.discover();
    return {
      world,
      server,
      fronts,
      failover,
      roleArn: (name) => `arn:aws:iam::${world.laptop.account.id}:role/${name}`,
      connections: () => fronts.reduce((sum, front) => sum + front.counters().connections, 0),
      close: async () => {
        await world.close();
        await server.stop();
      },
    };
  } catch (thrown) {
    await world.close();
    await server.stop();
    throw thrown;
  }
};

/** A bearer token for the shelf. */
export const bearerOf = (
  client: Awaited<ReturnType<World["person"]>>,
  over: { user?: string; name?: string; database?: string } = {},
): Promise<ConnectAnswer> => client.call("connect", { database, user: "writer", name: "orders", ...over });

/** What a suite of one client works with; ready when its tests run. */
export interface Ground {
  readonly way: Way;
  readonly shelf: () => Shelf;
}

/** A fresh bearer token each time, which has only so many logins. */
export const plainShelf = (shelf: () => Shelf, person: string): Way => {
  let client: ReturnType<World["person"]> | undefined;
  return {
    name: "the plain port",
    place: async () => {
      client ??= shelf().world.person(person, ["documents"]);
      return plainly(shelf().world.laptop, await bearerOf(await client));
    },
  };
};
