// The Store port on one DynamoDB table. Every read is strongly consistent; a condition that does not hold is `conflict`;
// everything else that goes wrong is `unavailable`, soon: callers decide what an unreachable table means.

import { setTimeout as wait } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import {
  BatchGetCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  TransactWriteCommand,
  UpdateCommand,
} from "@aws-sdk/lib-dynamodb";
import { Failure } from "@sallyport/core/failure";
import type { Change, Item, Key, Page, Store } from "@sallyport/core/ports";
import { attemptsOf, type Connection, clientOptions, errorName, isAccessDenied } from "./client.ts";
import { requestOf } from "./condition.ts";

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

export const openTable = ({ name, client = tableClient() }: { name: string; client?: DynamoDBClient }): Store => {
  const documents = DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
  const asking = <T>(ask: () => Promise<T>): Promise<T> =>
    retried(ask).catch((thrown) => Promise.reject(worded(thrown, name)));

  const getPart = async (keys: readonly Key[]): Promise<Map<string, Item>> => {
    const found = new Map<string, Item>();
    let left: Key[] = [...new Map(keys.map(({ pk, sk }) => [textOf({ pk, sk }), { pk, sk }])).values()];
    for (let attempt = 0; left.length > 0; attempt++) {
      // DynamoDB answers part of a batch when it is large or busy
      if (attempt === mostTries) throw new Failure("unavailable", `the table ${name} answers only part of a read`);
      if (attempt > 0) await backOff(attempt);
      const RequestItems = { [name]: { Keys: left, ConsistentRead: true } };
      const { Responses, UnprocessedKeys } = await documents.send(new BatchGetCommand({ RequestItems }));
      for (const item of Responses?.[name] ?? []) found.set(textOf(item as Item), item as Item);
      left = (UnprocessedKeys?.[name]?.Keys ?? []) as Key[];
    }
    return found;
  };

  return {
    get: ({ pk, sk }) =>
      asking(async () => {
        const { Item } = await documents.send(
          new GetCommand({ TableName: name, Key: { pk, sk }, ConsistentRead: true }),
        );
        return Item as Item | undefined;
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
        const { Items = [], LastEvaluatedKey } = await documents.send(
          new QueryCommand({
            TableName: name,
            ConsistentRead: true,
            KeyConditionExpression: prefix === "" ? "pk = :pk" : "pk = :pk AND begins_with(sk, :prefix)",
            ExpressionAttributeValues: { ":pk": pk, ...(prefix !== "" && { ":prefix": prefix }) },
            ...(limit !== undefined && { Limit: limit }),
            ...(start && { ExclusiveStartKey: start }),
          }),
        );
        const last = LastEvaluatedKey as Key | undefined;
        return { items: Items as Item[], ...(last && { after: Buffer.from(last.sk, "utf8").toString("base64url") }) };
      });
    },

    write: (change) => asking(() => write(documents, name, change)),

    transact(changes) {
      if (changes.length > mostItems) return Promise.reject(tooMany(changes.length));
      return asking(async () => {
        await documents.send(
          new TransactWriteCommand({ TransactItems: changes.map((change) => transactItem(change, name)) }),
        );
      });
    },
  };
};

const write = async (documents: DynamoDBDocumentClient, name: string, change: Change): Promise<Item | undefined> => {
  const { put, update, remove } = requestOf(change, name);
  if (put) {
    try {
      await documents.send(new PutCommand(put));
    } catch (thrown) {
      if (!(await wasOurs(documents, thrown, put))) throw thrown;
    }
    return put.Item as Item;
  }
  if (remove) {
    await documents.send(new DeleteCommand(remove));
    return undefined;
  }
  const { Attributes } = await documents.send(new UpdateCommand({ ...update, ReturnValues: "ALL_NEW" }));
  return Attributes as Item | undefined;
};

/** A put whose answer was lost is sent again by the SDK and then meets what it wrote itself: that is success. */
const wasOurs = async (
  documents: DynamoDBDocumentClient,
  thrown: unknown,
  { TableName, Item }: { readonly TableName: string; readonly Item: Readonly<Record<string, unknown>> },
): Promise<boolean> => {
  if (!isConflict(thrown) || attemptsOf(thrown) < 2) return false;
  const get = new GetCommand({ TableName, Key: { pk: Item["pk"], sk: Item["sk"] }, ConsistentRead: true });
  const found = await documents.send(get).catch(() => undefined);
  return isDeepStrictEqual(found?.Item, Item);
};

const transactItem = (change: Change, name: string) => {
  const { put, update, remove } = requestOf(change, name);
  if (put) return { Put: put };
  if (remove) return { Delete: remove };
  return { Update: update };
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
