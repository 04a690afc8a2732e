import { createPublicKey, ECDH, generateKeyPairSync, type KeyObject } from "node:crypto";
import { checkPublicKey } from "@sallyport/identity/key";
import { expect, it } from "vitest";

const pointLength = 65;
const derOf = (key: KeyObject): Buffer => key.export({ format: "der", type: "spki" });
const p256 = derOf(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey);

/** The same key with its point in another of SEC 1's writings. */
const rewritten = (form: "compressed" | "hybrid"): Buffer => {
  const head = Buffer.from(p256.subarray(0, -pointLength));
  const point = ECDH.convertKey(p256.subarray(-pointLength), "prime256v1", undefined, undefined, form) as Buffer;
  const shorter = pointLength - point.length;
  // the lengths of the outer sequence and of the bit string
  for (const at of [1, head.length - 2]) head[at] = (head[at] ?? 0) - shorter;
  return Buffer.concat([head, point]);
};

it("a P-256 or Ed25519 key comes back as it was sent", () => {
  for (const der of [p256, derOf(generateKeyPairSync("ed25519").publicKey)])
    expect(checkPublicKey(der.toString("base64"))).toBe(der.toString("base64"));
});

it.each(["compressed", "hybrid"] as const)("S-02 a key has one writing: with a %s point it is refused", (form) => {
  const der = rewritten(form);
  // OpenSSL itself takes it for the same key
  expect(createPublicKey({ key: der, format: "der", type: "spki" }).asymmetricKeyType).toBe("ec");
  expect(() => checkPublicKey(der.toString("base64"))).toThrow("not a public key");
});
