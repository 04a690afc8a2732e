// The one endpoint: nothing reaches an operation without a valid signature and a permission, and things go wrong only as told.
import { request as httpRequest } from "node:http";
import * as rdsModule from "@aws-sdk/client-rds";
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  ListSecretsCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { openAccount } from "@sallyport/local/account";
import { operation, sdkApi, unused } from "@sallyport/local/api";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { openSecretsManager } from "@sallyport/local/services/secrets-manager";
import { openSts } from "@sallyport/local/services/sts";
import { beforeEach, describe, expect, test, vi } from "vitest";

const { DescribeDBInstancesCommand, RDSClient } = rdsModule;
const clock = { now: 0 };
const now = () => clock.now;
const account = openAccount({ now });
const admin = account.addUser({ name: "admin", statements: [{ actions: ["*"], resources: ["*"] }] });
const nobody = account.addUser({ name: "nobody" });
const ran: unknown[] = [];
const counting = () =>
  sdkApi({
    name: "rds",
    client: new rdsModule.RDSClient(unused),
    module: rdsModule,
    operations: {
      DescribeDBInstances: operation<rdsModule.DescribeDBInstancesMessage>({
        needs: () => [{ action: "rds:DescribeDBInstances", resource: "arn:aws:rds:eu-west-1:111122223333:db:*" }],
        run(input) {
          ran.push(input);
          if (input.DBInstanceIdentifier === "crash") throw new Error("canary-of-the-inside");
          return { DBInstances: [] };
        },
      }),
    },
  });

let endpoint: Endpoint;
const open: { destroy(): void }[] = [];
beforeEach(async () => {
  clock.now = Date.now();
  ran.length = 0;
  endpoint = await openEndpoint({
    accounts: [account],
    services: [counting(), openSts([account]), openSecretsManager()],
    now,
  });
  return async () => {
    for (const client of open.splice(0)) client.destroy();
    await endpoint.close();
  };
});
const kept = <Client extends { destroy(): void }>(client: Client): Client => {
  open.push(client);
  return client;
};
const config = (credentials = admin.credentials, maxAttempts = 1) => ({
  endpoint: endpoint.url,
  region: "eu-west-1",
  credentials,
  maxAttempts,
});
const describeInstances = (credentials = admin.credentials, input: rdsModule.DescribeDBInstancesCommandInput = {}) =>
  kept(new RDSClient(config(credentials))).send(new DescribeDBInstancesCommand(input));

const post = (headers: Record<string, string>, body: string | Buffer, path = "/") =>
  new Promise<{ status: number; body: string }>((resolve, reject) => {
    const outgoing = httpRequest(
      endpoint.url + path,
      { method: "POST", headers: { ...headers, "content-length": Buffer.byteLength(body) } },
      (answer) => {
        answer.setEncoding("utf8");
        let text = "";
        answer.on("data", (chunk: string) => {
          text += chunk;
        });
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body: text }));
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
const form = { "content-type": "application/x-www-form-urlencoded" };
const action = "Action=DescribeDBInstances&Version=2014-10-31";

describe("nothing runs without a valid signature", () => {
  test("an unsigned request is refused", async () => {
    expect(await post(form, action)).toMatchObject({
      status: 403,
      body: expect.stringContaining("<Code>MissingAuthenticationToken</Code>"),
    });
    const json = await post(
      { "x-amz-target": "secretsmanager.GetSecretValue", "content-type": "application/x-amz-json-1.1" },
      '{"SecretId":"a"}',
    );
    expect(JSON.parse(json.body)).toMatchObject({ __type: "MissingAuthenticationTokenException" });
    expect(ran).toEqual([]);
  });

  test("a request signed with another secret, key or session is refused", async () => {
    const wrong = { ...admin.credentials, secretAccessKey: "wrong" };
    await expect(describeInstances(wrong)).rejects.toMatchObject({
      name: "SignatureDoesNotMatch",
      $metadata: { httpStatusCode: 403 },
    });
    await expect(describeInstances({ ...admin.credentials, accessKeyId: "AKIANOBODY" })).rejects.toMatchObject({
      name: "InvalidClientTokenId",
    });
    await expect(describeInstances({ ...admin.credentials, sessionToken: "x" })).rejects.toMatchObject({
      name: "InvalidClientTokenId",
    });
    expect(ran).toEqual([]);
    expect(endpoint.calls().every((call) => call.arn === undefined)).toBe(true);
  });

  const tampered = (change: (request: { body: string; headers: Record<string, string> }) => void) => {
    const client = kept(new RDSClient(config()));
    client.middlewareStack.add(
      (next) => (args) => {
        change(args.request as Parameters<typeof change>[0]);
        return next(args);
      },
      { step: "finalizeRequest", priority: "low" },
    );
    return client.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: "orders" }));
  };

  test("a body changed under way is refused", async () => {
    const attempt = tampered((request) => {
      request.body = request.body.replace("orders", "ledger");
    });
    await expect(attempt).rejects.toMatchObject({ name: "SignatureDoesNotMatch" });
    expect(ran).toEqual([]);
  });

  test("a request for another service than it is signed for is refused", async () => {
    const attempt = tampered((request) => {
      request.headers["authorization"] = request.headers["authorization"]?.replace("/rds/", "/sts/") ?? "";
    });
    await expect(attempt).rejects.toThrow(/correct service: &#39;rds&#39;|correct service: 'rds'/);
    expect(ran).toEqual([]);
  });

  test("garbage gets an answer and runs nothing", async () => {
    for (const [headers, body] of [
      [{}, ""],
      [form, "Action=DescribeDBInstances&Version=2014-10-31&Filters.a.b=1&Filters=2"],
      [form, `${action}&${"a.".repeat(100)}b=1`],
      [{ "x-amz-target": "secretsmanager." }, "{"],
      [{ ...form, authorization: "AWS4-HMAC-SHA256 nonsense" }, action],
      [{ ...form, authorization: "Basic eDp5" }, action],
    ] as const) {
      expect((await post(headers, body)).status).toBeGreaterThanOrEqual(400);
    }
    expect(ran).toEqual([]);
  });

  test("S-23 a body over the limit is refused before it is read", async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { ...form, "content-length": 17 * 1024 * 1024 };
      const outgoing = httpRequest(endpoint.url, { method: "POST", headers }, (answer) => {
        resolve(answer.statusCode);
        outgoing.destroy();
      });
      outgoing.on("error", reject);
      outgoing.flushHeaders();
    });
    expect(status).toBe(413);
    expect(ran).toEqual([]);
  });
});

test("S-01 nothing runs without a permission, and the refusal reads like AWS's", async () => {
  await expect(describeInstances(nobody.credentials)).rejects.toMatchObject({
    name: "AccessDenied",
    $metadata: { httpStatusCode: 403 },
    message:
      "User: arn:aws:iam::111122223333:user/nobody is not authorized to perform: rds:DescribeDBInstances on resource: arn:aws:rds:eu-west-1:111122223333:db:* because no identity-based policy allows the rds:DescribeDBInstances action",
  });
  const vault = kept(new SecretsManagerClient(config(nobody.credentials)));
  await expect(vault.send(new GetSecretValueCommand({ SecretId: "a" }))).rejects.toMatchObject({
    name: "AccessDeniedException",
    $metadata: { httpStatusCode: 400 },
  });
  expect(ran).toEqual([]);
});

test("another account's resource is refused, whatever the policy says", async () => {
  const vault = kept(new SecretsManagerClient(config()));
  const SecretId = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:a-abcdef";
  await expect(vault.send(new GetSecretValueCommand({ SecretId }))).rejects.toThrow(/no resource-based policy allows/);
});

test("an operation that is not in the table is refused even to an administrator", async () => {
  const vault = kept(new SecretsManagerClient(config()));
  await expect(vault.send(new ListSecretsCommand({}))).rejects.toMatchObject({ name: "UnknownOperationException" });
});

test("a policy that cannot be judged refuses, and says nothing", async () => {
  const odd = account.addUser({
    name: "odd",
    statements: [{ actions: ["*"], resources: ["*"], conditions: { DateLessThan: { "aws:userid": "x" } } }],
  });
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  await expect(describeInstances(odd.credentials)).rejects.toMatchObject({
    name: "InternalFailure",
    $metadata: { httpStatusCode: 500 },
  });
  expect(String(warned.mock.calls[0]?.[0])).toContain("DateLessThan");
  warned.mockRestore();
  expect(ran).toEqual([]);
});

test("an error inside never leaves the account", async () => {
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  const error: unknown = await describeInstances(admin.credentials, { DBInstanceIdentifier: "crash" }).catch(
    (thrown: unknown) => thrown,
  );
  warned.mockRestore();
  expect(error).toMatchObject({ name: "InternalFailure" });
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error)) + JSON.stringify(endpoint.calls())).not.toContain(
    "canary",
  );
});

test("the calls tell who did what where, and never a secret", async () => {
  const vault = kept(new SecretsManagerClient(config()));
  await vault.send(new CreateSecretCommand({ Name: "a", SecretString: "canary-value" }));
  await vault.send(new GetSecretValueCommand({ SecretId: "none" })).catch(() => undefined);
  expect(endpoint.calls()).toMatchObject([
    {
      at: clock.now,
      service: "secretsmanager",
      operation: "CreateSecret",
      region: "eu-west-1",
      arn: admin.user.arn,
      actions: ["secretsmanager:CreateSecret"],
    },
    { operation: "GetSecretValue", error: "ResourceNotFoundException" },
  ]);
  const told = JSON.stringify(endpoint.calls());
  for (const secret of ["canary-value", admin.credentials.secretAccessKey]) expect(told).not.toContain(secret);
});

test("SDK clients follow the account's clock", async () => {
  clock.now += 30 * 86_400_000;
  const client = kept(new RDSClient(config(admin.credentials, 2)));
  await client.send(new DescribeDBInstancesCommand({}));
  expect(ran).toHaveLength(1);
});

describe("throttling", () => {
  test("lets a burst through, then the rate, per operation and in the service's words", async () => {
    endpoint.fault.throttle({ service: "rds", operation: "DescribeDBInstances", rate: 1, burst: 2 });
    await describeInstances();
    await describeInstances();
    await expect(describeInstances()).rejects.toMatchObject({ name: "Throttling", message: "Rate exceeded" });
    clock.now += 1000;
    await describeInstances();
    expect(ran).toHaveLength(3);
    endpoint.fault.throttle({ service: "secretsmanager", rate: 0, burst: 0 });
    const vault = kept(new SecretsManagerClient(config()));
    await expect(vault.send(new GetSecretValueCommand({ SecretId: "a" }))).rejects.toMatchObject({
      name: "ThrottlingException",
    });
  });

  test("is retried by an SDK client", async () => {
    endpoint.fault.fail({ service: "rds", code: "Throttling", message: "Rate exceeded", status: 400, times: 1 });
    await kept(new RDSClient(config(admin.credentials, 2))).send(new DescribeDBInstancesCommand({}));
    expect(endpoint.calls().map((call) => call.error)).toEqual(["Throttling", undefined]);
  });
});

describe("faults", () => {
  test("the next calls of one operation fail as told, before any work, and only those", async () => {
    endpoint.fault.fail({
      service: "rds",
      operation: "DescribeDBInstances",
      code: "ServiceUnavailable",
      status: 503,
      times: 2,
    });
    await kept(new STSClient(config())).send(new GetCallerIdentityCommand({}));
    for (const _ of [1, 2])
      await expect(describeInstances()).rejects.toMatchObject({
        name: "ServiceUnavailable",
        $metadata: { httpStatusCode: 503 },
      });
    expect(ran).toHaveLength(0);
    await describeInstances();
    expect(ran).toHaveLength(1);
  });

  test("an answer can be lost after the work was done", async () => {
    const vault = kept(new SecretsManagerClient(config()));
    await vault.send(new CreateSecretCommand({ Name: "a", SecretString: "one" }));
    endpoint.fault.drop({ service: "secretsmanager", operation: "PutSecretValue" });
    await expect(vault.send(new PutSecretValueCommand({ SecretId: "a", SecretString: "two" }))).rejects.toThrow();
    expect((await vault.send(new GetSecretValueCommand({ SecretId: "a" }))).SecretString).toBe("two");
  });

  test("a call can be held until released", async () => {
    const held = endpoint.fault.hold({ service: "rds" });
    const answer = describeInstances();
    await held.arrived;
    expect(ran).toHaveLength(0);
    held.release();
    await answer;
    expect(ran).toHaveLength(1);
  });

  test("a call can be slow", async () => {
    endpoint.fault.delay({ service: "rds", delayMs: 30 });
    const started = performance.now();
    await describeInstances();
    expect(performance.now() - started).toBeGreaterThanOrEqual(29);
  });

  test("clearing forgets them all, and lets the held go", async () => {
    const held = endpoint.fault.hold({ service: "rds" });
    const answer = describeInstances();
    await held.arrived;
    endpoint.fault.fail({ service: "rds", code: "X" });
    endpoint.fault.throttle({ service: "rds", rate: 0, burst: 0 });
    endpoint.fault.clear();
    await answer;
    await describeInstances();
    expect(ran).toHaveLength(2);
  });
});
