// The world in the hands of its owner: the table with every item readable, and the edits an administrator makes.
import { type DynamoDBClient, ScanCommand } from "@aws-sdk/client-dynamodb";
import { openTable, tableClient } from "@sallyport/aws/table";
import { type Client, openClient } from "@sallyport/client/client";
import type { Document } from "@sallyport/core/api";
import { keys } from "@sallyport/core/family";
import type { Item, Store } from "@sallyport/core/ports";
import { secret } from "@sallyport/core/secret";
import type { Laptop } from "@sallyport/local/laptop";
import { password, type World } from "./world.ts";

/** The table in the hands of its owner: every item may be read and written. */
export interface Table {
  readonly store: Store;
  all(): Promise<readonly Item[]>;
  /** Logins and live sessions of a bearer token. */
  spent(token: string): Promise<{ logins: number; live: number }>;
  /** The sessions that are, or were, on any proxy under this token. */
  sessions(token: string): Promise<readonly Item[]>;
  events(name: string): Promise<readonly Item[]>;
  close(): void;
}

const plain = (value: Readonly<Record<string, unknown>>): unknown => {
  const [[type, inner] = ["NULL", true]] = Object.entries(value);
  if (type === "N") return Number(inner);
  if (type === "L") return (inner as Readonly<Record<string, unknown>>[]).map(plain);
  if (type === "M")
    return Object.fromEntries(
      Object.entries(inner as Record<string, Record<string, unknown>>).map(([key, one]) => [key, plain(one)]),
    );
  return type === "NULL" ? undefined : inner;
};

export const openOwnTable = (laptop: Laptop): Table => {
  const { credentials } = laptop.account.addUser({
    name: "table-owner",
    statements: [{ actions: ["dynamodb:*"], resources: ["*"] }],
  });
  const client: DynamoDBClient = tableClient({
    region: laptop.region,
    endpoint: laptop.aws.url,
    keys: () => Promise.resolve(credentials),
  });
  const store = openTable({ name: "sallyport", client });
  const all = async (): Promise<readonly Item[]> => {
    const items: Item[] = [];
    let start: Record<string, never> | undefined;
    do {
      const page = await client.send(
        new ScanCommand({ TableName: "sallyport", ConsistentRead: true, ...(start && { ExclusiveStartKey: start }) }),
      );
      for (const item of page.Items ?? []) items.push(plain({ M: item }) as Item);
      start = page.LastEvaluatedKey as typeof start;
    } while (start);
    return items;
  };
  return {
    store,
    all,
    spent: async (token) => {
      const item = await store.get(keys.spend(token));
      return { logins: Number(item?.["logins"] ?? 0), live: Number(item?.["live"] ?? 0) };
    },
    sessions: async (token) =>
      (await all()).filter((item) => item.pk.startsWith("session#") && item["token"] === token),
    events: async (name) => (await all()).filter((item) => item.pk.startsWith("event#") && item["name"] === name),
    close: () => client.destroy(),
  };
};

/** A role on the database `orders` of databases with these labels. */
export const roleOf = (name: string, options: Readonly<Record<string, unknown>> = {}, env = "dev"): Document => ({
  kind: "role",
  version: "v7",
  metadata: { name },
  spec: { allow: { db_labels: { env }, db_users: ["reader", "writer"], db_names: ["orders"] }, options },
});

/** Changes a resource as an administrator does: read, edit, write against the revision that was read. */
export const edit = async (
  { admin }: World,
  kind: "role" | "user",
  name: string,
  change: (document: Document) => Document,
): Promise<void> => {
  const document = await admin.call("getResource", { kind, name });
  await admin.call("putResource", { kind, name, document: change(document) });
};

export const lock = ({ put }: World, name: string, target: Extract<Document, { kind: "lock" }>["spec"]["target"]) =>
  put({ kind: "lock", version: "v1", metadata: { name }, spec: { target, message: `for ${name}` } });

/** Somebody the world knows, logged in once more: with the session token itself. */
export const logInAgain = async ({ laptop }: World, user: string): Promise<{ client: Client; token: string }> => {
  const { token } = await openClient({ api: laptop.api }).call("login", { user, password });
  return { client: openClient({ api: laptop.api, token: secret(token) }), token };
};
