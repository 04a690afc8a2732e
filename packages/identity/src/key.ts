// Public keys that connect tokens are bound to: SPKI DER (RFC 5480, RFC 8410) in base64, P-256 or Ed25519, nothing else.
import { createPublicKey, type KeyObject } from "node:crypto";
import { Failure } from "@sallyport/core/failure";

const refuse = (): Failure =>
  new Failure("invalid", "this is not a public key that a token can be bound to", {
    hint: "send a P-256 or Ed25519 key as SPKI DER in base64",
  });

/** Of a point on P-256 as SEC 1 writes it whole. */
const pointLength = 65;
const uncompressed = 4;

const readKey = (der: Buffer): KeyObject => {
  try {
    return createPublicKey({ key: der, format: "der", type: "spki" });
  } catch {
    // OpenSSL's reasons teach nobody anything
    throw refuse();
  }
};

/** The key as it came, once it is known to be one, in its only writing. @throws Failure `invalid` */
export const checkPublicKey = (text: string): string => {
  const der = Buffer.from(text, "base64");
  if (der.toString("base64") !== text) throw refuse();
  const key = readKey(der);
  const p256 = key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
  if (!p256 && key.asymmetricKeyType !== "ed25519") throw refuse();
  // bytes behind the key, explicit curves: another writing of the same key is another string
  if (!key.export({ format: "der", type: "spki" }).equals(der)) throw refuse();
  // OpenSSL writes a compressed or hybrid point as it read it
  if (p256 && der.at(-pointLength) !== uncompressed) throw refuse();
  return text;
};
