// The key with which a front answers for the IAM users of its server: MariaDB's ed25519 method, whose server knows the
// public key alone. A password of 32 bytes is there exactly the seed of a standard Ed25519 key.
// https://mariadb.com/kb/en/authentication-plugin-ed25519/
import { generateKeyPairSync, sign } from "node:crypto";

export interface Signer {
  /** As `CREATE USER … IDENTIFIED VIA ed25519 USING` takes it: base64 without padding. */
  readonly publicKey: string;
  /** The answer to the server's challenge. */
  sign(challenge: Uint8Array): Buffer;
}

export const createSigner = (): Signer => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  return {
    publicKey: Buffer.from(x, "base64url").toString("base64").replace(/=+$/, ""),
    sign: (challenge) => sign(null, challenge, privateKey),
  };
};
