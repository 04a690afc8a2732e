// The discover job as it runs on AWS: real clients, a real table, and exactly the permissions that the function has.
import { randomBytes } from "node:crypto";
import { CreateTableCommand } from "@aws-sdk/client-dynamodb";
import { openKinds } from "@sallyport/aws/kinds";
import { openTable, tableClient, tableKey } from "@sallyport/aws/table";
import { Database } from "@sallyport/core/database";
import { discover } from "@sallyport/core/discovery";
import { epochOf } from "@sallyport/core/epoch";
import { keys, readAll, toItem } from "@sallyport/core/family";
import { statementsFor } from "@sallyport/core/permission";
import type { Store } from "@sallyport/core/ports";
import { openAccount } from "@sallyport/local/account";
import { type Dynamodb, openDynamodb } from "@sallyport/local/services/dynamodb";
import { openRds, type Rds } from "@sallyport/local/services/rds";
import { openSts } from "@sallyport/local/services/sts";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Laptop, openLaptop } from "./laptop.ts";

const region = "eu-west-1";
const accountId = "111122223333";
const where = { accountId, region };
const name = "sallyport";
const deployment = {
  partition: "aws",
  account: accountId,
  region,
  tableArn: `arn:aws:dynamodb:${region}:${accountId}:table/${name}`,
  discoverArn: `arn:aws:lambda:${region}:${accountId}:function:discover`,
  secretPrefix: "sallyport",
  assumable: [],
};
let laptop: Laptop;
let rds: Rds;
let dynamodb: Dynamodb;
let clients: ReturnType<typeof tableClient>[];
let admin: Store;
let run: () => ReturnType<typeof discover>;

beforeEach(async () => {
  rds = openRds();
  dynamodb = await openDynamodb(where);
  const accounts = [openAccount({ id: accountId })];
  laptop = await openLaptop([rds.api, openSts(accounts), dynamodb.api], accounts);
  const everything = tableClient(laptop.as("admin", [{ actions: ["dynamodb:*"], resources: ["*"] }]));
  const connection = laptop.as("discover", statementsFor("discover", deployment, ["rds", "aurora"]));
  const own = tableClient(connection);
  clients = [everything, own];
  await everything.send(
    new CreateTableCommand({
      TableName: name,
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [
        { AttributeName: tableKey.partition, KeyType: "HASH" },
        { AttributeName: tableKey.sort, KeyType: "RANGE" },
      ],
      AttributeDefinitions: [tableKey.partition, tableKey.sort].map((AttributeName) => ({
        AttributeName,
        AttributeType: "S" as const,
      })),
    }),
  );
  admin = openTable({ name, client: everything });
  const clock = { now: Date.now };
  const kinds = openKinds({ clock, connection });
  const store = openTable({ name, client: own });
  run = () => discover({ store, kinds, clock, random: { bytes: randomBytes } });
  const config = { name: "all", createdAt: 1, createdBy: "root", revision: 1 };
  const spec = { aws: [{ types: ["rds"], regions: [region], tags: { env: "dev" } }] };
  await admin.write({ put: toItem(keys.discoveryConfig("all"), { ...config, spec }) });
});
afterEach(async () => {
  for (const client of clients ?? []) client.destroy();
  await laptop?.[Symbol.asyncDispose]();
  await dynamodb?.close();
});

const databases = () => readAll(admin, Database, "database#");
const epoch = async () => epochOf(await admin.get(keys.epoch()));

it("finds tagged databases, writes them once, keeps them through failures and removes what is gone", async () => {
  rds.addInstance(where, { id: "orders", tags: { env: "dev" } });
  rds.addInstance(where, { id: "secret", tags: { env: "prod" } });
  rds.addCluster(where, { id: "shop", tags: { env: "dev" } });
  rds.addInstance(where, { id: "shop-1", cluster: "shop", tags: { env: "dev" } });
  rds.addInstance(where, { id: "shop-2", cluster: "shop", tags: { env: "dev" } });

  expect((await run()).map(({ listing, complete, found, error }) => ({ listing, complete, found, error }))).toEqual([
    { listing: "rds/eu-west-1/self", complete: true, found: 1, error: undefined },
    { listing: "aurora/eu-west-1/self", complete: true, found: 2, error: undefined },
  ]);
  expect((await databases()).map((database) => [database.name, database.endpoint.port])).toEqual([
    ["orders-rds-eu-west-1-111122223333", 5432],
    ["shop-rds-aurora-eu-west-1-111122223333", 5432],
    ["shop-reader-rds-aurora-eu-west-1-111122223333", 5432],
  ]);
  expect(await epoch()).toBe(3);

  expect((await run()).flatMap(({ written, removed }) => [...written, ...removed])).toEqual([]);
  expect(await epoch()).toBe(3);

  rds.remove(where, "orders");
  rds.setStatus(where, "shop", "stopped");
  laptop.endpoint.fault.fail({
    service: "rds",
    operation: "DescribeDBInstances",
    code: "AccessDenied",
    status: 403,
    times: 4,
  });
  for (let count = 0; count < 2; count++)
    expect((await run()).map(({ complete, removed, error }) => [complete, removed, error !== undefined])).toEqual([
      [false, [], true],
      [false, [], true],
    ]);
  expect(await databases()).toHaveLength(3);

  expect((await run()).flatMap(({ written }) => written)).toHaveLength(2);
  expect((await databases()).map(({ status }) => status)).toEqual(["available", "unavailable", "unavailable"]);
  expect((await run()).flatMap(({ removed }) => removed)).toEqual(["orders-rds-eu-west-1-111122223333"]);
  expect(await epoch()).toBe(6);
  expect((await admin.list("run#discovery")).items).toHaveLength(2);
});
