// DynamoDB's front with the real clients and a real server: each role reaches its own families, by every way in.
import {
  BatchGetItemCommand,
  BatchWriteItemCommand,
  CreateTableCommand,
  DeleteItemCommand,
  DynamoDBClient,
  ExecuteStatementCommand,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
  TransactGetItemsCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { statementsFor } from "@sallyport/core/permission";
import { openAccount } from "@sallyport/local/account";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { type Dynamodb, openDynamodb } from "@sallyport/local/services/dynamodb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const account = openAccount();
const stranger = openAccount({ id: "444455556666" });
const home = { accountId: account.id, region: "eu-west-1" };
const TableName = "sallyport";
const tableArn = "arn:aws:dynamodb:eu-west-1:111122223333:table/sallyport";
const admin = account.addUser({ name: "admin", statements: [{ actions: ["dynamodb:*"], resources: ["*"] }] });
const theirs = stranger.addUser({ name: "admin", statements: [{ actions: ["dynamodb:*"], resources: ["*"] }] });
const families = (actions: string[], ...names: string[]) => ({
  actions: actions.map((action) => `dynamodb:${action}`),
  resources: [tableArn],
  conditions: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": names.map((name) => `${name}#*`) } },
});
const reads = ["GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable"];
const writes = ["PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem", "BatchWriteItem"];
const user = account.addUser({ name: "user", statements: [families(writes, "own"), families(reads, "own", "shared")] });
const split = account.addUser({ name: "split", statements: [families(reads, "own"), families(reads, "shared")] });
const deployment = {
  partition: "aws",
  account: account.id,
  region: "eu-west-1",
  tableArn,
  discoverArn: "",
  secretPrefix: "s",
  assumable: [],
};
account.addRole({ name: "proxy", statements: statementsFor("proxy", deployment, ["rds", "aurora"]) });

const S = (value: string) => ({ S: value });
const key = (pk: string, sk = "x") => ({ pk: S(pk), sk: S(sk) });
const denied = { name: "AccessDeniedException", $metadata: { httpStatusCode: 400 } };

let dynamodb: Dynamodb;
let endpoint: Endpoint;
const open: DynamoDBClient[] = [];
const clientOf = (credentials: typeof admin.credentials, region = "eu-west-1") => {
  const client = new DynamoDBClient({ endpoint: endpoint.url, region, credentials, maxAttempts: 1 });
  open.push(client);
  return client;
};
let root: DynamoDBClient;
let mine: DynamoDBClient;
let proxy: DynamoDBClient;

beforeAll(async () => {
  dynamodb = await openDynamodb(home);
  endpoint = await openEndpoint({ accounts: [account, stranger], services: [dynamodb.api] });
  [root, mine, proxy] = [
    clientOf(admin.credentials),
    clientOf(user.credentials),
    clientOf(account.session("proxy", { sessionName: "t" }).credentials),
  ];
  await root.send(
    new CreateTableCommand({
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [
        { AttributeName: "pk", AttributeType: "S" },
        { AttributeName: "sk", AttributeType: "S" },
      ],
      KeySchema: [
        { AttributeName: "pk", KeyType: "HASH" },
        { AttributeName: "sk", KeyType: "RANGE" },
      ],
    }),
  );
  for (const pk of ["own#1", "shared#1", "login#ann"])
    await root.send(new PutItemCommand({ TableName, Item: { ...key(pk), data: S(pk) } }));
});
afterAll(async () => {
  for (const client of open) client.destroy();
  await endpoint.close();
  await dynamodb.close();
});

describe("a role with leading keys", () => {
  test("reads and writes its own family by every way in", async () => {
    await mine.send(new PutItemCommand({ TableName, Item: { ...key("own#2"), n: { N: "1" } } }));
    await mine.send(
      new UpdateItemCommand({
        TableName,
        Key: key("own#2"),
        UpdateExpression: "ADD n :one",
        ExpressionAttributeValues: { ":one": { N: "1" } },
      }),
    );
    expect((await mine.send(new GetItemCommand({ TableName, Key: key("own#2") }))).Item?.["n"]).toEqual({ N: "2" });
    const { Items } = await mine.send(
      new QueryCommand({
        TableName,
        KeyConditionExpression: "#p = :p",
        ExpressionAttributeNames: { "#p": "pk" },
        ExpressionAttributeValues: { ":p": S("shared#1") },
      }),
    );
    expect(Items?.[0]?.["data"]).toEqual(S("shared#1"));
    const batch = await mine.send(
      new BatchGetItemCommand({ RequestItems: { [TableName]: { Keys: [key("own#1"), key("shared#1")] } } }),
    );
    expect(batch.Responses?.[TableName]).toHaveLength(2);
    await mine.send(
      new BatchWriteItemCommand({ RequestItems: { [TableName]: [{ PutRequest: { Item: key("own#3") } }] } }),
    );
    await mine.send(
      new TransactWriteItemsCommand({
        TransactItems: [
          { ConditionCheck: { TableName, Key: key("own#1"), ConditionExpression: "attribute_exists(pk)" } },
          { Put: { TableName, Item: key("own#4") } },
          { Delete: { TableName, Key: key("own#3") } },
        ],
      }),
    );
    expect(
      (await mine.send(new TransactGetItemsCommand({ TransactItems: [{ Get: { TableName, Key: key("own#4") } }] })))
        .Responses?.[0]?.Item,
    ).toBeDefined();
  });

  test("is denied another's by every way in, and nothing is written", async () => {
    const secret = key("login#ann");
    const touched = { ":p": S("login#ann") };
    for (const attempt of [
      () => mine.send(new GetItemCommand({ TableName, Key: secret })),
      () => mine.send(new PutItemCommand({ TableName, Item: { ...secret, data: S("mine") } })),
      () =>
        mine.send(
          new UpdateItemCommand({
            TableName,
            Key: secret,
            UpdateExpression: "SET x = :p",
            ExpressionAttributeValues: touched,
          }),
        ),
      () => mine.send(new DeleteItemCommand({ TableName, Key: secret })),
      () =>
        mine.send(
          new QueryCommand({ TableName, KeyConditionExpression: "pk = :p", ExpressionAttributeValues: touched }),
        ),
      () => mine.send(new BatchGetItemCommand({ RequestItems: { [TableName]: { Keys: [key("own#1"), secret] } } })),
      () =>
        mine.send(
          new BatchWriteItemCommand({
            RequestItems: { [TableName]: [{ PutRequest: { Item: key("own#1") } }, { DeleteRequest: { Key: secret } }] },
          }),
        ),
      () => mine.send(new TransactGetItemsCommand({ TransactItems: [{ Get: { TableName, Key: secret } }] })),
      () =>
        mine.send(
          new TransactWriteItemsCommand({
            TransactItems: [{ Put: { TableName, Item: key("own#9") } }, { Put: { TableName, Item: secret } }],
          }),
        ),
      () => mine.send(new ScanCommand({ TableName })),
    ]) {
      await expect(attempt()).rejects.toMatchObject(denied);
    }
    // A family it may read is not one it may write.
    await expect(mine.send(new PutItemCommand({ TableName, Item: key("shared#1") }))).rejects.toMatchObject(denied);
    expect((await root.send(new GetItemCommand({ TableName, Key: secret }))).Item?.["data"]).toEqual(S("login#ann"));
    expect((await root.send(new GetItemCommand({ TableName, Key: key("own#9") }))).Item).toBeUndefined();
  });

  test("needs one statement that covers every key of a batch, as on AWS", async () => {
    const apart = clientOf(split.credentials);
    const batch = (...keys: string[]) =>
      apart.send(new BatchGetItemCommand({ RequestItems: { [TableName]: { Keys: keys.map((pk) => key(pk)) } } }));
    expect((await batch("own#1")).Responses?.[TableName]).toHaveLength(1);
    expect((await batch("shared#1")).Responses?.[TableName]).toHaveLength(1);
    await expect(batch("own#1", "shared#1")).rejects.toMatchObject(denied);
  });

  test("is told what is missing", async () => {
    await expect(mine.send(new GetItemCommand({ TableName, Key: key("login#ann") }))).rejects.toThrow(
      `User: arn:aws:iam::111122223333:user/user is not authorized to perform: dynamodb:GetItem on resource: ${tableArn} because no identity-based policy allows the dynamodb:GetItem action`,
    );
  });
});

test("S-44 the proxy's role as the project grants it cannot mint, delete, scan or look at logins", async () => {
  expect((await proxy.send(new GetItemCommand({ TableName, Key: key("token#0") }))).Item).toBeUndefined();
  await proxy.send(
    new UpdateItemCommand({
      TableName,
      Key: key("spend#0"),
      UpdateExpression: "SET n = :n",
      ExpressionAttributeValues: { ":n": { N: "1" } },
    }),
  );
  for (const attempt of [
    () =>
      proxy.send(
        new UpdateItemCommand({
          TableName,
          Key: key("token#0"),
          UpdateExpression: "SET n = :n",
          ExpressionAttributeValues: { ":n": { N: "1" } },
        }),
      ),
    () => proxy.send(new PutItemCommand({ TableName, Item: key("key#0") })),
    () => proxy.send(new PutItemCommand({ TableName, Item: key("access#role") })),
    () => proxy.send(new GetItemCommand({ TableName, Key: key("login#ann") })),
    () => proxy.send(new DeleteItemCommand({ TableName, Key: key("session#0") })),
    () => proxy.send(new ScanCommand({ TableName })),
  ]) {
    await expect(attempt()).rejects.toMatchObject(denied);
  }
});

test("the server's own answers come through: conditions, cancellation reasons, old values", async () => {
  const Item = { ...key("own#c"), data: S("first") };
  await root.send(new PutItemCommand({ TableName, Item }));
  const again = new PutItemCommand({
    TableName,
    Item,
    ConditionExpression: "attribute_not_exists(pk)",
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  });
  await expect(root.send(again)).rejects.toMatchObject({ name: "ConditionalCheckFailedException", Item });
  const failing = new TransactWriteItemsCommand({
    TransactItems: [
      { Put: { TableName, Item: key("own#d") } },
      { ConditionCheck: { TableName, Key: key("own#c"), ConditionExpression: "attribute_not_exists(pk)" } },
    ],
  });
  await expect(root.send(failing)).rejects.toMatchObject({
    name: "TransactionCanceledException",
    CancellationReasons: [{ Code: "None" }, { Code: "ConditionalCheckFailed" }],
  });
  expect((await root.send(new GetItemCommand({ TableName, Key: key("own#d") }))).Item).toBeUndefined();
  await expect(root.send(new GetItemCommand({ TableName: "none", Key: key("a") }))).rejects.toMatchObject({
    name: "ResourceNotFoundException",
  });
});

test("other accounts and regions have no such table", async () => {
  const get = new GetItemCommand({ TableName, Key: key("own#1") });
  await expect(clientOf(theirs.credentials).send(get)).rejects.toMatchObject({ name: "ResourceNotFoundException" });
  await expect(clientOf(admin.credentials, "us-east-1").send(get)).rejects.toMatchObject({
    name: "ResourceNotFoundException",
  });
  await expect(
    clientOf(theirs.credentials).send(new GetItemCommand({ TableName: tableArn, Key: key("own#1") })),
  ).rejects.toMatchObject(denied);
});

test("a table whose keys could not be judged is not made", async () => {
  const other = new CreateTableCommand({
    TableName: "other",
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
  });
  await expect(root.send(other)).rejects.toMatchObject({ name: "ValidationException" });
});

test("what is sent on is what was checked, even when a member comes twice", async () => {
  const asked = async (...keys: string[]) => {
    const members = keys.map((pk) => `"Key":${JSON.stringify(key(pk))}`).join(",");
    const client = clientOf(user.credentials);
    client.middlewareStack.remove("contentLengthMiddleware");
    client.middlewareStack.add(
      (next) => (args) => {
        Object.assign(args.request as object, { body: `{"TableName":"${TableName}",${members}}` });
        return next(args);
      },
      { step: "build", priority: "low" },
    );
    return (await client.send(new GetItemCommand({ TableName, Key: key("none") }))).Item?.["data"];
  };
  expect(await asked("login#ann", "own#1")).toEqual(S("own#1"));
  await expect(asked("own#1", "login#ann")).rejects.toMatchObject(denied);
});

test("SQL over DynamoDB is not let through, even to an administrator", async () => {
  await expect(
    root.send(new ExecuteStatementCommand({ Statement: `SELECT * FROM "${TableName}"` })),
  ).rejects.toMatchObject({ name: "UnknownOperationException" });
});

test("a request signed with a wrong secret never reaches the server", async () => {
  const forged = clientOf({ ...admin.credentials, secretAccessKey: "wrong" });
  await expect(forged.send(new PutItemCommand({ TableName, Item: key("own#forged") }))).rejects.toMatchObject({
    name: "InvalidSignatureException",
  });
  expect((await root.send(new GetItemCommand({ TableName, Key: key("own#forged") }))).Item).toBeUndefined();
});

test("a lost answer has done its work, a throttled call has not", async () => {
  endpoint.fault.drop({ service: "dynamodb", operation: "PutItem" });
  await expect(root.send(new PutItemCommand({ TableName, Item: key("own#lost") }))).rejects.toThrow();
  expect((await root.send(new GetItemCommand({ TableName, Key: key("own#lost") }))).Item).toBeDefined();
  endpoint.fault.throttle({ service: "dynamodb", operation: "PutItem", rate: 0, burst: 0 });
  await expect(root.send(new PutItemCommand({ TableName, Item: key("own#slow") }))).rejects.toMatchObject({
    name: "ThrottlingException",
  });
  endpoint.fault.clear();
  expect((await root.send(new GetItemCommand({ TableName, Key: key("own#slow") }))).Item).toBeUndefined();
});
