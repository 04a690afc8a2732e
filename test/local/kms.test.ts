// KMS's semantics with the real client: what keys are called, in which states they sign, and where AWS says no.
import { createHash, createPublicKey, verify } from "node:crypto";
import {
  CreateAliasCommand,
  CreateKeyCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  GetPublicKeyCommand,
  KMSClient,
  type MessageType,
  ScheduleKeyDeletionCommand,
  SignCommand,
  type SigningAlgorithmSpec,
} from "@aws-sdk/client-kms";
import type { Statement } from "@sallyport/core/permission";
import { openAccount } from "@sallyport/local/account";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { openKms } from "@sallyport/local/services/kms";
import { beforeEach, describe, expect, test } from "vitest";

const day = 86_400_000;
const clock = { now: 0 };
const now = () => clock.now;
const account = openAccount({ now });
const { credentials } = account.addUser({ name: "ann", statements: [{ actions: ["kms:*"], resources: ["*"] }] });

let endpoint: Endpoint;
let client: KMSClient;
let arn: string;
const clientOf = (keys: typeof credentials) =>
  new KMSClient({ endpoint: endpoint.url, region: "eu-west-1", credentials: keys, maxAttempts: 2 });
beforeEach(async () => {
  clock.now = Date.now();
  endpoint = await openEndpoint({ accounts: [account], services: [openKms()], now });
  client = clientOf(credentials);
  const made = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }));
  arn = made.KeyMetadata?.Arn ?? "";
  await client.send(new CreateAliasCommand({ AliasName: "alias/root", TargetKeyId: arn }));
  return async () => {
    client.destroy();
    await endpoint.close();
  };
});

const sign = (
  KeyId: string,
  Message: Uint8Array = Buffer.from("a message"),
  MessageType: MessageType = "RAW",
  SigningAlgorithm: SigningAlgorithmSpec = "ECDSA_SHA_256",
  by = client,
) => by.send(new SignCommand({ KeyId, Message, MessageType, SigningAlgorithm }));
const publicKey = async () => {
  const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: arn }));
  return createPublicKey({ key: Buffer.from(PublicKey ?? []), format: "der", type: "spki" });
};

test("a key signs a message and its digest alike", async () => {
  const message = Buffer.from("a message");
  const raw = await sign(arn, message);
  const digest = await sign(arn, createHash("sha256").update(message).digest(), "DIGEST");
  for (const { Signature = new Uint8Array(), KeyId } of [raw, digest]) {
    expect(verify("sha256", message, await publicKey(), Signature)).toBe(true);
    expect(KeyId).toBe(arn);
  }
});

test("a key is found by id, ARN, alias name and alias ARN, in its own region only", async () => {
  const id = arn.split("/")[1] ?? "";
  for (const name of [id, arn, "alias/root", arn.replace(`key/${id}`, "alias/root")])
    expect((await client.send(new DescribeKeyCommand({ KeyId: name }))).KeyMetadata?.Arn).toBe(arn);
  for (const name of ["alias/none", "00000000-0000-0000-0000-000000000000", ""])
    await expect(client.send(new DescribeKeyCommand({ KeyId: name }))).rejects.toThrow();
  const away = new KMSClient({ endpoint: endpoint.url, region: "us-east-1", credentials, maxAttempts: 1 });
  await expect(away.send(new DescribeKeyCommand({ KeyId: "alias/root" }))).rejects.toMatchObject({
    name: "NotFoundException",
  });
  away.destroy();
});

test("a disabled key does not sign until it is enabled again", async () => {
  await client.send(new DisableKeyCommand({ KeyId: arn }));
  await expect(sign("alias/root")).rejects.toMatchObject({ name: "DisabledException" });
  await expect(client.send(new GetPublicKeyCommand({ KeyId: arn }))).rejects.toMatchObject({
    name: "DisabledException",
  });
  await client.send(new EnableKeyCommand({ KeyId: arn }));
  expect((await sign("alias/root")).Signature).toBeInstanceOf(Uint8Array);
});

test("a key on its way out does not sign, and is gone with its aliases after its window", async () => {
  await client.send(new ScheduleKeyDeletionCommand({ KeyId: arn, PendingWindowInDays: 7 }));
  await expect(sign(arn)).rejects.toMatchObject({ name: "KMSInvalidStateException" });
  const { KeyMetadata } = await client.send(new DescribeKeyCommand({ KeyId: arn }));
  expect(KeyMetadata).toMatchObject({ Enabled: false, KeyState: "PendingDeletion" });
  clock.now += 7 * day;
  for (const name of [arn, "alias/root"]) await expect(sign(name)).rejects.toMatchObject({ name: "NotFoundException" });
});

test.each<[string, Uint8Array, MessageType, SigningAlgorithmSpec, string]>([
  ["a message over 4,096 bytes", Buffer.alloc(4097), "RAW", "ECDSA_SHA_256", "ValidationException"],
  ["a digest of another length", Buffer.alloc(48), "DIGEST", "ECDSA_SHA_256", "ValidationException"],
  ["an algorithm that is not the key's", Buffer.alloc(48), "DIGEST", "ECDSA_SHA_384", "InvalidKeyUsageException"],
])("%s is refused", async (_, message, type, algorithm, name) => {
  await expect(sign(arn, message, type, algorithm)).rejects.toMatchObject({ name });
});

test("an alias is taken once, and AWS's own names by nobody", async () => {
  const take = (AliasName: string) => client.send(new CreateAliasCommand({ AliasName, TargetKeyId: arn }));
  await expect(take("alias/root")).rejects.toMatchObject({ name: "AlreadyExistsException" });
  await expect(take("alias/aws/root")).rejects.toMatchObject({ name: "InvalidAliasNameException" });
});

test("too many calls are throttled in KMS's words", async () => {
  endpoint.fault.throttle({ service: "kms", operation: "Sign", rate: 0.001, burst: 1 });
  await sign(arn);
  await expect(sign(arn)).rejects.toMatchObject({
    name: "ThrottlingException",
    message: expect.stringContaining("the rate at which you may call KMS"),
  });
});

test("no answer holds the private key", async () => {
  const answers = [
    await client.send(new DescribeKeyCommand({ KeyId: arn })),
    await client.send(new GetPublicKeyCommand({ KeyId: arn })),
    await sign(arn),
  ];
  expect(JSON.stringify(answers)).not.toMatch(/private/i);
  for (const operation of ["Decrypt", "GenerateDataKey", "GetParametersForImport"])
    expect([...openKms().operations.keys()]).not.toContain(operation);
});

describe("permissions", () => {
  const as = (statements: readonly Statement[]) =>
    clientOf(account.addUser({ name: `u${Math.random().toString(36).slice(2)}`, statements }).credentials);

  test("hold on the key, whatever it is called by, and on no other", async () => {
    const limited = as([{ actions: ["kms:Sign"], resources: [arn] }]);
    const by = (KeyId: string) => sign(KeyId, undefined, undefined, undefined, limited);
    expect((await by("alias/root")).Signature).toBeInstanceOf(Uint8Array);
    const made = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }));
    await expect(by(made.KeyMetadata?.Arn ?? "")).rejects.toMatchObject({ name: "AccessDeniedException" });
    await expect(limited.send(new GetPublicKeyCommand({ KeyId: arn }))).rejects.toMatchObject({
      name: "AccessDeniedException",
    });
    limited.destroy();
  });

  test("can lean on the algorithm and on what is given to sign", async () => {
    const conditions = { StringEquals: { "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST" } };
    const limited = as([{ actions: ["kms:Sign"], resources: [arn], conditions }]);
    expect((await sign(arn, Buffer.alloc(32), "DIGEST", "ECDSA_SHA_256", limited)).Signature).toBeInstanceOf(
      Uint8Array,
    );
    await expect(sign(arn, Buffer.alloc(32), "RAW", "ECDSA_SHA_256", limited)).rejects.toMatchObject({
      name: "AccessDeniedException",
    });
    limited.destroy();
  });
});
