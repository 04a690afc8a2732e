// The Vault port on Secrets Manager, and the plain read of one secret. A secret is ours when it carries our tag; no other is
// ever changed: what was looked at is changed by its ARN, which one that came in its place does not have. Secrets Manager labels a first version AWSCURRENT by itself: it is a sentinel here, and reads as absent.
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  type DescribeSecretCommandOutput,
  GetSecretValueCommand,
  PutSecretValueCommand,
  RestoreSecretCommand,
  SecretsManagerClient,
  UpdateSecretVersionStageCommand,
} from "@aws-sdk/client-secrets-manager";
import { Failure } from "@sallyport/core/failure";
import type { Vault, VaultVersion } from "@sallyport/core/ports";
import { type Secret, secret } from "@sallyport/core/secret";
import { ownSecretTag } from "@sallyport/core/secret-arn";
import { type Connection, clientOptions, errorName, isAccessDenied } from "./client.ts";

const ours = { Key: ownSecretTag.key, Value: ownSecretTag.value } as const;
const sentinel = "sallyport: no value yet";
const current = "AWSCURRENT";
const pending = "AWSPENDING";

export const vaultClient = (connection: Connection = {}): SecretsManagerClient =>
  new SecretsManagerClient(clientOptions(connection));

/** The current value of a secret that somebody else keeps. @throws Failure `unavailable` when it can't be had */
export const readSecret = async (client: SecretsManagerClient, name: string): Promise<Secret> => {
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: name, VersionStage: current }));
    if (SecretString === undefined) throw new Failure("unavailable", `the secret ${name} holds no text`);
    return secret(SecretString);
  } catch (thrown) {
    throw worded(thrown, name);
  }
};

export const openVault = ({
  client = vaultClient(),
  kmsKey,
}: {
  client?: SecretsManagerClient;
  kmsKey?: string;
} = {}): Vault => {
  const find = async (name: string): Promise<DescribeSecretCommandOutput | undefined> => {
    try {
      return await client.send(new DescribeSecretCommand({ SecretId: name }));
    } catch (thrown) {
      if (errorName(thrown) === "ResourceNotFoundException") return undefined;
      throw worded(thrown, name);
    }
  };
  /** The secret, certainly ours; undefined when there is none. One in its recovery window is there only for `buried`. */
  const findOurs = async (name: string, buried = false): Promise<DescribeSecretCommandOutput | undefined> => {
    const found = await find(name);
    if (!found || (found.DeletedDate && !buried)) return undefined;
    if (!found.Tags?.some(({ Key, Value }) => Key === ours.Key && Value === ours.Value))
      throw conflict(
        `the secret ${name} was not made by this deployment`,
        `remove it, or tag it ${ours.Key}=${ours.Value}`,
      );
    return found;
  };
  const requireOurs = async (name: string) => {
    const found = await findOurs(name);
    if (!found) throw new Failure("not_found", `there is no secret ${name}`);
    return { id: idOf(found, name), versions: versionsOf(found) };
  };
  const moveStage = (id: string, stage: string, move: { to?: string; from: string }) =>
    client.send(
      new UpdateSecretVersionStageCommand({
        SecretId: id,
        VersionStage: stage,
        RemoveFromVersionId: move.from,
        ...(move.to !== undefined && { MoveToVersionId: move.to }),
      }),
    );

  return {
    async create(name) {
      const options = kmsKey === undefined ? {} : { KmsKeyId: kmsKey };
      try {
        await client.send(new CreateSecretCommand({ Name: name, SecretString: sentinel, Tags: [ours], ...options }));
      } catch (thrown) {
        // there already, or in its recovery window
        if (!["ResourceExistsException", "InvalidRequestException"].includes(errorName(thrown)))
          throw worded(thrown, name);
        const found = await findOurs(name, true);
        if (!found) throw worded(thrown, name);
        if (found.DeletedDate)
          await client.send(new RestoreSecretCommand({ SecretId: idOf(found, name) })).catch(wordedFor(name));
        // made by hand without a value: its first version is current, whatever it is
        else if (holder(versionsOf(found), current) === undefined)
          await client
            .send(new PutSecretValueCommand({ SecretId: idOf(found, name), SecretString: sentinel }))
            .catch(wordedFor(name));
      }
    },

    async describe(name) {
      const found = await findOurs(name);
      return found && versionsOf(found);
    },

    async read(name, which) {
      const wanted = "stage" in which ? { VersionStage: which.stage } : { VersionId: which.version };
      try {
        const found = await client.send(new GetSecretValueCommand({ SecretId: name, ...wanted }));
        const { SecretString: value, VersionId: version = "", VersionStages: stages = [] } = found;
        return value === undefined || value === sentinel ? undefined : { version, stages, value: secret(value) };
      } catch (thrown) {
        // InvalidRequestException: it is in its recovery window
        if (["ResourceNotFoundException", "InvalidRequestException"].includes(errorName(thrown))) return undefined;
        throw worded(thrown, name);
      }
    },

    async stage(name, version, value) {
      const { id } = await requireOurs(name);
      const put = {
        SecretId: id,
        ClientRequestToken: version,
        SecretString: value.reveal(),
        VersionStages: [pending],
      };
      try {
        await client.send(new PutSecretValueCommand(put));
      } catch (thrown) {
        if (errorName(thrown) === "ResourceExistsException")
          throw conflict(`version ${version} of ${name} has another value`, "stage a new version", thrown);
        throw worded(thrown, name);
      }
    },

    async promote(name, { to, from }) {
      const { id, versions: before } = await requireOurs(name);
      if (!before.some(({ version }) => version === to))
        throw conflict(`${name} has no version ${to}`, "stage it first");
      if (holder(before, current) !== to) {
        await moveStage(id, current, { to, from }).catch(async (thrown: unknown) => {
          // a lost answer makes the SDK send it again, and then it is done already
          if (errorName(thrown) !== "InvalidParameterException") throw worded(thrown, name);
          if (holder((await requireOurs(name)).versions, current) !== to)
            throw conflict(`${from} is not the current version of ${name}`, "read it again", thrown);
        });
      }
      if (holder(before, pending) !== to) return;
      await moveStage(id, pending, { from: to }).catch(async (thrown: unknown) => {
        const gone =
          errorName(thrown) === "InvalidParameterException" &&
          holder((await requireOurs(name)).versions, pending) !== to;
        if (!gone) throw worded(thrown, name);
      });
    },

    async remove(name, days) {
      const found = await findOurs(name);
      if (!found) return;
      const removal = new DeleteSecretCommand({ SecretId: idOf(found, name), RecoveryWindowInDays: days });
      await client.send(removal).catch(async (thrown: unknown) => {
        if (await findOurs(name)) throw worded(thrown, name);
      });
    },
  };
};

const idOf = ({ ARN }: DescribeSecretCommandOutput, name: string): string => ARN ?? name;

const versionsOf = (found: DescribeSecretCommandOutput): readonly VaultVersion[] =>
  Object.entries(found.VersionIdsToStages ?? {}).map(([version, stages]) => ({ version, stages: [...stages].sort() }));

const holder = (versions: readonly VaultVersion[], stage: string): string | undefined =>
  versions.find(({ stages }) => stages.includes(stage))?.version;

const conflict = (message: string, hint: string, cause?: unknown): Failure =>
  new Failure("conflict", message, { hint, cause });

const wordedFor = (name: string) => (thrown: unknown) => {
  throw worded(thrown, name);
};

const worded = (thrown: unknown, name: string): Failure => {
  if (thrown instanceof Failure) return thrown;
  const denied = /\bkms\b/i.test(String(thrown))
    ? "the key that it is kept under may not be used: its IAM role needs kms:Decrypt on the key, and to write kms:GenerateDataKey"
    : "its IAM role lacks a Secrets Manager permission on this name: compare it with the printed policy";
  return new Failure("unavailable", `the secret ${name} can't be used (${errorName(thrown) || "unknown error"})`, {
    hint: isAccessDenied(thrown) ? denied : "try again; if it stays so, look whether the secret exists in this region",
    cause: thrown,
  });
};
