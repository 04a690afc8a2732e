// S-44 and S-03 on the laptop, which enforces each role's true policy: what each principal must not do it is refused by AWS, with
// its own keys; and what opens one door opens no other.
import {
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { GetSecretValueCommand, PutSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { AssumeRoleCommand, STSClient } from "@aws-sdk/client-sts";
import { type Client, openClient } from "@sallyport/client/client";
import { type Principal, principals } from "@sallyport/core/permission";
import { secret } from "@sallyport/core/secret";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dialGate, doorOf, makeKey, proofOver, refused, showGate } from "./attack.ts";
import { logInAgain } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let ana: Client;
beforeAll(async () => {
  world = await openWorld();
  ana = await world.person("ana", ["dev"]);
});
afterAll(() => world?.close());

const clientOf = (principal: Principal) => {
  const { account, aws, region } = world.laptop;
  const { credentials } = account.session(`sallyport-${principal}`, { sessionName: "captured", lifetimeMs: 60_000 });
  return { endpoint: aws.url, region, credentials, maxAttempts: 1 };
};
const TableName = "sallyport";
const key = (pk: string) => ({ pk: { S: pk }, sk: { S: "x" } });
const get = (pk: string) => new GetItemCommand({ TableName, Key: key(pk) });
const put = (pk: string) => new PutItemCommand({ TableName, Item: { ...key(pk), v: { N: "1" } } });
const remove = (pk: string) => new DeleteItemCommand({ TableName, Key: key(pk) });
const update = (pk: string) =>
  new UpdateItemCommand({
    TableName,
    Key: key(pk),
    UpdateExpression: "SET a = :a",
    ExpressionAttributeValues: { ":a": { S: "b" } },
  });
const query = (pk: string) =>
  new QueryCommand({ TableName, KeyConditionExpression: "pk = :pk", ExpressionAttributeValues: { ":pk": { S: pk } } });
const accessDenied = expect.stringMatching(/^AccessDenied(Exception)?$/);

type TableCall =
  | ReturnType<typeof get>
  | ReturnType<typeof put>
  | ReturnType<typeof remove>
  | ReturnType<typeof update>
  | ReturnType<typeof query>
  | ScanCommand;
const deniedAtTable = async (principal: Principal, calls: readonly TableCall[]): Promise<void> => {
  const client = new DynamoDBClient(clientOf(principal));
  try {
    for (const call of calls)
      await expect(
        client.send(call as never),
        `${principal} ${call.constructor.name} ${JSON.stringify(call.input)}`,
      ).rejects.toMatchObject({ name: accessDenied });
  } finally {
    client.destroy();
  }
};

describe("S-44 with the keys of a captured", () => {
  it("proxy nobody mints, reads or removes what is not a proxy's", async () => {
    await deniedAtTable("proxy", [
      ...[
        "access#user",
        "access#role",
        "config#discovery",
        "token#x",
        "key#x",
        "login#ana",
        "database#",
        "epoch#",
        "trust#",
        "run#x",
      ].flatMap((pk) => [put(pk), update(pk)]),
      ...["login#ana", "key#x", "config#discovery", "run#x"].flatMap((pk) => [get(pk), query(pk)]),
      ...["session#p", "proxy#", "event#2026-01-01#00", "spend#x", "limit#ana", "access#user"].map(remove),
      new ScanCommand({ TableName }),
    ]);
    const client = new DynamoDBClient(clientOf("proxy"));
    await client.send(get("access#user"));
    client.destroy();
  });

  it("proxy no secret is read beyond the proxies' own, and none is written", async () => {
    const client = new SecretsManagerClient(clientOf("proxy"));
    const read = (SecretId: string, VersionStage = "AWSCURRENT") =>
      client.send(new GetSecretValueCommand({ SecretId, VersionStage }));
    await read("sallyport/proxy/cancel-key");
    for (const name of ["sallyport/other", "payroll/password", "sallyport/proxyx/key", "elsewhere/sallyport/proxy/x"])
      await expect(read(name), name).rejects.toMatchObject({ name: expect.stringMatching(/AccessDenied/) });
    await expect(read("sallyport/proxy/certificate", "AWSPENDING")).rejects.toMatchObject({
      name: expect.stringMatching(/AccessDenied/),
    });
    await expect(
      client.send(new PutSecretValueCommand({ SecretId: "sallyport/proxy/cancel-key", SecretString: "mine" })),
    ).rejects.toMatchObject({ name: accessDenied });
    client.destroy();
  });

  it("function of any kind nobody does another's work", async () => {
    const family = (...pks: readonly string[]) => pks.flatMap((pk) => [put(pk), update(pk), remove(pk)]);
    await deniedAtTable("discover", [
      ...family("access#user", "token#x", "key#x", "login#ana", "session#p", "spend#x", "trust#"),
      get("login#ana"),
      get("access#user"),
      query("token#x"),
    ]);
    await deniedAtTable("sweep", [
      ...family("access#user", "token#x", "key#x", "login#ana", "database#", "config#x", "trust#"),
      get("login#ana"),
      get("key#x"),
      query("access#user"),
    ]);
    await deniedAtTable("certify", [
      ...family("access#user", "token#x", "key#x", "login#ana", "database#", "session#p"),
      get("access#user"),
      get("key#x"),
    ]);
    await deniedAtTable("enable", [
      ...family("access#user", "token#x", "key#x", "login#ana", "database#", "epoch#"),
      get("login#ana"),
      get("access#user"),
    ]);
    await deniedAtTable("bootstrap", [
      ...family("token#x", "database#", "config#x", "session#p", "spend#x"),
      get("key#x"),
      get("login#ana"),
      query("access#user"),
    ]);
    await deniedAtTable("api", [
      ...family("database#", "session#p", "spend#x", "limit#x", "trust#", "run#x"),
      get("session#p"),
      remove("token#x"),
      remove("event#x"),
    ]);
    await deniedAtTable("probe", [get("access#user"), put("token#x"), query("database#")]);
    for (const principal of principals) await deniedAtTable(principal, [new ScanCommand({ TableName })]);
  });

  it("principal of any kind nobody becomes another one or starts bootstrap", async () => {
    for (const principal of principals) {
      const sts = new STSClient(clientOf(principal));
      const RoleArn = `arn:aws:iam::${world.laptop.account.id}:role/sallyport-${principal === "api" ? "bootstrap" : "api"}`;
      await expect(sts.send(new AssumeRoleCommand({ RoleArn, RoleSessionName: "x" })), principal).rejects.toMatchObject(
        { name: accessDenied },
      );
      sts.destroy();
      const lambda = new LambdaClient(clientOf(principal));
      await expect(
        lambda.send(new InvokeCommand({ FunctionName: "bootstrap", Payload: Buffer.from('{"user":"eve"}') })),
        principal,
      ).rejects.toMatchObject({ name: accessDenied });
      lambda.destroy();
    }
  });
});

it("S-03 what opens one door opens no other: session, invitation, bearer and bound token, cancel key and token id, each shown everywhere", async () => {
  const { laptop } = world;
  const again = await logInAgain(world, "ana");
  const bearer = await world.bearer(again.client);
  const mine = makeKey();
  const bound = await again.client.call("connect", {
    database: "orders",
    user: "reader",
    name: "orders",
    key: mine.spki,
  });
  const { invite } = await world.admin.call("invite", { user: "zoe", roles: ["dev"] });
  const shown: Readonly<Record<string, string>> = {
    session: again.token,
    bearer: bearer.token,
    bound: bound.token,
    invitation: invite,
    id: bearer.id,
    cancel: "00".repeat(32),
  };
  for (const [name, token] of Object.entries(shown)) {
    if (name !== "session") {
      const api = openClient({ api: laptop.api, token: secret(token) });
      await expect(api.call("status", {}), name).rejects.toMatchObject({ code: "not_logged_in" });
      await expect(api.call("connect", { database: "orders" }), name).rejects.toMatchObject({ code: "not_logged_in" });
    }
    if (name !== "invitation")
      await expect(
        openClient({ api: laptop.api }).call("acceptInvite", { invite: token, password: "a long enough one" }),
        name,
      ).rejects.toThrow();
    await expect(
      openClient({ api: laptop.api }).call("login", { user: "ana", password: token }),
      name,
    ).rejects.toMatchObject({ code: "not_logged_in" });
    if (name !== "bearer")
      expect(await refused({ ...doorOf(laptop, bearer), password: token }), name).toMatchObject({ code: "28P01" });
    if (name !== "bound") {
      const gate = await dialGate(laptop, bound.gate.ca ?? "");
      const answer = await showGate(gate, {
        token,
        key: mine.spki,
        proof: proofOver(gate, token, mine.privateKey),
        as: "127.0.0.1:1",
      });
      expect(answer, name).toMatchObject({ code: "bad_token" });
      gate.destroy();
    }
  }
  // and each still opens its own
  expect((await again.client.call("status", {})).user).toBe("ana");
  expect(ana).toBeDefined();
});
