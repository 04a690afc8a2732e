// Reading what a Secrets Manager request says: its value, its token, its tags and its key, in AWS's limits.
import { randomUUID } from "node:crypto";
import type { Tag } from "@aws-sdk/client-secrets-manager";
import type { Call } from "./api.ts";
import type { Context, Need } from "./iam.ts";
import { Refusal } from "./refusal.ts";
import type { SecretValue } from "./secret-versions.ts";

const valueLimit = 65_536;

/** The default key, by name. */
const everybodys = "alias/aws/secretsmanager";

/** A key of one's own is the caller's to use, through Secrets Manager and for this secret; the default key asks for nothing. */
export const encrypted = (
  kmsKeyId: string | undefined,
  call: Call,
  secretArn: string | undefined,
  actions: readonly string[] = ["GenerateDataKey", "Decrypt"],
): readonly Need[] => {
  if (kmsKeyId === undefined || kmsKeyId === everybodys) return [];
  const resource = kmsKeyId.startsWith("arn:")
    ? kmsKeyId
    : `arn:aws:kms:${call.region}:${call.accountId}:key/${kmsKeyId}`;
  const context = {
    "kms:ViaService": `secretsmanager.${call.region}.amazonaws.com`,
    "kms:EncryptionContext:SecretARN": secretArn,
  };
  return actions.map((action) => ({ action: `kms:${action}`, resource, context }));
};

export const requestTags = (tags: readonly Tag[] | undefined): Context => ({
  "aws:TagKeys": tags?.map(({ Key = "" }) => Key),
  ...Object.fromEntries((tags ?? []).map(({ Key = "", Value = "" }) => [`aws:RequestTag/${Key}`, Value])),
});

export function tagged(
  tags: ReadonlyMap<string, string>,
  added: readonly Tag[] | undefined,
): ReadonlyMap<string, string> {
  const all = new Map([...tags, ...(added ?? []).map(({ Key = "", Value = "" }) => [Key, Value] as const)]);
  if (all.size > 50) throw invalid("A secret can have at most 50 tags.");
  if (all.has("")) throw invalid("A tag must have a key.");
  return all;
}

export function versionId(token: string | undefined): string {
  if (token !== undefined && (token.length < 32 || token.length > 64))
    throw invalid("ClientRequestToken must be 32-64 characters long.");
  return token ?? randomUUID();
}

export function valueIn(input: {
  SecretString?: string | undefined;
  SecretBinary?: Uint8Array | undefined;
}): SecretValue | undefined {
  const { SecretString, SecretBinary } = input;
  if (SecretString !== undefined && SecretBinary !== undefined) {
    throw invalid("You can't specify both a binary secret value and a string secret value in the same secret.");
  }
  const size = SecretBinary?.length ?? Buffer.byteLength(SecretString ?? "");
  if (size > valueLimit)
    throw new Refusal("ValidationException", `Member must have length less than or equal to ${valueLimit}`);
  if (SecretString !== undefined) return { string: SecretString };
  return SecretBinary && { binary: SecretBinary };
}

export const invalid = (message: string): Refusal => new Refusal("InvalidParameterException", message);
