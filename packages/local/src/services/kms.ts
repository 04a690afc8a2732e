// AWS KMS as far as signing goes: P-256 keys that are made here and never leave, known by id, ARN or alias, disabled, or on
// their way to being deleted. Rule: a private key is only ever used inside Sign.
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import * as kms from "@aws-sdk/client-kms";
import { type Api, type Call, operation, perRegion, sdkApi, unused } from "../api.ts";
import { signDigest } from "../ecdsa.ts";
import type { Need } from "../iam.ts";
import { Refusal } from "../refusal.ts";

interface Stored {
  readonly id: string;
  readonly arn: string;
  readonly privateKey: KeyObject;
  readonly description: string;
  readonly createdAt: number;
  enabled: boolean;
  /** When it will be gone; set while it waits for its deletion. */
  goneAt?: number;
}

const day = 86_400_000;
const messageLimit = 4096;
const algorithm = "ECDSA_SHA_256";

export function openKms(): Api {
  const stateOf = perRegion(() => ({ keys: new Map<string, Stored>(), aliases: new Map<string, string>() }));

  /** By id, ARN, alias name or alias ARN. Keys whose window has passed are gone, and their aliases with them. */
  function known(given: string | undefined, call: Call): Stored {
    const { keys, aliases } = stateOf(call);
    for (const key of keys.values())
      if (key.goneAt !== undefined && key.goneAt <= call.at) {
        keys.delete(key.id);
        for (const [alias, id] of aliases) if (id === key.id) aliases.delete(alias);
      }
    const prefix = arnOf(call, "");
    const name = given?.startsWith(prefix) ? given.slice(prefix.length) : (given ?? "");
    const isAlias = name.startsWith("alias/");
    const id = isAlias ? aliases.get(name) : name.replace(/^key\//, "");
    const key = id === undefined ? undefined : keys.get(id);
    if (!key)
      throw new Refusal(
        "NotFoundException",
        isAlias ? `Alias ${arnOf(call, name)} is not found.` : `Key '${arnOf(call, `key/${id ?? ""}`)}' does not exist`,
      );
    return key;
  }

  function usable(given: string | undefined, call: Call): Stored {
    const key = known(given, call);
    if (key.goneAt !== undefined) throw new Refusal("KMSInvalidStateException", `${key.arn} is pending deletion.`);
    if (!key.enabled) throw new Refusal("DisabledException", `${key.arn} is disabled.`);
    return key;
  }

  function on(action: string, given: string | undefined, call: Call, context: Need["context"] = {}): Need {
    const key = known(given, call);
    const aliases = [...stateOf(call).aliases].flatMap(([alias, id]) => (id === key.id ? [alias] : []));
    return {
      action: `kms:${action}`,
      resource: key.arn,
      context: {
        "kms:KeySpec": "ECC_NIST_P256",
        "kms:KeyUsage": "SIGN_VERIFY",
        "kms:RequestAlias": given?.startsWith("alias/") ? given : undefined,
        "kms:ResourceAliases": aliases,
        ...context,
      },
    };
  }

  function create(input: kms.CreateKeyRequest, call: Call) {
    if (input.KeySpec !== "ECC_NIST_P256" || input.KeyUsage !== "SIGN_VERIFY")
      throw new Refusal(
        "UnsupportedOperationException",
        "The laptop account makes ECC_NIST_P256 keys for SIGN_VERIFY.",
      );
    const id = randomUUID();
    const key: Stored = {
      id,
      arn: arnOf(call, `key/${id}`),
      privateKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
      description: input.Description ?? "",
      createdAt: call.at,
      enabled: true,
    };
    stateOf(call).keys.set(id, key);
    return { KeyMetadata: metadataOf(key, call) };
  }

  function name(input: kms.CreateAliasRequest, call: Call) {
    const alias = input.AliasName ?? "";
    if (!/^alias\/[\w/-]{1,250}$/.test(alias) || alias.startsWith("alias/aws/"))
      throw new Refusal(
        "InvalidAliasNameException",
        "Alias must start with the prefix alias/ and not with alias/aws/.",
      );
    const { id } = known(input.TargetKeyId, call);
    if (stateOf(call).aliases.has(alias))
      throw new Refusal("AlreadyExistsException", `An alias with the name ${arnOf(call, alias)} already exists`);
    stateOf(call).aliases.set(alias, id);
  }

  function signed(input: kms.SignRequest, call: Call) {
    const key = usable(input.KeyId, call);
    const { Message: message = new Uint8Array(), MessageType: type = "RAW", SigningAlgorithm: wanted } = input;
    if (wanted !== algorithm)
      throw new Refusal("InvalidKeyUsageException", `${key.arn} key spec ECC_NIST_P256 does not support ${wanted}.`);
    const isDigest = type === "DIGEST";
    if (isDigest ? message.length !== 32 : message.length < 1 || message.length > messageLimit)
      throw new Refusal(
        "ValidationException",
        isDigest
          ? "Digest is invalid length for algorithm ECDSA_SHA_256."
          : `1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length less than or equal to ${messageLimit}`,
      );
    const digest = isDigest ? message : createHash("sha256").update(message).digest();
    return { KeyId: key.arn, Signature: signDigest(digest, key.privateKey), SigningAlgorithm: algorithm };
  }

  const change = (run: (key: Stored, call: Call) => unknown) => (input: { KeyId: string | undefined }, call: Call) =>
    run(known(input.KeyId, call), call);

  return sdkApi({
    name: "kms",
    client: new kms.KMSClient(unused),
    module: kms,
    throttle: {
      code: "ThrottlingException",
      message: "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
      status: 400,
    },
    operations: {
      CreateKey: operation<kms.CreateKeyRequest>({
        needs: (_, call) => [{ action: "kms:CreateKey", resource: arnOf(call, "*") }],
        run: create,
      }),
      CreateAlias: operation<kms.CreateAliasRequest>({
        needs: (input, call) => [
          { action: "kms:CreateAlias", resource: arnOf(call, input.AliasName ?? "") },
          on("CreateAlias", input.TargetKeyId, call),
        ],
        run: name,
      }),
      DescribeKey: operation<kms.DescribeKeyRequest>({
        needs: (input, call) => [on("DescribeKey", input.KeyId, call)],
        run: (input, call) => ({ KeyMetadata: metadataOf(known(input.KeyId, call), call) }),
      }),
      GetPublicKey: operation<kms.GetPublicKeyRequest>({
        needs: (input, call) => [on("GetPublicKey", input.KeyId, call)],
        run(input, call) {
          const key = usable(input.KeyId, call);
          return {
            KeyId: key.arn,
            PublicKey: createPublicKey(key.privateKey).export({ type: "spki", format: "der" }),
            KeySpec: "ECC_NIST_P256",
            KeyUsage: "SIGN_VERIFY",
            SigningAlgorithms: [algorithm],
          };
        },
      }),
      Sign: operation<kms.SignRequest>({
        needs: (input, call) => [
          on("Sign", input.KeyId, call, {
            "kms:SigningAlgorithm": input.SigningAlgorithm,
            "kms:MessageType": input.MessageType ?? "RAW",
          }),
        ],
        run: signed,
      }),
      DisableKey: operation<kms.DisableKeyRequest>({
        needs: (input, call) => [on("DisableKey", input.KeyId, call)],
        run: change((key) => {
          key.enabled = false;
        }),
      }),
      EnableKey: operation<kms.EnableKeyRequest>({
        needs: (input, call) => [on("EnableKey", input.KeyId, call)],
        run: change((key) => {
          if (key.goneAt !== undefined)
            throw new Refusal("KMSInvalidStateException", `${key.arn} is pending deletion.`);
          key.enabled = true;
        }),
      }),
      ScheduleKeyDeletion: operation<kms.ScheduleKeyDeletionRequest>({
        needs: (input, call) => [on("ScheduleKeyDeletion", input.KeyId, call)],
        run(input, call) {
          const key = known(input.KeyId, call);
          const days = input.PendingWindowInDays ?? 30;
          if (key.goneAt !== undefined)
            throw new Refusal("KMSInvalidStateException", `${key.arn} is pending deletion.`);
          if (!(days >= 7 && days <= 30))
            throw new Refusal("ValidationException", "PendingWindowInDays must be between 7 and 30.");
          key.goneAt = call.at + days * day;
          return {
            KeyId: key.arn,
            DeletionDate: new Date(key.goneAt),
            KeyState: "PendingDeletion",
            PendingWindowInDays: days,
          };
        },
      }),
    },
  });
}

const arnOf = (call: Call, rest: string): string => `arn:aws:kms:${call.region}:${call.accountId}:${rest}`;

const metadataOf = (key: Stored, call: Call) => ({
  AWSAccountId: call.accountId,
  KeyId: key.id,
  Arn: key.arn,
  CreationDate: new Date(key.createdAt),
  Enabled: key.enabled && key.goneAt === undefined,
  Description: key.description,
  KeyUsage: "SIGN_VERIFY",
  KeyState: key.goneAt !== undefined ? "PendingDeletion" : key.enabled ? "Enabled" : "Disabled",
  ...(key.goneAt !== undefined && { DeletionDate: new Date(key.goneAt) }),
  Origin: "AWS_KMS",
  KeyManager: "CUSTOMER",
  KeySpec: "ECC_NIST_P256",
  SigningAlgorithms: [algorithm],
  MultiRegion: false,
});
