// IAM database tokens: a presigned GET that RDS takes as a password for 15 minutes. Signing is local and makes no call.
// Rule: one token per (endpoint, user, key) is used for ten minutes, because RDS is slower to verify ones it has not seen.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import { fromNodeProviderChain } from "@aws-sdk/credential-providers";
import type { Clock } from "@sallyport/core/ports";
import { type Secret, secret } from "@sallyport/core/secret";
import { SignatureV4 } from "@smithy/signature-v4";
import type { KeyProvider, Keys } from "./client.ts";

/** What a token is for: the host and port as AWS knows them, and the database user. */
export interface TokenFor {
  readonly host: string;
  readonly port: number;
  readonly region: string;
  readonly user: string;
}

const goodFor = 15 * 60_000;
const reuseFor = 10 * 60_000;
/** Keys that end sooner than this take their tokens along. */
const margin = 60_000;
const mostKept = 10_000;

/** The keys this process has: from the environment, the task or the function. */
export const ownKeys = (): KeyProvider => fromNodeProviderChain();

/** A fresh token, as a password. */
export const signToken = async ({ host, port, region, user }: TokenFor, keys: Keys, now: number): Promise<Secret> => {
  const signer = new SignatureV4({ service: "rds-db", region, credentials: { ...keys }, sha256: Sha256 });
  const authority = `${host}:${port}`;
  const request = {
    method: "GET",
    protocol: "https:",
    hostname: host,
    port,
    path: "/",
    query: { Action: "connect", DBUser: user },
    headers: { host: authority },
  };
  const { query = {} } = await signer.presign(request, { expiresIn: goodFor / 1000, signingDate: new Date(now) });
  const pairs = Object.keys(query)
    .sort()
    .map((name) => `${encode(name)}=${encode(String(query[name]))}`);
  return secret(`${authority}/?${pairs.join("&")}`);
};

/** Tokens, made when first asked for and again after ten minutes. */
export const openTokens = ({ clock }: { clock: Clock }) => {
  const kept = new Map<string, { readonly token: Promise<Secret>; readonly until: number }>();
  return (of: TokenFor, keys: Keys): Promise<Secret> => {
    const now = clock.now();
    // the key id tells people with roles of their own apart
    const id = JSON.stringify([of.host, of.port, of.region, of.user, keys.accessKeyId]);
    const known = kept.get(id);
    if (known && known.until > now) return known.token;
    if (kept.size >= mostKept) for (const [other, { until }] of kept) if (until <= now) kept.delete(other);
    const token = signToken(of, keys, now);
    const ends = (keys.expiration?.getTime() ?? Number.POSITIVE_INFINITY) - margin;
    kept.set(id, { token, until: Math.min(now + reuseFor, ends) });
    token.catch(() => kept.delete(id));
    return token;
  };
};

const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** SHA-256, keyed or not, in the shape the signer makes its own of: it calls `new`. */
class Sha256 {
  readonly #make: () => Hash | Hmac;
  #hash: Hash | Hmac;
  constructor(key?: string | ArrayBuffer | ArrayBufferView) {
    this.#make = () => (key === undefined ? createHash("sha256") : createHmac("sha256", bytes(key)));
    this.#hash = this.#make();
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(bytes(data));
  }
  digest(): Promise<Uint8Array> {
    return Promise.resolve(this.#hash.digest());
  }
  reset(): void {
    this.#hash = this.#make();
  }
}

const bytes = (data: string | ArrayBuffer | ArrayBufferView): Uint8Array => {
  if (typeof data === "string") return Buffer.from(data, "utf8");
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
};
