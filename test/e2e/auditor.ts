// An auditor of a whole laptop account, as one would go about it: segments, items and the key are fetched by the auditor's own
// permissions, and `sally audit verify` judges them.
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { GetPublicKeyCommand, KMSClient } from "@aws-sdk/client-kms";
import type { Item } from "@sallyport/core/ports";
import { auditBucket, auditKey } from "@sallyport/local/deployment";
import type { Laptop } from "@sallyport/local/laptop";

/** As DynamoDB words it. */
const asDynamo = (value: unknown): unknown => {
  if (Array.isArray(value)) return { L: value.map(asDynamo) };
  if (typeof value === "number") return { N: String(value) };
  if (typeof value === "boolean") return { BOOL: value };
  if (typeof value === "string") return { S: value };
  return { M: Object.fromEntries(Object.entries(value as object).map(([name, one]) => [name, asDynamo(one)])) };
};

export const openAuditor = async ({ account, region, aws, s3 }: Laptop, folder: string) => {
  const statements = [{ actions: ["kms:GetPublicKey"], resources: ["*"] }];
  const { credentials } = account.addUser({ name: "auditor", statements });
  const kms = new KMSClient({ endpoint: aws.url, region, credentials });
  const { PublicKey = new Uint8Array() } = await kms.send(new GetPublicKeyCommand({ KeyId: auditKey }));
  kms.destroy();
  const [segments, sessions, key] = [join(folder, "segments"), join(folder, "sessions.json"), join(folder, "key.json")];
  await writeFile(key, JSON.stringify({ PublicKey: Buffer.from(PublicKey).toString("base64") }));
  await mkdir(segments, { recursive: true });
  const entry = new URL("../../packages/cli/src/main.ts", import.meta.url).pathname;
  return {
    /** Where the fetched segments are. */
    segments,
    async fetch(ended: readonly Item[]): Promise<void> {
      await writeFile(sessions, JSON.stringify({ Items: ended.map((item) => (asDynamo(item) as { M: unknown }).M) }));
      for (const { key: name, body } of s3.objects(auditBucket)) await writeFile(join(segments, basename(name)), body);
    },
    verify: (): Promise<{ status: unknown; output: string }> =>
      new Promise((resolve) => {
        const args = [entry, "audit", "verify", segments, "--sessions", sessions, "--key", key];
        execFile(process.execPath, args, { env: { HOME: folder } }, (error, stdout, stderr) =>
          resolve({ status: error?.code ?? 0, output: stdout + stderr }),
        );
      }),
  };
};
