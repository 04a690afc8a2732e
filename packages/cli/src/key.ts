// The key pair that a bound token is bound to. It lives as long as its tunnel and in memory only: a token that leaks is
// useless without it.
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import type { Secret } from "@sallyport/core/secret";

export interface KeyPair {
  /** SPKI DER, base64. */
  readonly publicKey: string;
  /** ECDSA over SHA-256, DER, base64. */
  prove(material: Uint8Array): string;
}

export const makeKeyPair = (): KeyPair => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    publicKey: publicKey.export({ type: "spki", format: "der" }).toString("base64"),
    prove: (material) => sign("sha256", material, privateKey).toString("base64"),
  };
};

/** The context that ties exported key material to one token. */
export const tokenContext = (token: Secret): Buffer => createHash("sha256").update(token.reveal()).digest();
