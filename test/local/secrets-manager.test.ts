// Secrets Manager's semantics with the real client: what rotation leans on, and where AWS says no.
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  RestoreSecretCommand,
  SecretsManagerClient,
  TagResourceCommand,
  UpdateSecretCommand,
  UpdateSecretVersionStageCommand,
} from "@aws-sdk/client-secrets-manager";
import { openAccount } from "@sallyport/local/account";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { openSecretsManager } from "@sallyport/local/services/secrets-manager";
import { beforeEach, describe, expect, test } from "vitest";

const day = 86_400_000;
const clock = { now: 0 };
const now = () => clock.now;
const account = openAccount({ now });
const { credentials } = account.addUser({
  name: "ann",
  statements: [{ actions: ["secretsmanager:*"], resources: ["*"] }],
});
const token = (digit: number) => String(digit).repeat(32);
const SecretId = "sallyport/orders";

let endpoint: Endpoint;
let client: SecretsManagerClient;
beforeEach(async () => {
  clock.now = Date.now();
  endpoint = await openEndpoint({ accounts: [account], services: [openSecretsManager()], now });
  client = clientOf(credentials);
  return async () => {
    client.destroy();
    await endpoint.close();
  };
});
const clientOf = (keys: typeof credentials) =>
  new SecretsManagerClient({ endpoint: endpoint.url, region: "eu-west-1", credentials: keys, maxAttempts: 2 });

const create = (SecretString: string | undefined = "one", ClientRequestToken = token(1)) =>
  client.send(new CreateSecretCommand({ Name: SecretId, SecretString, ClientRequestToken }));
const put = (digit: number, SecretString: string, ...VersionStages: string[]) =>
  client.send(
    new PutSecretValueCommand({
      SecretId,
      SecretString,
      ClientRequestToken: token(digit),
      ...(VersionStages.length > 0 && { VersionStages }),
    }),
  );
const get = async (by: { VersionStage?: string; VersionId?: string } = {}) =>
  (await client.send(new GetSecretValueCommand({ SecretId, ...by }))).SecretString;
const stages = async () => (await client.send(new DescribeSecretCommand({ SecretId }))).VersionIdsToStages;
const move = (VersionStage: string, from: number | undefined, to: number | undefined) =>
  client.send(
    new UpdateSecretVersionStageCommand({
      SecretId,
      VersionStage,
      ...(from !== undefined && { RemoveFromVersionId: token(from) }),
      ...(to !== undefined && { MoveToVersionId: token(to) }),
    }),
  );

describe("versions", () => {
  test("the first is current, and its ARN ends in six characters", async () => {
    const made = await create();
    expect(made.ARN).toMatch(/^arn:aws:secretsmanager:eu-west-1:111122223333:secret:sallyport\/orders-\w{6}$/);
    expect(await stages()).toEqual({ [token(1)]: ["AWSCURRENT"] });
    expect((await client.send(new GetSecretValueCommand({ SecretId: made.ARN ?? "" }))).SecretString).toBe("one");
    expect(
      (await client.send(new GetSecretValueCommand({ SecretId: made.ARN?.slice(0, -7) ?? "" }))).SecretString,
    ).toBe("one");
  });

  test("the first is current even when it was put as pending", async () => {
    await client.send(new CreateSecretCommand({ Name: SecretId }));
    await expect(get()).rejects.toMatchObject({ name: "ResourceNotFoundException" });
    await put(1, "one", "AWSPENDING");
    expect((await stages())?.[token(1)]?.toSorted()).toEqual(["AWSCURRENT", "AWSPENDING"]);
  });

  test("a put without labels becomes current, and the one before previous", async () => {
    await create();
    await put(2, "two");
    await put(3, "three");
    expect(await stages()).toEqual({ [token(2)]: ["AWSPREVIOUS"], [token(3)]: ["AWSCURRENT"] });
    expect([await get(), await get({ VersionStage: "AWSPREVIOUS" }), await get({ VersionId: token(1) })]).toEqual([
      "three",
      "two",
      "one",
    ]);
  });

  test("AWSPENDING is on one version only", async () => {
    await create();
    await put(2, "two", "AWSPENDING");
    await put(3, "three", "AWSPENDING");
    expect(await stages()).toEqual({ [token(1)]: ["AWSCURRENT"], [token(3)]: ["AWSPENDING"] });
  });

  test("the same put again is the same version; other data under its token is refused", async () => {
    await create();
    await put(2, "two", "AWSPENDING");
    expect((await put(2, "two", "AWSPENDING")).VersionId).toBe(token(2));
    await expect(put(2, "other", "AWSPENDING")).rejects.toMatchObject({ name: "ResourceExistsException" });
    await expect(put(1, "other")).rejects.toMatchObject({ name: "ResourceExistsException" });
    const binary = new PutSecretValueCommand({
      SecretId,
      SecretBinary: Buffer.from("two"),
      ClientRequestToken: token(2),
    });
    await expect(client.send(binary)).rejects.toMatchObject({ name: "ResourceExistsException" });
    expect(await get({ VersionStage: "AWSPENDING" })).toBe("two");
  });

  test("a version and a label that are not together are refused", async () => {
    await create();
    await put(2, "two");
    expect(await get({ VersionId: token(1), VersionStage: "AWSPREVIOUS" })).toBe("one");
    await expect(get({ VersionId: token(1), VersionStage: "AWSCURRENT" })).rejects.toMatchObject({
      name: "InvalidRequestException",
    });
    await expect(get({ VersionStage: "AWSPENDING" })).rejects.toMatchObject({ name: "ResourceNotFoundException" });
  });

  test("bytes come back as bytes", async () => {
    await client.send(new CreateSecretCommand({ Name: SecretId, SecretBinary: new Uint8Array([0, 255, 1]) }));
    expect([...((await client.send(new GetSecretValueCommand({ SecretId }))).SecretBinary ?? [])]).toEqual([0, 255, 1]);
  });

  test("a hundred are kept; older ones without a label go after a day", async () => {
    await create();
    for (let at = 2; at <= 100; at++)
      await client.send(new PutSecretValueCommand({ SecretId, SecretString: `v${at}` }));
    const one = () => client.send(new PutSecretValueCommand({ SecretId, SecretString: "more" }));
    await expect(one()).rejects.toMatchObject({ name: "LimitExceededException" });
    clock.now += day + 1;
    await one();
    await expect(get({ VersionId: token(1) })).rejects.toMatchObject({ name: "ResourceNotFoundException" });
  });
});

describe("moving labels", () => {
  beforeEach(async () => {
    await create();
    await put(2, "two", "AWSPENDING");
  });

  test("moving AWSCURRENT moves AWSPREVIOUS behind it", async () => {
    await move("AWSCURRENT", 1, 2);
    expect(await stages()).toEqual({
      [token(1)]: ["AWSPREVIOUS"],
      [token(2)]: expect.arrayContaining(["AWSCURRENT", "AWSPENDING"]),
    });
    await move("AWSPENDING", 2, undefined);
    expect(await stages()).toEqual({ [token(1)]: ["AWSPREVIOUS"], [token(2)]: ["AWSCURRENT"] });
  });

  test("is a compare-and-swap: of two, one wins", async () => {
    await put(3, "three", "OTHER");
    const outcomes = await Promise.allSettled([move("AWSCURRENT", 1, 2), move("AWSCURRENT", 1, 3)]);
    expect(outcomes.map((outcome) => outcome.status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });

  test.each<[string, string, number | undefined, number | undefined, RegExp]>([
    ["without naming the holder", "AWSCURRENT", undefined, 2, /RemoveFromVersionId can't be empty/],
    ["from one that does not hold it", "AWSPENDING", 1, 2, /not currently attached/],
    ["off every version, when it is AWSCURRENT", "AWSCURRENT", 1, undefined, /completely removed/],
    ["to nowhere from nowhere", "AWSPENDING", undefined, undefined, /either/],
  ])("is refused %s", async (_, label, from, to, message) => {
    await expect(move(label, from, to)).rejects.toMatchObject({
      name: "InvalidParameterException",
      message: expect.stringMatching(message),
    });
    expect(await stages()).toEqual({ [token(1)]: ["AWSCURRENT"], [token(2)]: ["AWSPENDING"] });
  });

  test("is refused to a version that is not there", async () => {
    await expect(move("AWSCURRENT", 1, 9)).rejects.toMatchObject({ name: "ResourceNotFoundException" });
  });

  test("to where it already is does nothing", async () => {
    await move("AWSPENDING", undefined, 2);
    expect(await stages()).toEqual({ [token(1)]: ["AWSCURRENT"], [token(2)]: ["AWSPENDING"] });
  });
});

describe("secrets", () => {
  test("creating one twice is refused, unless it is the same request", async () => {
    await create();
    expect((await create()).VersionId).toBe(token(1));
    await expect(create("other")).rejects.toMatchObject({ name: "ResourceExistsException" });
    await expect(create("one", token(2))).rejects.toMatchObject({ name: "ResourceExistsException" });
  });

  test("a deleted one can be restored within its window, and is gone after it", async () => {
    await create();
    await client.send(new DeleteSecretCommand({ SecretId, RecoveryWindowInDays: 7 }));
    await expect(get()).rejects.toMatchObject({ name: "InvalidRequestException" });
    await expect(put(2, "two")).rejects.toMatchObject({ name: "InvalidRequestException" });
    await expect(create()).rejects.toThrow(/scheduled for deletion/);
    expect((await client.send(new DescribeSecretCommand({ SecretId }))).DeletedDate).toBeInstanceOf(Date);
    await client.send(new RestoreSecretCommand({ SecretId }));
    expect(await get()).toBe("one");
    await client.send(new DeleteSecretCommand({ SecretId, RecoveryWindowInDays: 7 }));
    clock.now += 7 * day;
    await expect(get()).rejects.toMatchObject({ name: "ResourceNotFoundException" });
    await expect(client.send(new RestoreSecretCommand({ SecretId }))).rejects.toMatchObject({
      name: "ResourceNotFoundException",
    });
    expect((await create("again")).Name).toBe(SecretId);
  });

  test("one can be deleted at once", async () => {
    await create();
    await client.send(new DeleteSecretCommand({ SecretId, ForceDeleteWithoutRecovery: true }));
    await expect(get()).rejects.toMatchObject({ name: "ResourceNotFoundException" });
  });

  test("UpdateSecret changes the description alone, or the value too", async () => {
    await create();
    await client.send(new UpdateSecretCommand({ SecretId, Description: "orders" }));
    expect(await client.send(new DescribeSecretCommand({ SecretId }))).toMatchObject({
      Description: "orders",
      VersionIdsToStages: { [token(1)]: ["AWSCURRENT"] },
    });
    await client.send(new UpdateSecretCommand({ SecretId, SecretString: "two", ClientRequestToken: token(2) }));
    expect(await get()).toBe("two");
  });

  test("no answer but the value's own contains the value", async () => {
    const canary = "canary-7f3a9";
    const answers = [
      await create(canary),
      await put(2, `${canary}-2`),
      await client.send(new DescribeSecretCommand({ SecretId })),
      endpoint.calls(),
    ];
    expect(JSON.stringify(answers)).not.toContain(canary);
  });

  test.each<[string, object, string]>([
    [
      "both a string and bytes",
      { Name: "x", SecretString: "a", SecretBinary: Buffer.from("a") },
      "InvalidParameterException",
    ],
    ["a short token", { Name: "x", SecretString: "a", ClientRequestToken: "short" }, "InvalidParameterException"],
    ["a name with a space", { Name: "a b", SecretString: "a" }, "ValidationException"],
    ["a value too long", { Name: "x", SecretString: "a".repeat(65_537) }, "ValidationException"],
    ["no name", {}, "ValidationException"],
    ["a name that is not a string", { Name: 5 }, "SerializationException"],
  ])("creating is refused with %s", async (_, input, name) => {
    await expect(client.send(new CreateSecretCommand(input as { Name: string }))).rejects.toMatchObject({ name });
  });
});

describe("permissions", () => {
  const as = async (actions: string[], resources: string[], conditions?: Record<string, Record<string, string>>) => {
    const user = account.addUser({
      name: `u${Math.random().toString(36).slice(2)}`,
      statements: [{ actions, resources, ...(conditions && { conditions }) }],
    });
    return clientOf(user.credentials);
  };
  const prefix = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:sallyport/*"];

  test("hold on the prefix and nothing beside it", async () => {
    const limited = await as(["secretsmanager:CreateSecret", "secretsmanager:GetSecretValue"], prefix);
    await limited.send(new CreateSecretCommand({ Name: "sallyport/a", SecretString: "a" }));
    expect((await limited.send(new GetSecretValueCommand({ SecretId: "sallyport/a" }))).SecretString).toBe("a");
    await expect(limited.send(new CreateSecretCommand({ Name: "other/a", SecretString: "a" }))).rejects.toMatchObject({
      name: "AccessDeniedException",
    });
    await expect(
      limited.send(new PutSecretValueCommand({ SecretId: "sallyport/a", SecretString: "b" })),
    ).rejects.toMatchObject({ name: "AccessDeniedException" });
    limited.destroy();
  });

  test("creating with tags needs TagResource, with a key the key's", async () => {
    const limited = await as(["secretsmanager:CreateSecret"], prefix);
    const Tags = [{ Key: "a", Value: "b" }];
    await expect(
      limited.send(new CreateSecretCommand({ Name: "sallyport/a", SecretString: "a", Tags })),
    ).rejects.toThrow(/secretsmanager:TagResource/);
    await expect(
      limited.send(new CreateSecretCommand({ Name: "sallyport/a", SecretString: "a", KmsKeyId: "k" })),
    ).rejects.toThrow(/kms:GenerateDataKey/);
    limited.destroy();
  });

  test("S-44 a secret with a key of its own is read and written by whoever may use that key, for this secret", async () => {
    const key = "arn:aws:kms:eu-west-1:111122223333:key/k";
    const may = (name: string, actions: string[], secret: string) =>
      account.addUser({
        name,
        statements: [
          { actions: ["secretsmanager:*"], resources: ["*"] },
          {
            actions,
            resources: [key],
            conditions: {
              StringEquals: { "kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com" },
              StringLike: { "kms:EncryptionContext:SecretARN": `arn:aws:secretsmanager:*:*:secret:${secret}*` },
            },
          },
        ],
      }).credentials;
    const writer = clientOf(may("key-writer", ["kms:GenerateDataKey", "kms:Decrypt"], SecretId));
    const reader = clientOf(may("key-reader", ["kms:Decrypt"], SecretId));
    const stranger = clientOf(may("key-stranger", ["kms:Decrypt"], "sallyport/other"));
    await writer.send(new CreateSecretCommand({ Name: SecretId, SecretString: "one", KmsKeyId: key }));
    const read = (by: SecretsManagerClient) => by.send(new GetSecretValueCommand({ SecretId }));
    const write = (by: SecretsManagerClient) => by.send(new PutSecretValueCommand({ SecretId, SecretString: "two" }));
    expect((await read(reader)).SecretString).toBe("one");
    await expect(write(reader)).rejects.toThrow(/kms:GenerateDataKey/);
    await write(writer);
    await expect(read(stranger)).rejects.toThrow(/kms:Decrypt/);
    await expect(read(client)).rejects.toMatchObject({ name: "AccessDeniedException" });
    // back under the key that is everybody's
    await writer.send(new UpdateSecretCommand({ SecretId, KmsKeyId: "alias/aws/secretsmanager" }));
    expect((await read(client)).SecretString).toBe("two");
    for (const one of [writer, reader, stranger]) one.destroy();
  });

  test("can lean on a secret's tags", async () => {
    await create();
    const limited = await as(["secretsmanager:GetSecretValue"], ["*"], {
      StringEquals: { "aws:ResourceTag/team": "a" },
    });
    const read = () => limited.send(new GetSecretValueCommand({ SecretId }));
    await expect(read()).rejects.toMatchObject({ name: "AccessDeniedException" });
    await client.send(new TagResourceCommand({ SecretId, Tags: [{ Key: "team", Value: "a" }] }));
    expect((await read()).SecretString).toBe("one");
    limited.destroy();
  });
});
