// The audit as it has left the proxies: the segments in the bucket, and what still lies on the tasks' spool volumes.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { S3 } from "./services/s3.ts";

const suffix = ".jsonl";
/** `…/<time>_<proxy>_<number>_<sha256>.jsonl`, without the last part until it is in the bucket. */
const nameOf = (path: string): string =>
  path.slice(path.lastIndexOf("/") + 1, -suffix.length).replace(/_[0-9a-f]{64}$/, "");

/** The lines in the order in which each proxy wrote them, of all proxies or of one. */
export const readTrail = async (
  { s3, bucket, volumes }: { s3: S3; bucket: string; volumes: string },
  proxy = "",
): Promise<readonly string[]> => {
  const found = new Map<string, string>();
  // the volumes first: what is shipped meanwhile is in the bucket by then
  for (const file of await readdir(volumes, { recursive: true })) {
    if (!file.endsWith(suffix)) continue;
    const text = await readFile(join(volumes, file), "utf8").catch(() => undefined);
    if (text !== undefined) found.set(nameOf(file), text);
  }
  for (const { key, body } of s3.objects(bucket)) found.set(nameOf(key), body.toString());
  const names = [...found.keys()].filter((name) => name.includes(proxy)).sort();
  return names.flatMap((name) => (found.get(name) ?? "").split("\n").slice(0, -1));
};
