// Signed heads: that the records of a session went up to here. The heads of many sessions are signed at once: they are the leaves
// of a tree of hashes whose root is signed, and each keeps the path from its leaf to that root, so that it stands by itself.
import * as z from "zod";
import type { Digest, Head } from "./ports.ts";

export const Seal = z.object({
  seq: z.number(),
  head: z.string(),
  /** Hashes beside the way from the leaf to the root, each with the side it is on. */
  path: z.array(z.string().regex(/^[lr][0-9a-f]{64}$/)).max(32),
  /** Which key signed the root, and its signature: ECDSA with SHA-256, DER, base64. */
  key: z.string(),
  signature: z.string(),
});
export type Seal = z.infer<typeof Seal>;

export interface SessionHead extends Head {
  readonly session: string;
}

// a leaf can't be taken for an inner node, nor the other way round
const leafOf = ({ session, seq, head }: SessionHead, digest: Digest): string =>
  digest.sha256(`leaf\n${session}\n${seq}\n${head}`);
const joined = (left: string, right: string, digest: Digest): string => digest.sha256(`node\n${left}\n${right}`);

/** The bytes that are signed. */
export const sealMessage = (root: string): Uint8Array => new TextEncoder().encode(`sallyport audit heads 1\n${root}\n`);

/** The root over these heads, and for each its path. */
export const treeOf = (
  heads: readonly SessionHead[],
  digest: Digest,
): { readonly root: string; readonly paths: readonly (readonly string[])[] } => {
  const paths: string[][] = heads.map(() => []);
  let level = heads.map((head, at) => ({ hash: leafOf(head, digest), below: [at] }));
  while (level.length > 1) {
    const next: typeof level = [];
    for (let at = 0; at < level.length; at += 2) {
      const [left, right] = [level[at], level[at + 1]];
      if (!left) break;
      if (right) {
        for (const leaf of left.below) paths[leaf]?.push(`r${right.hash}`);
        for (const leaf of right.below) paths[leaf]?.push(`l${left.hash}`);
      }
      // an odd one goes up as it is
      next.push(right ? { hash: joined(left.hash, right.hash, digest), below: [...left.below, ...right.below] } : left);
    }
    level = next;
  }
  return { root: level[0]?.hash ?? "", paths };
};

/** The root that a head leads to by its path; it is the signed one only if nothing was changed. */
export const rootOf = (head: SessionHead, path: readonly string[], digest: Digest): string =>
  path.reduce(
    (hash, step) => (step.startsWith("l") ? joined(step.slice(1), hash, digest) : joined(hash, step.slice(1), digest)),
    leafOf(head, digest),
  );
