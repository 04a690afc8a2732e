// The Signer port on KMS: an ECC_NIST_P256 key that never leaves it. What is signed is the SHA-256 of the message, made here:
// KMS takes messages of at most 4,096 bytes, and needs to see none of them.
import { createHash } from "node:crypto";
import { GetPublicKeyCommand, KMSClient, SignCommand } from "@aws-sdk/client-kms";
import { Failure } from "@sallyport/core/failure";
import type { Signer } from "@sallyport/core/ports";
import { type Connection, clientOptions, errorName, isAccessDenied } from "./client.ts";

const algorithm = "ECDSA_SHA_256";

export const signerClient = (connection: Connection = {}): KMSClient => new KMSClient(clientOptions(connection));

/** `key`: a key's id, ARN, alias name or alias ARN. */
export const openSigner = ({ key, client = signerClient() }: { key: string; client?: KMSClient }): Signer => ({
  key,

  async publicKey() {
    try {
      const { PublicKey, KeySpec, KeyUsage } = await client.send(new GetPublicKeyCommand({ KeyId: key }));
      if (KeySpec !== "ECC_NIST_P256" || KeyUsage !== "SIGN_VERIFY" || !PublicKey)
        throw new Failure("unavailable", `the key ${key} is ${KeySpec} for ${KeyUsage}`, {
          hint: "make it with key spec ECC_NIST_P256 and key usage SIGN_VERIFY",
        });
      return PublicKey;
    } catch (thrown) {
      throw worded(thrown, key);
    }
  },

  async sign(message) {
    const Message = createHash("sha256").update(message).digest();
    const request = { KeyId: key, Message, MessageType: "DIGEST", SigningAlgorithm: algorithm } as const;
    try {
      const { Signature } = await client.send(new SignCommand(request));
      if (!Signature) throw new Failure("unavailable", `the key ${key} gave no signature`);
      return Signature;
    } catch (thrown) {
      throw worded(thrown, key);
    }
  },
});

const hints: Readonly<Record<string, string>> = {
  NotFoundException: "look whether the key or alias exists in this account and region",
  DisabledException: "enable the key",
  KMSInvalidStateException: "the key may be waiting for its deletion: cancel that, and enable it",
  InvalidKeyUsageException: "make it with key spec ECC_NIST_P256 and key usage SIGN_VERIFY",
};

const worded = (thrown: unknown, key: string): Failure => {
  if (thrown instanceof Failure) return thrown;
  const name = errorName(thrown);
  return new Failure("unavailable", `the key ${key} can't be used (${name || "unknown error"})`, {
    hint: isAccessDenied(thrown)
      ? "its IAM role, or the key's own policy, lacks a KMS permission: compare it with the printed policy"
      : (hints[name] ?? "try again; if it stays so, look at the key's state"),
    cause: thrown,
  });
};
