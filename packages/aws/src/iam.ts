// IAM database tokens: a presigned GET that RDS, ElastiCache or MemoryDB takes as a password for 15 minutes. Signing is local and
// makes no call. Rule: one token per (endpoint, user, key) is used for ten minutes, because AWS is slower to verify ones it has
// not seen.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import { fromNodeProviderChain } from "@aws-sdk/credential-providers";
import type { Clock } from "@sallyport/core/ports";
import { type Secret, secret } from "@sallyport/core/secret";
import { SignatureV4 } from "@smithy/signature-v4";
import type { KeyProvider, Keys } from "./client.ts";

/** What a token of RDS is for: the host and port as AWS knows them, and the database user. */
export interface RdsTokenFor {
  readonly host: string;
  readonly port: number;
  readonly region: string;
  readonly user: string;
}
/** What a token of a cache is for. */
export interface CacheTokenFor {
  readonly service: "elasticache" | "memorydb";
  /** The replication group's id, the serverless cache's or the cluster's name: not the host. */
  readonly cache: string;
  readonly serverless?: true;
  readonly region: string;
  readonly user: string;
}
export type TokenFor = RdsTokenFor | CacheTokenFor;

const goodFor = 15 * 60_000;
const reuseFor = 10 * 60_000;
/** Keys that end sooner than this take their tokens along. */
const margin = 60_000;
const mostKept = 10_000;

/** The keys this process has: from the environment, the task or the function. */
export const ownKeys = (): KeyProvider => fromNodeProviderChain();

/** What the token's request says of itself. */
const requestOf = (of: TokenFor) => {
  if ("cache" in of) {
    // AWS knows a cache by its name in lower case
    const authority = of.cache.toLowerCase();
    const query = { Action: "connect", User: of.user, ...(of.serverless && { ResourceType: "ServerlessCache" }) };
    return { service: of.service, authority, protocol: "http:", hostname: authority, query };
  }
  const { host, port, user } = of;
  const query = { Action: "connect", DBUser: user };
  return { service: "rds-db", authority: `${host}:${port}`, protocol: "https:", hostname: host, port, query };
};

/** A fresh token, as a password. */
export const signToken = async (of: TokenFor, keys: Keys, now: number): Promise<Secret> => {
  const { service, authority, ...asked } = requestOf(of);
  const signer = new SignatureV4({ service, region: of.region, credentials: { ...keys }, sha256: Sha256 });
  const request = { method: "GET", path: "/", headers: { host: authority }, ...asked };
  const { query = {} } = await signer.presign(request, { expiresIn: goodFor / 1000, signingDate: new Date(now) });
  const pairs = Object.keys(query)
    .sort()
    .map((name) => `${encode(name)}=${encode(String(query[name]))}`);
  return secret(`${authority}/?${pairs.join("&")}`);
};

/** Two with the same are the same token. */
const idOf = (of: TokenFor): readonly unknown[] =>
  "cache" in of
    ? [of.service, of.cache, of.serverless, of.region, of.user]
    : ["rds-db", of.host, of.port, of.region, of.user];

/** Tokens, made when first asked for and again after ten minutes. */
export const openTokens = ({ clock }: { clock: Clock }) => {
  const kept = new Map<string, { readonly token: Promise<Secret>; readonly until: number }>();
  return (of: TokenFor, keys: Keys): Promise<Secret> => {
    const now = clock.now();
    // the key id tells people with roles of their own apart
    const id = JSON.stringify([idOf(of), keys.accessKeyId]);
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
