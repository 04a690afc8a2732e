// The notary: has heads of sessions' records signed, all that wait by one signature. One request to the key is under way at a
// time, so that a thousand sessions that end together cost it two.
import type { Digest, Signer } from "@sallyport/core/ports";
import { type Seal, type SessionHead, sealMessage, treeOf } from "@sallyport/core/seal";

export interface Notary {
  /** @throws Failure `unavailable` */
  seal(head: SessionHead): Promise<Seal>;
}

interface Waiter {
  readonly head: SessionHead;
  resolve(seal: Seal): void;
  reject(thrown: unknown): void;
}

export const openNotary = ({ signer, digest }: { signer: Signer; digest: Digest }): Notary => {
  let waiting: Waiter[] = [];
  let signing = false;

  const signAll = async (served: readonly Waiter[]): Promise<void> => {
    try {
      const { root, paths } = treeOf(
        served.map(({ head }) => head),
        digest,
      );
      const signature = Buffer.from(await signer.sign(sealMessage(root))).toString("base64");
      served.forEach(({ head: { seq, head }, resolve }, at) => {
        resolve({ seq, head, path: [...(paths[at] ?? [])], key: signer.key, signature });
      });
    } catch (thrown) {
      for (const waiter of served) waiter.reject(thrown);
    }
  };
  const run = async (): Promise<void> => {
    signing = true;
    // whoever comes in this turn comes along
    await Promise.resolve();
    while (waiting.length > 0) {
      const served = waiting;
      waiting = [];
      await signAll(served);
    }
    signing = false;
  };

  return {
    seal: (head) =>
      new Promise((resolve, reject) => {
        waiting.push({ head, resolve, reject });
        if (!signing) void run();
      }),
  };
};
