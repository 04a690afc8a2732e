// Redshift's own login method 13: a salted SHA-256 of the password, hashed again with a nonce of either side. As Amazon's own
// drivers do it (redshift_connector, the JDBC driver); nothing else describes it.
import { createHash, randomBytes } from "node:crypto";
import { Failure } from "@sallyport/core/failure";
import { compose, type Reader } from "../bytes.ts";

const sha256 = (...parts: readonly (string | Buffer)[]): Buffer =>
  parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

/** Digits, as those drivers send. */
const makeNonce = (): string => BigInt(`0x${randomBytes(16).toString("hex")}`).toString();

/** The answer to the rest of the request behind the method's number. @throws Failure `upstream_refused` for another hash, `protocol` */
export const answerDigest = (request: Reader, password: string, nonce = makeNonce()): Buffer => {
  const algorithm = request.i32();
  if (algorithm !== 0)
    throw new Failure("upstream_refused", `the database asks for digest ${algorithm}, and only SHA-256 is known here`);
  const salt = request.bytes(request.i32());
  const theirs = request.bytes(request.i32());
  const proof = sha256(sha256(password, salt), theirs, nonce);
  return compose("d").i32(proof.length).bytes(proof).i32(nonce.length).bytes(Buffer.from(nonce)).end();
};
