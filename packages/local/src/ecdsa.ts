// ECDSA on P-256 over a digest that is there already, which Node signs only together with the hashing (FIPS 186-5, 6.4.1).
// The one-time key is OpenSSL's. For the emulated KMS alone: nothing here runs in constant time.
import { createECDH, type KeyObject } from "node:crypto";

const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const toBig = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
const mod = (value: bigint): bigint => ((value % order) + order) % order;

function inverse(value: bigint): bigint {
  // Fermat: the order is a prime
  let [result, base, exponent] = [1n, mod(value), order - 2n];
  for (; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = mod(result * base);
    base = mod(base * base);
  }
  return result;
}

/** An INTEGER or, from parts, a SEQUENCE in DER; all of it is shorter than 128 bytes. */
function der(value: bigint | readonly Buffer[]): Buffer {
  if (typeof value !== "bigint") {
    const parts = Buffer.concat(value);
    return Buffer.concat([Buffer.from([0x30, parts.length]), parts]);
  }
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 1 ? `0${hex}` : hex, "hex");
  const positive = (bytes[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes;
  return Buffer.concat([Buffer.from([0x02, positive.length]), positive]);
}

/** The signature in DER. */
export function signDigest(digest: Uint8Array, key: KeyObject): Buffer {
  const d = toBig(Buffer.from(key.export({ format: "jwk" }).d ?? "", "base64url"));
  for (;;) {
    const once = createECDH("prime256v1");
    const r = mod(toBig(once.generateKeys().subarray(1, 33)));
    const s = mod(inverse(toBig(once.getPrivateKey())) * (toBig(digest) + r * d));
    if (r !== 0n && s !== 0n) return der([der(r), der(s)]);
  }
}
