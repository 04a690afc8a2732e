// The audit's files, as they lie in a folder: segments fetched from the bucket, or what a proxy wrote into a folder. Every line is
// read as bytes, because its hash is of them; what can't be read is a finding, never skipped.
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type ChainLine, headOf, type LineHead } from "@sallyport/core/chain";
import { Failure } from "@sallyport/core/failure";

export interface TrailLine extends ChainLine, LineHead {
  /** Does it say that the session ended? */
  readonly ends: boolean;
}
export interface Trail {
  /** By session, in the order of their numbers. */
  readonly sessions: ReadonlyMap<string, readonly TrailLine[]>;
  /** Files and lines that are not what they should be. */
  readonly problems: readonly string[];
  readonly files: number;
}

const suffix = ".jsonl";
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const filesIn = async (path: string): Promise<readonly string[]> => {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const found = await readdir(path, { recursive: true });
    return found.filter((name) => name.endsWith(suffix)).map((name) => join(path, name));
  } catch (cause) {
    throw new Failure("not_found", `${path} can't be read`, { hint: "name a folder of segments, or files", cause });
  }
};

const lineOf = (bytes: Uint8Array, before: LineHead | undefined): TrailLine | undefined => {
  try {
    const said = JSON.parse(Buffer.from(bytes).toString()) as { readonly event?: unknown } | null;
    const head = headOf(said, before);
    return head && { ...head, bytes, ends: said?.event === "session.end" };
  } catch {
    return undefined;
  }
};

/** @throws Failure `not_found` when a path can't be read */
export const readTrail = async (paths: readonly string[], only?: string): Promise<Trail> => {
  const files = [...new Set((await Promise.all(paths.map(filesIn))).flat())].sort();
  const sessions = new Map<string, TrailLine[]>();
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const file of files) {
    const bytes = await readFile(file);
    const digest = sha256(bytes);
    const named = /_([0-9a-f]{64})\.jsonl$/.exec(file)?.[1];
    if (named !== undefined && named !== digest) problems.push(`${file} is not what its name says: it was changed`);
    // shipped by two tasks, one of which found it on the other's volume
    if (seen.has(digest)) continue;
    seen.add(digest);
    let before: TrailLine | undefined;
    for (let [at, number] = [0, 1]; at < bytes.length; number++) {
      const end = bytes.indexOf(0x0a, at);
      const line = end < 0 ? undefined : lineOf(bytes.subarray(at, end + 1), before);
      before = line ?? before;
      if (!line) problems.push(`${file}:${number} is no line of the audit`);
      else if (only === undefined || line.session === only) {
        const own = sessions.get(line.session);
        if (own) own.push(line);
        else sessions.set(line.session, [line]);
      }
      at = end < 0 ? bytes.length : end + 1;
    }
  }
  for (const lines of sessions.values()) lines.sort((a, b) => a.seq - b.seq);
  return { sessions, problems, files: files.length };
};
