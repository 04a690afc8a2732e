// Which keys a DynamoDB request touches; whatever cannot be told is `unbounded`.
import { unbounded } from "@sallyport/local/iam";
import { touches } from "@sallyport/local/leading-keys";
import { describe, expect, test } from "vitest";

const S = (value: string) => ({ S: value });
const on = (name: string, input: Record<string, unknown>) => touches[name]?.({ TableName: "t", ...input });
const keysOf = (name: string, input: Record<string, unknown>) => on(name, input)?.map((touch) => touch.keys);

test("single items name their key", () => {
  const Key = { pk: S("a#1"), sk: S("x") };
  for (const name of ["GetItem", "DeleteItem", "UpdateItem"])
    expect(on(name, { Key })).toEqual([{ action: name, table: "t", keys: ["a#1"] }]);
  expect(on("PutItem", { Item: { pk: S("a#1"), data: S("b#1") } })).toEqual([
    { action: "PutItem", table: "t", keys: ["a#1"] },
  ]);
});

test.each([
  ["no key", {}],
  ["a number", { Key: { pk: { N: "1" } } }],
  ["two types at once", { Key: { pk: { S: "a#1", N: "1" } } }],
  ["a type that is not text", { Key: { pk: { S: 5 } } }],
  ["another attribute", { Key: { PK: S("a#1") } }],
])("an item with %s is unbounded", (_, input) => {
  expect(keysOf("GetItem", input)).toEqual([unbounded]);
});

test("batches name every key, and one that cannot be told makes the whole unbounded", () => {
  const Keys = [{ pk: S("a#1") }, { pk: S("b#1") }];
  expect(touches["BatchGetItem"]?.({ RequestItems: { t: { Keys }, u: { Keys: [{ pk: { N: "1" } }] } } })).toEqual([
    { action: "BatchGetItem", table: "t", keys: ["a#1", "b#1"] },
    { action: "BatchGetItem", table: "u", keys: unbounded },
  ]);
  const writes = [{ PutRequest: { Item: { pk: S("a#1") } } }, { DeleteRequest: { Key: { pk: S("b#1") } } }];
  expect(touches["BatchWriteItem"]?.({ RequestItems: { t: writes } })).toEqual([
    { action: "BatchWriteItem", table: "t", keys: ["a#1", "b#1"] },
  ]);
  const both = [{ PutRequest: { Item: { pk: S("a#1") } }, DeleteRequest: { Key: { pk: S("b#1") } } }];
  expect(touches["BatchWriteItem"]?.({ RequestItems: { t: both } })).toEqual([
    { action: "BatchWriteItem", table: "t", keys: unbounded },
  ]);
});

test("a transaction needs the permission of each of its writes", () => {
  const Key = { pk: S("a#1") };
  const TransactItems = [
    { ConditionCheck: { TableName: "t", Key } },
    { Put: { TableName: "t", Item: { pk: S("b#1") } } },
    { Update: { TableName: "t", Key } },
    { Delete: { TableName: "t", Key } },
  ];
  expect(on("TransactWriteItems", { TransactItems })?.map(({ action, keys }) => [action, keys])).toEqual([
    ["ConditionCheckItem", ["a#1"]],
    ["PutItem", ["b#1"]],
    ["UpdateItem", ["a#1"]],
    ["DeleteItem", ["a#1"]],
  ]);
  expect(on("TransactGetItems", { TransactItems: [{ Get: { TableName: "t", Key } }] })).toEqual([
    { action: "GetItem", table: "t", keys: ["a#1"] },
  ]);
  expect(() =>
    on("TransactWriteItems", {
      TransactItems: [{ Put: { TableName: "t", Item: Key }, Delete: { TableName: "t", Key } }],
    }),
  ).toThrow();
  expect(() => on("TransactWriteItems", { TransactItems: [{ Get: { TableName: "t", Key } }] })).toThrow();
});

describe("a query", () => {
  const ExpressionAttributeValues = { ":p": S("a#1"), ":s": S("x"), ":t": S("y"), ":n": { N: "1" } };
  const query = (
    KeyConditionExpression: string,
    ExpressionAttributeNames: Record<string, string> = { "#pk": "pk", "#sk": "sk" },
  ) => keysOf("Query", { KeyConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues });

  test.each([
    "pk = :p",
    "#pk = :p",
    "#pk=:p",
    "(pk = :p)",
    "pk = :p AND sk = :s",
    "pk = :p and begins_with(#sk, :s)",
    "begins_with(sk, :s) AND pk = :p",
    "(#pk = :p) AND (#sk BETWEEN :s AND :t)",
    "sk BETWEEN :s AND :t AND #pk = :p",
  ])("%s names its key", (expression) => {
    expect(query(expression)).toEqual([["a#1"]]);
  });

  test.each([
    ["no condition", ""],
    ["another attribute", "sk = :s"],
    ["a comparison", "pk > :p"],
    ["a prefix", "begins_with(pk, :p)"],
    ["two keys", "pk = :p AND pk = :s"],
    ["an alternative", "pk = :p OR pk = :s"],
    ["a negation", "NOT pk = :p"],
    ["a value that is not there", "pk = :none"],
    ["a number", "pk = :n"],
    ["an attribute for a value", "pk = #sk"],
    ["a path", "pk.x = :p"],
    ["a path below it", "pk[0] = :p"],
    ["a longer name", "pks = :p"],
    ["something after the value", "pk = :p :s"],
    ["something before the key", ":s pk = :p"],
  ])("%s is unbounded", (_, expression) => {
    expect(query(expression)).toEqual([unbounded]);
  });

  test("names that hide the key are seen through", () => {
    expect(query("#a = :p AND #pk = :s", { "#a": "pk", "#pk": "sk" })).toEqual([["a#1"]]);
    expect(query("#a = :p AND #b = :s", { "#a": "pk", "#b": "pk" })).toEqual([unbounded]);
  });

  test("the old form is read too, and both at once are not", () => {
    const KeyConditions = { pk: { ComparisonOperator: "EQ", AttributeValueList: [S("a#1")] } };
    expect(keysOf("Query", { KeyConditions })).toEqual([["a#1"]]);
    expect(
      keysOf("Query", { KeyConditions: { pk: { ComparisonOperator: "BEGINS_WITH", AttributeValueList: [S("a")] } } }),
    ).toEqual([unbounded]);
    expect(keysOf("Query", { KeyConditions, KeyConditionExpression: "pk = :p", ExpressionAttributeValues })).toEqual([
      unbounded,
    ]);
  });

  test("on an index is unbounded, and on the index's own ARN", () => {
    expect(on("Query", { IndexName: "i", KeyConditionExpression: "pk = :p", ExpressionAttributeValues })).toEqual([
      { action: "Query", table: "t", index: "i", keys: unbounded },
    ]);
  });
});

test("what reaches the whole table is unbounded, and what is not listed is not there", () => {
  for (const name of ["Scan", "DescribeTable", "CreateTable", "DeleteTable", "UpdateTimeToLive"])
    expect(keysOf(name, {})).toEqual([unbounded]);
  for (const name of [
    "ExecuteStatement",
    "BatchExecuteStatement",
    "ExecuteTransaction",
    "ExportTableToPointInTime",
    "GetRecords",
  ])
    expect(touches[name]).toBeUndefined();
});
