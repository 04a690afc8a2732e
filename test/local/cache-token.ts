// Tokens as AWS's documentation has them made for ElastiCache and MemoryDB, and as nobody should make them: each part can be another.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
import { createHash, createHmac } from "node:crypto";
import type { Credentials } from "@sallyport/local/account";

export interface Presigning {
  readonly host: string;
  readonly user: string;
  readonly credentials: Credentials;
  readonly now: number;
  readonly service?: string;
  readonly region?: string;
  readonly expires?: number;
  readonly signedHeaders?: string;
  /** Parameters beside Action and User. */
  readonly more?: readonly (readonly [string, string])[];
  /** Left out although it is the session's. */
  readonly withoutSession?: boolean;
}

const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

export const presign = (of: Presigning): string => {
  const { service = "elasticache", region = "eu-west-1", expires = 900, signedHeaders = "host", more = [] } = of;
  const time = new Date(of.now).toISOString().replace(/[:-]|\.\d+/g, "");
  const scope = [time.slice(0, 8), region, service, "aws4_request"];
  const { sessionToken } = of.credentials;
  const pairs: (readonly [string, string])[] = [
    ["Action", "connect"],
    ["User", of.user],
    ...more,
    ["X-Amz-Algorithm", "AWS4-HMAC-SHA256"],
    ["X-Amz-Credential", [of.credentials.accessKeyId, ...scope].join("/")],
    ["X-Amz-Date", time],
    ["X-Amz-Expires", String(expires)],
    ["X-Amz-SignedHeaders", signedHeaders],
    ...(sessionToken === undefined || of.withoutSession ? [] : [["X-Amz-Security-Token", sessionToken] as const]),
  ];
  const query = pairs
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join("&");
  const headers = signedHeaders === "host" ? `host:${of.host}\n` : "";
  const canonical = ["GET", "/", query, headers, signedHeaders, sha256("")].join("\n");
  const key = scope.reduce<string | Buffer>(hmac, `AWS4${of.credentials.secretAccessKey}`);
  const toSign = ["AWS4-HMAC-SHA256", time, scope.join("/"), sha256(canonical)].join("\n");
  return `${of.host}/?${query}&X-Amz-Signature=${hmac(key, toSign).toString("hex")}`;
};
