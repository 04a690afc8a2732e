// Which partition keys a DynamoDB request touches, operation by operation: what dynamodb:LeadingKeys is judged on.
// Rule: a request whose keys cannot be told for sure touches `unbounded`, which no LeadingKeys condition allows.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
import { unbounded } from "./iam.ts";

/** The project's tables have one partition key attribute. */
export const partitionKey = "pk";

export type Keys = readonly string[] | typeof unbounded;

/** One permission a request needs: the IAM action, the table and index it is on, and the keys. */
export interface Touch {
  readonly action: string;
  readonly table: string;
  readonly index?: string;
  readonly keys: Keys;
}

type Json = Readonly<Record<string, unknown>>;

const one =
  (action: string, member: "Key" | "Item") =>
  (input: Json): readonly Touch[] => [{ action, table: text(input["TableName"]), keys: keysOf([input[member]]) }];
const wholeTable = (action: string) => (input: Json) =>
  [{ action, table: text(input["TableName"]), keys: unbounded }] as const;
const anyTable = (action: string) => () => [{ action, table: "*", keys: unbounded }] as const;

/** Every operation that is let through, and nothing else: no PartiQL, no streams, no backups. */
export const touches: Readonly<Record<string, (input: Json) => readonly Touch[]>> = {
  GetItem: one("GetItem", "Key"),
  DeleteItem: one("DeleteItem", "Key"),
  UpdateItem: one("UpdateItem", "Key"),
  PutItem: one("PutItem", "Item"),
  Query: (input) => {
    const index = input["IndexName"] === undefined ? undefined : text(input["IndexName"]);
    // An index has a partition key of its own, which a request does not name for certain.
    return [
      {
        action: "Query",
        table: text(input["TableName"]),
        ...(index !== undefined && { index }),
        keys: index === undefined ? queried(input) : unbounded,
      },
    ];
  },
  Scan: (input) => [
    {
      action: "Scan",
      table: text(input["TableName"]),
      ...(input["IndexName"] !== undefined && { index: text(input["IndexName"]) }),
      keys: unbounded,
    },
  ],
  BatchGetItem: (input) =>
    Object.entries(object(input["RequestItems"])).map(([table, wanted]) => ({
      action: "BatchGetItem",
      table,
      keys: keysOf(list(object(wanted)["Keys"])),
    })),
  BatchWriteItem: (input) =>
    Object.entries(object(input["RequestItems"])).map(([table, writes]) => ({
      action: "BatchWriteItem",
      table,
      keys: keysOf(
        list(writes).map((write) => {
          const { PutRequest: put, DeleteRequest: del } = object(write);
          return (put === undefined) === (del === undefined)
            ? undefined
            : put === undefined
              ? object(del)["Key"]
              : object(put)["Item"];
        }),
      ),
    })),
  TransactGetItems: (input) =>
    list(input["TransactItems"]).flatMap((item) => actions(object(item), { Get: ["GetItem", "Key"] })),
  // Its permissions are those of the single writes.
  TransactWriteItems: (input) =>
    list(input["TransactItems"]).flatMap((item) =>
      actions(object(item), {
        ConditionCheck: ["ConditionCheckItem", "Key"],
        Put: ["PutItem", "Item"],
        Update: ["UpdateItem", "Key"],
        Delete: ["DeleteItem", "Key"],
      }),
    ),
  CreateTable: wholeTable("CreateTable"),
  DeleteTable: wholeTable("DeleteTable"),
  DescribeTable: wholeTable("DescribeTable"),
  UpdateTimeToLive: wholeTable("UpdateTimeToLive"),
  DescribeTimeToLive: wholeTable("DescribeTimeToLive"),
  ListTables: anyTable("ListTables"),
};

/** The one action in a transaction's item; an item with none or several is malformed, and touches everything. */
function actions(item: Json, known: Readonly<Record<string, readonly [string, string]>>): readonly Touch[] {
  const named = Object.keys(item).filter((name) => item[name] !== null);
  return named.map((name) => {
    const found = Object.hasOwn(known, name) ? known[name] : undefined;
    if (!found || named.length !== 1) throw new TypeError(`not a transaction item: ${named.join(", ")}`);
    const [action, member] = found;
    const body = object(item[name]);
    return { action, table: text(body["TableName"]), keys: keysOf([body[member]]) };
  });
}

function keysOf(items: readonly unknown[]): Keys {
  const keys = items.map((item) => stringKey(item === undefined ? undefined : object(item)[partitionKey]));
  const known = keys.filter((key) => key !== undefined);
  return known.length === keys.length && keys.length > 0 ? known : unbounded;
}

/** {"S": "…"} and nothing beside it; a key of another type is not one of ours. */
function stringKey(value: unknown): string | undefined {
  const members = typeof value === "object" && value !== null ? Object.entries(value) : [];
  const [[type, key] = []] = members;
  return members.length === 1 && type === "S" && typeof key === "string" ? key : undefined;
}

/** The key of `pk = :value`, when the key condition says exactly one such thing and joins it only with AND. */
function queried(input: Json): Keys {
  if (input["KeyConditions"] !== undefined && input["KeyConditionExpression"] !== undefined) return unbounded;
  if (input["KeyConditions"] !== undefined) {
    const { ComparisonOperator, AttributeValueList } = object(object(input["KeyConditions"])[partitionKey] ?? {});
    const values = Array.isArray(AttributeValueList) ? AttributeValueList : [];
    const key = ComparisonOperator === "EQ" && values.length === 1 ? stringKey(values[0]) : undefined;
    return key === undefined ? unbounded : [key];
  }
  const names = object(input["ExpressionAttributeNames"] ?? {});
  const tokens = tokensOf(text(input["KeyConditionExpression"] ?? "")).map((token) =>
    token.startsWith("#") && names[token] === partitionKey ? partitionKey : token,
  );
  const at = tokens.indexOf(partitionKey);
  const [before, operator, value, after] = [tokens[at - 1], tokens[at + 1], tokens[at + 2], tokens[at + 3]];
  const joined = (token: string | undefined) => token === undefined || /^(and|\(|\))$/i.test(token);
  const plain =
    !tokens.some((token) => /^(or|not)$/i.test(token)) && tokens.lastIndexOf(partitionKey) === at && at >= 0;
  if (!plain || operator !== "=" || !value?.startsWith(":") || !joined(before) || !joined(after)) return unbounded;
  const key = stringKey(object(input["ExpressionAttributeValues"] ?? {})[value]);
  return key === undefined ? unbounded : [key];
}

const tokensOf = (expression: string): string[] =>
  expression.match(/[#:]?[A-Za-z_][\w.]*|[#:][\w.]+|<>|<=|>=|[=<>(),]|\S/g) ?? [];

const object = (value: unknown): Json => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("not an object");
  return value as Json;
};
const list = (value: unknown): readonly unknown[] => {
  if (!Array.isArray(value)) throw new TypeError("not a list");
  return value;
};
const text = (value: unknown): string => {
  if (typeof value !== "string") throw new TypeError("not a string");
  return value;
};
