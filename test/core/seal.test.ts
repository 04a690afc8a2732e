// Signed heads: every head stands by itself with its path, whichever others were signed with it, and no other head does.
import { createHash } from "node:crypto";
import { rootOf, type SessionHead, treeOf } from "@sallyport/core/seal";
import * as fc from "fast-check";
import { expect, it } from "vitest";

const digest = { sha256: (text: string) => createHash("sha256").update(text).digest("hex") };
const headOf = (at: number): SessionHead => ({ session: `ses_${at}`, seq: at + 1, head: digest.sha256(String(at)) });

it("S-43 leads each head to the signed root by its own path, and nothing else", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(), (count, pick) => {
      const heads = Array.from({ length: count }, (_, at) => headOf(at));
      const { root, paths } = treeOf(heads, digest);
      expect(heads.map((head, at) => rootOf(head, paths[at] ?? [], digest))).toEqual(heads.map(() => root));
      const at = pick % count;
      const head = headOf(at);
      const path = paths[at] ?? [];
      expect(path.length).toBeLessThanOrEqual(Math.ceil(Math.log2(count)));
      for (const other of [
        { ...head, seq: head.seq - 1 },
        { ...head, session: "ses_other" },
        { ...head, head: digest.sha256("other") },
      ])
        expect(rootOf(other, path, digest)).not.toBe(root);
      const turned = path.map((step) => (step.startsWith("l") ? "r" : "l") + step.slice(1));
      if (path.length > 0) expect(rootOf(head, turned, digest)).not.toBe(root);
    }),
    { numRuns: 60 },
  );
});
