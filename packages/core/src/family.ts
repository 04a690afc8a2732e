// The table's keys. A partition key begins with its family, so that IAM (dynamodb:LeadingKeys) can tell the families apart.
// Every item carries `v`; readers take this version and the one before, because proxies and functions are never replaced
// at the same instant.
import type * as z from "zod";
import { Failure } from "./failure.ts";
import type { Item, Key, Page, Store } from "./ports.ts";

export const itemVersion = 1;

export const families = [
  "access",
  "epoch",
  "config",
  "login",
  "database",
  "token",
  "key",
  "spend",
  "limit",
  "session",
  "proxy",
  "managed",
  "run",
  "event",
  "trust",
] as const;
export type Family = (typeof families)[number];

/** Where each thing lives. A function with no argument left out gives the partition to list. */
export const keys = {
  user: (name: string): Key => ({ pk: "access#user", sk: name }),
  role: (name: string): Key => ({ pk: "access#role", sk: name }),
  lock: (name: string): Key => ({ pk: "access#lock", sk: name }),
  epoch: (): Key => ({ pk: "epoch#", sk: "epoch" }),
  discoveryConfig: (name: string): Key => ({ pk: "config#discovery", sk: name }),
  dynamicDatabase: (name: string): Key => ({ pk: "config#database", sk: name }),
  password: (user: string): Key => ({ pk: `login#${user}`, sk: "password" }),
  /** Which of a user's invitations is the one that counts. */
  openInvite: (user: string): Key => ({ pk: `login#${user}`, sk: "invite" }),
  loginAttempts: (who: string): Key => ({ pk: `login#${who}`, sk: "attempts" }),
  database: (name: string): Key => ({ pk: "database#", sk: name }),
  connectToken: (sha256: string): Key => ({ pk: `token#${sha256}`, sk: "token" }),
  /** Session and invite tokens; no proxy reads them. */
  apiKey: (sha256: string): Key => ({ pk: `key#${sha256}`, sk: "key" }),
  /** A connect token issued under an API session: what logout revokes. */
  issued: (session: string, token: string): Key => ({ pk: `key#${session}`, sk: `token#${token}` }),
  /** The API sessions of one user: what disabling them ends. */
  userKey: (user: string, sha256: string): Key => ({ pk: `key#user#${user}`, sk: sha256 }),
  spend: (sha256: string): Key => ({ pk: `spend#${sha256}`, sk: "spend" }),
  limit: (user: string, database: string): Key => ({ pk: `limit#${user}`, sk: database }),
  session: (proxy: string, id: string): Key => ({ pk: `session#${proxy}`, sk: id }),
  proxy: (id: string): Key => ({ pk: "proxy#", sk: id }),
  /** The places that hold managed users; a user's own key is managed.ts's. */
  managedPlace: (place: string): Key => ({ pk: "managed#", sk: place }),
  run: (job: string, id: string): Key => ({ pk: `run#${job}`, sk: id }),
  /** The roots and pins that clients are given. */
  trust: (): Key => ({ pk: "trust#", sk: "trust" }),
  event: (day: string, shard: number, id: string): Key => ({
    pk: `event#${day}#${String(shard).padStart(2, "0")}`,
    sk: id,
  }),
} as const;

/** The attribute DynamoDB deletes by, in seconds: housekeeping a day after the time given, never what expiry means. */
export const ttlAfter = (at: number): number => Math.ceil(at / 1000) + 86_400;

/** An item ready to put: the value's members beside its key and version. With `until` the table forgets it a day after. */
export const toItem = (key: Key, value: object, until?: number): Item => ({
  ...value,
  ...key,
  v: itemVersion,
  ...(until === undefined ? {} : { ttl: ttlAfter(until) }),
});

/** The value of an item. @throws Failure `internal` for a version this code does not know, or an item that is not what it should be */
export const fromItem = <T>(schema: z.ZodType<T>, item: Item): T => {
  if (item.v !== itemVersion && item.v !== itemVersion - 1)
    throw new Failure(
      "internal",
      `item ${item.pk} has version ${item.v}, this code reads ${itemVersion} and the one before`,
    );
  const parsed = schema.safeParse(item);
  if (!parsed.success) throw new Failure("internal", `item ${item.pk} can't be read`, { cause: parsed.error });
  return parsed.data;
};

/** One value, or undefined when there is no such item. */
export const read = async <T>(store: Store, schema: z.ZodType<T>, key: Key): Promise<T | undefined> => {
  const item = await store.get(key);
  return item && fromItem(schema, item);
};

/** Every item of a partition, page after page to the end. */
export async function* walk(store: Store, pk: string, prefix?: string): AsyncGenerator<Item> {
  let after: string | undefined;
  do {
    const page: Page = await store.list(pk, {
      ...(prefix === undefined ? {} : { prefix }),
      ...(after === undefined ? {} : { after }),
    });
    yield* page.items;
    after = page.after;
  } while (after !== undefined);
}

/** Every value of a partition. */
export const readAll = async <T>(store: Store, schema: z.ZodType<T>, pk: string, prefix?: string): Promise<T[]> => {
  const values: T[] = [];
  for await (const item of walk(store, pk, prefix)) values.push(fromItem(schema, item));
  return values;
};
