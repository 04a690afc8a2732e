// AWS Secrets Manager with its true semantics: idempotent puts, labels that move, recovery windows, 100 versions.
// Rule: a value is only ever in GetSecretValue's answer.
import { randomBytes } from "node:crypto";
import * as sm from "@aws-sdk/client-secrets-manager";
import { type Api, type Call, operation, perRegion, sdkApi, unused } from "../api.ts";
import type { Context, Need } from "../iam.ts";
import { Refusal } from "../refusal.ts";
import { encrypted, invalid, requestTags, tagged, valueIn, versionId } from "../secret-request.ts";
import { holder, putVersion, updateLabel, type Versions } from "../secret-versions.ts";

interface Stored {
  readonly arn: string;
  readonly name: string;
  readonly versions: Versions;
  readonly createdAt: number;
  changedAt: number;
  description: string | undefined;
  kmsKeyId: string | undefined;
  tags: ReadonlyMap<string, string>;
  /** When it will be gone; set while it is scheduled for deletion. */
  goneAt?: number;
  deletedAt?: number;
}

const day = 86_400_000;

export function openSecretsManager(): Api {
  const secretsOf = perRegion(() => new Map<string, Stored>());

  /** By name, ARN, or ARN without the six random characters. Secrets whose window has passed are gone. */
  function find(id: string, call: Call): Stored | undefined {
    const secrets = secretsOf(call);
    for (const secret of secrets.values())
      if (secret.goneAt !== undefined && secret.goneAt <= call.at) secrets.delete(secret.name);
    return secrets.get(id) ?? [...secrets.values()].find(({ arn }) => arn === id || arn.slice(0, -7) === id);
  }

  function live(id: string | undefined, call: Call): Stored {
    const secret = known(id, call);
    if (secret.goneAt !== undefined) {
      throw new Refusal(
        "InvalidRequestException",
        "You can't perform this operation on the secret because it was marked for deletion.",
      );
    }
    return secret;
  }

  function known(id: string | undefined, call: Call): Stored {
    const secret = find(id ?? "", call);
    if (!secret) throw new Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
    return secret;
  }

  function on(action: string, id: string | undefined, call: Call, context: Context = {}): Need {
    const secret = find(id ?? "", call);
    const tags = [...(secret?.tags ?? [])].flatMap(([key, value]) =>
      ["aws:ResourceTag", "secretsmanager:ResourceTag"].map((prefix) => [`${prefix}/${key}`, value] as const),
    );
    const resource = secret?.arn ?? (id?.startsWith("arn:") ? id : arnOf(call, id ?? ""));
    return {
      action: `secretsmanager:${action}`,
      resource,
      context: { ...Object.fromEntries(tags), "secretsmanager:SecretId": id, ...context },
    };
  }

  /** What the secret's own key asks for. */
  function keyOf(id: string | undefined, call: Call, actions?: readonly string[]): readonly Need[] {
    const secret = find(id ?? "", call);
    return encrypted(secret?.kmsKeyId, call, secret?.arn, actions);
  }

  function create(input: sm.CreateSecretRequest, call: Call) {
    const name = input.Name ?? "";
    if (!/^[\w/+=.@-]{1,512}$/.test(name)) {
      throw new Refusal(
        "ValidationException",
        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
      );
    }
    const value = valueIn(input);
    const existing = find(name, call);
    if (existing?.goneAt !== undefined) {
      throw new Refusal(
        "InvalidRequestException",
        "You can't create this secret because a secret with this name is already scheduled for deletion.",
      );
    }
    const id = versionId(input.ClientRequestToken);
    if (existing) {
      // A repeated create is the same create only if its version is there with the same value.
      if (value && existing.versions.has(id)) putVersion(existing.versions, { id, value, labels: [], now: call.at });
      else
        throw new Refusal("ResourceExistsException", `The operation failed because the secret ${name} already exists.`);
      return { ARN: existing.arn, Name: name, VersionId: id };
    }
    const secret: Stored = {
      arn: `${arnOf(call, name)}-${suffix()}`,
      name,
      versions: new Map(),
      createdAt: call.at,
      changedAt: call.at,
      description: input.Description,
      kmsKeyId: input.KmsKeyId,
      tags: tagged(new Map(), input.Tags),
    };
    if (value) putVersion(secret.versions, { id, value, labels: ["AWSCURRENT"], now: call.at });
    secretsOf(call).set(name, secret);
    return { ARN: secret.arn, Name: name, VersionId: value && id };
  }

  function put(input: sm.PutSecretValueRequest, call: Call) {
    const secret = live(input.SecretId, call);
    const value = valueIn(input);
    if (!value) throw new Refusal("InvalidRequestException", "You must provide either SecretString or SecretBinary.");
    const labels = input.VersionStages ?? ["AWSCURRENT"];
    if (labels.length < 1 || labels.length > 20) throw invalid("A version must have 1 to 20 staging labels.");
    const version = putVersion(secret.versions, {
      id: versionId(input.ClientRequestToken),
      value,
      labels,
      now: call.at,
    });
    secret.changedAt = call.at;
    return { ARN: secret.arn, Name: secret.name, VersionId: version.id, VersionStages: [...version.labels] };
  }

  function get(input: sm.GetSecretValueRequest, call: Call) {
    const secret = live(input.SecretId, call);
    const label = input.VersionStage ?? "AWSCURRENT";
    const version =
      input.VersionId === undefined ? holder(secret.versions, label) : secret.versions.get(input.VersionId);
    if (!version) {
      const which = input.VersionId === undefined ? `staging label: ${label}` : `VersionId: ${input.VersionId}`;
      throw new Refusal(
        "ResourceNotFoundException",
        `Secrets Manager can't find the specified secret value for ${which}`,
      );
    }
    if (input.VersionStage !== undefined && !version.labels.includes(input.VersionStage)) {
      throw new Refusal(
        "InvalidRequestException",
        "You provided a VersionStage that is not associated to the provided VersionId.",
      );
    }
    return {
      ARN: secret.arn,
      Name: secret.name,
      VersionId: version.id,
      ...("string" in version.value ? { SecretString: version.value.string } : { SecretBinary: version.value.binary }),
      VersionStages: [...version.labels],
      CreatedDate: new Date(version.createdAt),
    };
  }

  function update(input: sm.UpdateSecretRequest, call: Call) {
    const secret = live(input.SecretId, call);
    const value = valueIn(input);
    const version =
      value &&
      putVersion(secret.versions, {
        id: versionId(input.ClientRequestToken),
        value,
        labels: ["AWSCURRENT"],
        now: call.at,
      });
    secret.description = input.Description ?? secret.description;
    secret.kmsKeyId = input.KmsKeyId ?? secret.kmsKeyId;
    secret.changedAt = call.at;
    return { ARN: secret.arn, Name: secret.name, VersionId: version?.id };
  }

  function remove(input: sm.DeleteSecretRequest, call: Call) {
    const window = input.RecoveryWindowInDays;
    if (input.ForceDeleteWithoutRecovery && window !== undefined) {
      throw invalid("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.");
    }
    if (window !== undefined && !(window >= 7 && window <= 30))
      throw invalid("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).");
    if (input.ForceDeleteWithoutRecovery) {
      const secret = find(input.SecretId ?? "", call);
      if (secret) secretsOf(call).delete(secret.name);
      return {
        ARN: secret?.arn ?? arnOf(call, input.SecretId ?? ""),
        Name: secret?.name ?? input.SecretId,
        DeletionDate: new Date(call.at),
      };
    }
    const secret = live(input.SecretId, call);
    secret.deletedAt = call.at;
    secret.goneAt = call.at + (window ?? 30) * day;
    return { ARN: secret.arn, Name: secret.name, DeletionDate: new Date(secret.goneAt) };
  }

  function describe(input: sm.DescribeSecretRequest, call: Call) {
    const secret = known(input.SecretId, call);
    const labelled = [...secret.versions.values()].filter((version) => version.labels.length > 0);
    return {
      ARN: secret.arn,
      Name: secret.name,
      Description: secret.description,
      KmsKeyId: secret.kmsKeyId,
      CreatedDate: new Date(secret.createdAt),
      LastChangedDate: new Date(secret.changedAt),
      DeletedDate: secret.deletedAt === undefined ? undefined : new Date(secret.deletedAt),
      Tags: [...secret.tags].map(([Key, Value]) => ({ Key, Value })),
      VersionIdsToStages: Object.fromEntries(labelled.map((version) => [version.id, [...version.labels]])),
    };
  }

  return sdkApi({
    name: "secretsmanager",
    client: new sm.SecretsManagerClient(unused),
    module: sm,
    throttle: { code: "ThrottlingException", message: "Rate exceeded", status: 400 },
    operations: {
      CreateSecret: operation<sm.CreateSecretRequest>({
        needs: (input, call) => [
          on("CreateSecret", input.Name, call, { "secretsmanager:Name": input.Name, ...requestTags(input.Tags) }),
          ...(input.Tags?.length ? [on("TagResource", input.Name, call, requestTags(input.Tags))] : []),
          ...encrypted(input.KmsKeyId, call, arnOf(call, input.Name ?? "")),
        ],
        run: create,
      }),
      PutSecretValue: operation<sm.PutSecretValueRequest>({
        needs: (input, call) => [on("PutSecretValue", input.SecretId, call), ...keyOf(input.SecretId, call)],
        run: put,
      }),
      GetSecretValue: operation<sm.GetSecretValueRequest>({
        needs: (input, call) => [
          on("GetSecretValue", input.SecretId, call, {
            "secretsmanager:VersionId": input.VersionId,
            "secretsmanager:VersionStage":
              input.VersionStage ?? (input.VersionId === undefined ? "AWSCURRENT" : undefined),
          }),
          ...keyOf(input.SecretId, call, ["Decrypt"]),
        ],
        run: get,
      }),
      DescribeSecret: operation<sm.DescribeSecretRequest>({
        needs: (input, call) => [on("DescribeSecret", input.SecretId, call)],
        run: describe,
      }),
      UpdateSecret: operation<sm.UpdateSecretRequest>({
        needs: (input, call) => [
          on("UpdateSecret", input.SecretId, call),
          ...(input.KmsKeyId !== undefined
            ? encrypted(input.KmsKeyId, call, find(input.SecretId ?? "", call)?.arn)
            : valueIn(input)
              ? keyOf(input.SecretId, call)
              : []),
        ],
        run: update,
      }),
      UpdateSecretVersionStage: operation<sm.UpdateSecretVersionStageRequest>({
        needs: (input, call) => [
          on("UpdateSecretVersionStage", input.SecretId, call, { "secretsmanager:VersionStage": input.VersionStage }),
        ],
        run(input, call) {
          const secret = live(input.SecretId, call);
          updateLabel(secret.versions, input.VersionStage ?? "", input.RemoveFromVersionId, input.MoveToVersionId);
          secret.changedAt = call.at;
          return { ARN: secret.arn, Name: secret.name };
        },
      }),
      DeleteSecret: operation<sm.DeleteSecretRequest>({
        needs: (input, call) => [on("DeleteSecret", input.SecretId, call)],
        run: remove,
      }),
      RestoreSecret: operation<sm.RestoreSecretRequest>({
        needs: (input, call) => [on("RestoreSecret", input.SecretId, call)],
        run(input, call) {
          const secret = known(input.SecretId, call);
          delete secret.goneAt;
          delete secret.deletedAt;
          return { ARN: secret.arn, Name: secret.name };
        },
      }),
      TagResource: operation<sm.TagResourceRequest>({
        needs: (input, call) => [on("TagResource", input.SecretId, call, requestTags(input.Tags))],
        run(input, call) {
          const secret = live(input.SecretId, call);
          secret.tags = tagged(secret.tags, input.Tags);
        },
      }),
    },
  });
}

const arnOf = (call: Call, name: string): string =>
  `arn:aws:secretsmanager:${call.region}:${call.accountId}:secret:${name}`;
/** Six characters, none of which begins a name anyone would choose. */
const suffix = (): string => randomBytes(6).toString("base64url").replace(/[-_]/g, "x").slice(0, 6);
