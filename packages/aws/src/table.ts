// The Store port on one DynamoDB table. Every read is strongly consistent; a condition that does not hold is `conflict`;
// everything else that goes wrong is `unavailable`, soon: callers decide what an unreachable table means.

import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { Failure } from "@sallyport/core/failure";
import type { Change, Item, Key, Page, Store } from "@sallyport/core/ports";
import { fromAttributes, toAttributes } from "./attribute.ts";
import { attemptsOf, type Connection, clientOptions, errorName, isAccessDenied } from "./client.ts";
import { requestOf } from "./condition.ts";
import { type Call, type Json, openDynamodb } from "./dynamodb.ts";

/** Both strings. */
export const tableKey = { partition: "pk", sort: "sk", timeToLive: "ttl" } as const;

const mostItems = 100;
/** Another transaction holds the item for milliseconds: trying again is the cure. */
const contended = ["TransactionConflict", "TransactionConflictException", "TransactionInProgressException"];
const busy = ["ThrottlingError", "ProvisionedThroughputExceeded"];
const mostTries = 8;

/** A client that gives up soon enough for a login to say so. */
export const tableClient = (connection: Connection = {}): DynamoDBClient =>
  new DynamoDBClient(clientOptions(connection));

type Attributes = Readonly<Record<string, unknown>>;
interface BatchAnswer {
  readonly Responses?: Readonly<Record<string, readonly Attributes[]>>;
  readonly UnprocessedKeys?: Readonly<Record<string, { readonly Keys?: readonly Attributes[] }>>;
}
interface QueryAnswer {
  readonly Items?: readonly Attributes[];
  readonly LastEvaluatedKey?: Attributes;
}

const itemOf = (attributes: unknown): Item => fromAttributes(attributes as Attributes) as Item;
const keyOf = ({ pk, sk }: Key): Attributes => ({ pk: { S: pk }, sk: { S: sk } });

export const openTable = ({ name, client = tableClient() }: { name: string; client?: DynamoDBClient }): Store => {
  const call = openDynamodb(client);
  const asking = <T>(ask: () => Promise<T>): Promise<T> =>
    retried(ask).catch((thrown) => Promise.reject(worded(thrown, name)));

  const getPart = async (keys: readonly Key[]): Promise<Map<string, Item>> => {
    const found = new Map<string, Item>();
    let left: readonly Attributes[] = [...new Map(keys.map((key) => [textOf(key), keyOf(key)])).values()];
    for (let attempt = 0; left.length > 0; attempt++) {
      // DynamoDB answers part of a batch when it is large or busy
      if (attempt === mostTries) throw new Failure("unavailable", `the table ${name} answers only part of a read`);
      if (attempt > 0) await backOff(attempt);
      const RequestItems = { [name]: { Keys: left, ConsistentRead: true } };
      const { Responses, UnprocessedKeys }: BatchAnswer = await call("BatchGetItem", { RequestItems });
      for (const item of (Responses?.[name] ?? []).map(itemOf)) found.set(textOf(item), item);
      left = UnprocessedKeys?.[name]?.Keys ?? [];
    }
    return found;
  };

  return {
    get: (key) =>
      asking(async () => {
        const { Item } = await call("GetItem", { TableName: name, Key: keyOf(key), ConsistentRead: true });
        return Item === undefined ? undefined : itemOf(Item);
      }),

    getMany(keys) {
      if (keys.length > mostItems) return Promise.reject(tooMany(keys.length));
      return asking(async () => {
        const found = await getPart(keys);
        return keys.map((key) => found.get(textOf(key)));
      });
    },

    list(pk, { prefix = "", after, limit } = {}) {
      return asking(async (): Promise<Page> => {
        const start = after === undefined ? undefined : { pk, sk: Buffer.from(after, "base64url").toString("utf8") };
        const { Items = [], LastEvaluatedKey }: QueryAnswer = await call("Query", {
          TableName: name,
          ConsistentRead: true,
          KeyConditionExpression: prefix === "" ? "pk = :pk" : "pk = :pk AND begins_with(sk, :prefix)",
          ExpressionAttributeValues: { ":pk": { S: pk }, ...(prefix !== "" && { ":prefix": { S: prefix } }) },
          ...(limit !== undefined && { Limit: limit }),
          ...(start && { ExclusiveStartKey: keyOf(start) }),
        });
        const last = LastEvaluatedKey && itemOf(LastEvaluatedKey);
        return { items: Items.map(itemOf), ...(last && { after: Buffer.from(last.sk, "utf8").toString("base64url") }) };
      });
    },

    write: (change) => asking(() => write(call, name, change)),

    transact(changes) {
      if (changes.length > mostItems) return Promise.reject(tooMany(changes.length));
      const TransactItems = changes.map((change) => transactItem(change, name));
      return asking(async () => {
        // sent again by the same token, it happens once
        await call("TransactWriteItems", { TransactItems, ClientRequestToken: randomUUID() });
      });
    },
  };
};

/** A request's part with its values as attributes. */
const wired = (request: Json): Json => {
  const { Item, Key, ExpressionAttributeValues: values, ...rest } = request as Readonly<Record<string, Json>>;
  return {
    ...rest,
    ...(Item && { Item: toAttributes(Item) }),
    ...(Key && { Key: toAttributes(Key) }),
    ...(values && { ExpressionAttributeValues: toAttributes(values) }),
  };
};

const write = async (call: Call, name: string, change: Change): Promise<Item | undefined> => {
  const { put, update, remove } = requestOf(change, name);
  if (put) {
    const request = wired(put);
    try {
      await call("PutItem", request);
    } catch (thrown) {
      if (!(await wasOurs(call, thrown, name, request["Item"] as Attributes))) throw thrown;
    }
    return put.Item as Item;
  }
  if (remove) {
    await call("DeleteItem", wired(remove));
    return undefined;
  }
  const { Attributes } = await call("UpdateItem", { ...wired(update), ReturnValues: "ALL_NEW" });
  return Attributes === undefined ? undefined : itemOf(Attributes);
};

/** A put whose answer was lost is sent again and then meets what it wrote itself: that is success. */
const wasOurs = async (call: Call, thrown: unknown, TableName: string, item: Attributes): Promise<boolean> => {
  if (!isConflict(thrown) || attemptsOf(thrown) < 2) return false;
  const Key = { pk: item["pk"], sk: item["sk"] };
  const { Item } = await call("GetItem", { TableName, Key, ConsistentRead: true }).catch((): Json => ({}));
  return Item !== undefined && isDeepStrictEqual(itemOf(Item), itemOf(item));
};

const transactItem = (change: Change, name: string): Json => {
  const { put, update, remove } = requestOf(change, name);
  if (put) return { Put: wired(put) };
  if (remove) return { Delete: wired(remove) };
  return { Update: wired(update) };
};

const reasonsOf = (thrown: unknown): readonly string[] =>
  errorName(thrown) === "TransactionCanceledException"
    ? ((thrown as { CancellationReasons?: readonly { Code?: string }[] }).CancellationReasons ?? []).flatMap(
        ({ Code }) => (Code === undefined || Code === "None" ? [] : [Code]),
      )
    : [errorName(thrown)];

const isConflict = (thrown: unknown): boolean =>
  reasonsOf(thrown).some(
    (reason) => reason === "ConditionalCheckFailed" || reason === "ConditionalCheckFailedException",
  );

/** Asks again while another transaction is in the way; the SDK itself asks again when throttled or unanswered. */
const retried = async <T>(ask: () => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (thrown) {
      const passing = reasonsOf(thrown).some((reason) => contended.includes(reason) || busy.includes(reason));
      if (!passing || isConflict(thrown) || attempt === mostTries) throw thrown;
      await backOff(attempt);
    }
  }
};

const backOff = (attempt: number): Promise<void> => wait(Math.random() * Math.min(10 * 2 ** attempt, 500));

const worded = (thrown: unknown, name: string): Failure => {
  if (thrown instanceof Failure) return thrown;
  if (isConflict(thrown))
    return new Failure("conflict", "it was changed by somebody else meanwhile", { cause: thrown });
  // said to whoever asked, logged in or not: what only an operator can use is in the cause, for the log
  const why = isAccessDenied(thrown)
    ? "the IAM role lacks a permission on it: compare with the printed policy"
    : "look whether it exists and its endpoint is reachable";
  return new Failure("unavailable", "the table can't be used now", {
    hint: "try again; if it stays so, tell an administrator",
    cause: new Error(`table ${name}: ${errorName(thrown) || "unknown error"}: ${why}`, { cause: thrown }),
  });
};

const tooMany = (count: number): Failure => new Failure("invalid", `${count} items at once: at most ${mostItems}`);
const textOf = ({ pk, sk }: Key): string => JSON.stringify([pk, sk]);
