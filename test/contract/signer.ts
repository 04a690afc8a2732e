// What every Signer must do. `break` makes the key unusable, by whatever means the adapter's world has.
import { createPublicKey, randomBytes, verify } from "node:crypto";
import type { Signer } from "@sallyport/core/ports";
import { beforeEach, describe, expect, it } from "vitest";
import { codeOf } from "./store.ts";

export interface SignerWorld {
  readonly signer: Signer;
  /** Another key of the same kind. */
  readonly other: Signer;
  break(): Promise<void>;
}

export const describeSigner = (name: string, open: () => Promise<SignerWorld>): void => {
  describe(`${name} as a Signer`, () => {
    let world: SignerWorld;
    beforeEach(async () => {
      world = await open();
    });
    const isSignedBy = async (signer: Signer, message: Uint8Array, signature: Uint8Array): Promise<boolean> => {
      const key = createPublicKey({ key: Buffer.from(await signer.publicKey()), format: "der", type: "spki" });
      return verify("sha256", message, key, signature);
    };

    it("its key is on P-256 and stays the same", async () => {
      const [first, second] = [await world.signer.publicKey(), await world.signer.publicKey()];
      expect(Buffer.from(first).equals(second)).toBe(true);
      const key = createPublicKey({ key: Buffer.from(first), format: "der", type: "spki" });
      expect(key.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
      expect(Buffer.from(first).equals(await world.other.publicKey())).toBe(false);
    });

    it.each([0, 1, 32, 4096, 4097, 100_000])("a message of %i bytes is signed, whatever it is", async (size) => {
      const message = randomBytes(size);
      const signature = await world.signer.sign(message);
      expect(await isSignedBy(world.signer, message, signature)).toBe(true);
    });

    it("a signature is good for its message and its key alone", async () => {
      const signature = await world.signer.sign(Buffer.from("a message"));
      expect(await isSignedBy(world.signer, Buffer.from("a messagf"), signature)).toBe(false);
      expect(await isSignedBy(world.other, Buffer.from("a message"), signature)).toBe(false);
    });

    it("many signatures at once are all good, and no two of one message alike", async () => {
      const message = randomBytes(64);
      const made = await Promise.all(Array.from({ length: 40 }, () => world.signer.sign(message)));
      for (const signature of made) expect(await isSignedBy(world.signer, message, signature)).toBe(true);
      expect(new Set(made.map((signature) => Buffer.from(signature).toString("hex"))).size).toBe(40);
    });

    it("a key that can't be used is unavailable", async () => {
      await world.break();
      expect(await codeOf(world.signer.sign(Buffer.from("x")))).toBe("unavailable");
      expect(await codeOf(world.signer.publicKey())).toBe("unavailable");
    });
  });
};
