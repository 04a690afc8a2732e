// The Signer port with a key in memory.
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { Signer } from "@sallyport/core/ports";

export const openFakeSigner = (key = "alias/test"): Signer & { readonly privateKey: KeyObject } => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  return {
    key,
    privateKey,
    publicKey: async () => spki,
    sign: async (message) => sign("sha256", message, privateKey),
  };
};
