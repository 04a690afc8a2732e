// SigV4 verification, written from the specification and independent of the SDK's signer: header-signed requests, and
// presigned URLs used as database passwords. Rule: what is not covered by the signature is refused, never ignored.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { Identity, Key } from "./account.ts";
import { Refusal } from "./refusal.ts";

const algorithm = "AWS4-HMAC-SHA256";
const skewMs = 5 * 60_000;
const tokenLifetimeMs = 15 * 60_000;
const tokenSizeLimit = 16 * 1024;
/** The body comes in chunks with a trailer that carries its checksum. */
export const unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/** A request as it came off the wire: the target is the raw path and query, header names are lower-case. */
export interface SignedRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>;
  readonly body: Uint8Array;
}

export type FindKey = (accessKeyId: string) => Key | undefined;

export interface Signed {
  readonly accessKeyId: string;
  readonly arn: string;
  readonly identity: Identity;
  readonly region: string;
}

interface Scope {
  readonly accessKeyId: string;
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

/** Who signed this request, or a Refusal. `service` is the signing name the request must be scoped to. */
export function verifyRequest(of: {
  readonly request: SignedRequest;
  readonly service: string;
  readonly credentials: FindKey;
  readonly now: number;
}): Signed {
  const { request, now } = of;
  const { credential, signedHeaders, signature } = authorization(only(request, "authorization"));
  const scope = scopeOf(credential);
  if (scope.service !== of.service) throw mismatch(`Credential should be scoped to correct service: '${of.service}'.`);
  const names = signedNames(request, signedHeaders);
  const date = only(request, "x-amz-date") ?? "";
  const signedAt = parseDate(date);
  if (date.slice(0, 8) !== scope.date)
    throw mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.");
  if (now - signedAt > skewMs)
    throw mismatch(`Signature expired: ${date} is now earlier than ${formatDate(now - skewMs)}.`);
  if (signedAt - now > skewMs)
    throw mismatch(`Signature not yet current: ${date} is still later than ${formatDate(now + skewMs)}.`);
  const payloadHash = payloadHashOf(request, of.service);
  const key = keyOf(of.credentials, scope.accessKeyId, only(request, "x-amz-security-token"), now);

  const [path = "", query = ""] = splitOnce(request.target, "?");
  const canonical = [
    request.method,
    of.service === "s3" ? objectPath(path) : canonicalPath(path),
    canonicalQuery(parseQuery(query)),
    ...names.map((name) => `${name}:${(only(request, name) ?? "").trim().replace(/ +/g, " ")}`),
    "",
    names.join(";"),
    payloadHash,
  ].join("\n");
  requireSignature({ canonical, date, scope, secret: key.secretAccessKey, signature });
  return { accessKeyId: scope.accessKeyId, arn: key.identity.arn, identity: key.identity, region: scope.region };
}

export interface VerifiedToken extends Signed {
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/**
 * Verifies a presigned GET used as a password: `host[:port]/?Action=connect&DBUser=…&X-Amz-…`.
 * `host` is what the token must be issued for (several where the server answers to several names), `expect` the parameters it must
 * carry, exactly. Throws a Refusal saying which part is wrong: for logs, never for the client, who learns only that login failed.
 */
export function verifyToken(of: {
  readonly token: string;
  readonly service: string;
  readonly host: string | readonly string[];
  readonly region: string;
  readonly expect: Readonly<Record<string, string>>;
  readonly credentials: FindKey;
  readonly now: number;
}): VerifiedToken {
  const { token, now } = of;
  if (token.length > tokenSizeLimit) throw denied("the token is too long");
  const [host = "", search] = splitOnce(token, "/?");
  if (search === undefined) throw denied("not a presigned URL");
  if (![of.host].flat().includes(host)) throw denied("the token was issued for another endpoint");
  const pairs = parseQuery(search);
  const query = new Map(pairs);
  if (query.size !== pairs.length) throw denied("a parameter appears twice");
  if (query.get("X-Amz-Algorithm") !== algorithm) throw denied("the algorithm is not AWS4-HMAC-SHA256");
  for (const [name, value] of Object.entries(of.expect)) {
    if (query.get(name) !== value) throw denied(`the token's ${name} does not match`);
  }
  if (query.get("X-Amz-SignedHeaders") !== "host") throw denied("the signature must cover the host and nothing else");
  const scope = scopeOf(query.get("X-Amz-Credential") ?? "");
  const date = query.get("X-Amz-Date") ?? "";
  const issuedAt = parseDate(date);
  if (scope.service !== of.service || scope.region !== of.region || scope.date !== date.slice(0, 8)) {
    throw denied("the credential scope names another day, region or service");
  }
  const expires = query.get("X-Amz-Expires") ?? "";
  const lifetimeMs = /^\d{1,4}$/.test(expires) ? Number(expires) * 1000 : 0;
  if (lifetimeMs < 1000 || lifetimeMs > tokenLifetimeMs) throw denied("X-Amz-Expires must be 1 to 900 seconds");
  if (issuedAt - now > skewMs) throw denied("the token is from the future");
  if (now > issuedAt + lifetimeMs) throw denied("the token has expired");
  const key = keyOf(of.credentials, scope.accessKeyId, query.get("X-Amz-Security-Token"), now);

  const signature = query.get("X-Amz-Signature") ?? "";
  const signedPairs = pairs.filter(([name]) => name !== "X-Amz-Signature");
  const canonical = ["GET", "/", canonicalQuery(signedPairs), `host:${host}`, "", "host", sha256("")].join("\n");
  requireSignature({ canonical, date, scope, secret: key.secretAccessKey, signature });
  const { identity } = key;
  return {
    accessKeyId: scope.accessKeyId,
    arn: identity.arn,
    identity,
    region: scope.region,
    issuedAt,
    expiresAt: issuedAt + lifetimeMs,
  };
}

function authorization(header: string | undefined) {
  if (header === undefined)
    throw new Refusal("MissingAuthenticationToken", "Request is missing Authentication Token", 403);
  const parts = new Map<string, string>();
  const [scheme, rest = ""] = splitOnce(header, " ");
  for (const part of rest.split(",")) {
    const [name = "", value = ""] = splitOnce(part.trim(), "=");
    if (parts.has(name)) throw incomplete(`Authorization header names ${name} twice.`);
    parts.set(name, value);
  }
  const [credential, signedHeaders, signature] = ["Credential", "SignedHeaders", "Signature"].map((name) =>
    parts.get(name),
  );
  if (scheme !== algorithm || parts.size !== 3 || !credential || !signedHeaders || !signature) {
    throw incomplete("Authorization header requires exactly 'Credential', 'SignedHeaders' and 'Signature'.");
  }
  return { credential, signedHeaders, signature };
}

/** The signed header names: sorted, present once each, with the host, the date and every x-amz-* header among them. */
function signedNames(request: SignedRequest, list: string): readonly string[] {
  const names = list.split(";");
  if (names.some((name, at) => name !== name.toLowerCase() || (at > 0 && name <= (names[at - 1] ?? "")))) {
    throw incomplete("SignedHeaders must be lower-case, sorted and without repetition.");
  }
  const sent = Object.keys(request.headers).filter((name) => request.headers[name]?.length);
  const required = [
    "host",
    "x-amz-date",
    ...sent.filter((name) => name.startsWith("x-amz-") || name === "content-type"),
  ];
  for (const name of required)
    if (!names.includes(name)) throw mismatch(`'${name}' must be a signed header in the AWS Signature.`);
  for (const name of names)
    if (only(request, name) === undefined) throw mismatch(`Signed header '${name}' is not in the request.`);
  return names;
}

function scopeOf(credential: string): Scope {
  const [accessKeyId = "", date = "", region = "", service = "", end, ...more] = credential.split("/");
  if (
    !accessKeyId ||
    !/^\d{8}$/.test(date) ||
    !/^[a-z0-9-]+$/.test(region) ||
    !service ||
    end !== "aws4_request" ||
    more.length > 0
  ) {
    throw incomplete("Credential must have exactly 5 slash-delimited elements ending in aws4_request.");
  }
  return { accessKeyId, date, region, service };
}

function keyOf(credentials: FindKey, accessKeyId: string, sessionToken: string | undefined, now: number): Key {
  const key = credentials(accessKeyId);
  if (!key || !sameText(key.sessionToken ?? "", sessionToken ?? "")) {
    throw new Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", 403);
  }
  if (key.expiresAt !== undefined && now >= key.expiresAt) {
    throw new Refusal("ExpiredToken", "The security token included in the request is expired", 403);
  }
  return key;
}

function requireSignature(of: {
  canonical: string;
  date: string;
  scope: Scope;
  secret: string;
  signature: string;
}): void {
  const { date, region, service } = of.scope;
  const key = [date, region, service, "aws4_request"].reduce<string | Buffer>(
    (secret, part) => hmac(secret, part),
    `AWS4${of.secret}`,
  );
  const wanted = hmac(
    key,
    [algorithm, of.date, `${date}/${region}/${service}/aws4_request`, sha256(of.canonical)].join("\n"),
  );
  const given = /^[0-9a-f]{64}$/.test(of.signature) ? Buffer.from(of.signature, "hex") : Buffer.alloc(32);
  if (!timingSafeEqual(wanted, given)) {
    throw mismatch(
      "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
    );
  }
}

/** Each segment, already encoded once by the client, is encoded once more: all services but S3. */
function canonicalPath(path: string): string {
  const segments = path.split("/");
  if (!path.startsWith("/") || segments.slice(1, -1).includes("") || segments.some((s) => s === "." || s === "..")) {
    throw incomplete("The path must be absolute and normalised.");
  }
  return segments.map(encode).join("/");
}

/** S3's: encoded once, and nothing in it is anything but a name. */
function objectPath(path: string): string {
  try {
    return path
      .split("/")
      .map((segment) => encode(decodeURIComponent(segment)))
      .join("/");
  } catch {
    throw incomplete("The path is not properly encoded.");
  }
}

/** Only S3 takes bodies that the signature does not cover, and only by these names. The second's own checksum follows the body. */
const uncovered: readonly string[] = ["UNSIGNED-PAYLOAD", unsignedTrailer];

function payloadHashOf(request: SignedRequest, service: string): string {
  const declared = only(request, "x-amz-content-sha256");
  if (service === "s3" && declared === undefined)
    throw new Refusal("InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400);
  if (service === "s3" && declared !== undefined && uncovered.includes(declared)) return declared;
  const hash = sha256(request.body);
  if (declared !== undefined && declared !== hash)
    throw mismatch("The value of x-amz-content-sha256 is not the hash of the body.");
  return hash;
}

function parseQuery(query: string): readonly (readonly [string, string])[] {
  if (query === "") return [];
  return query.split("&").map((pair) => {
    const [name = "", value = ""] = splitOnce(pair, "=");
    try {
      return [decodeURIComponent(name), decodeURIComponent(value)] as const;
    } catch {
      throw incomplete("The query string is not properly encoded.");
    }
  });
}

const canonicalQuery = (pairs: readonly (readonly [string, string])[]): string =>
  pairs
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : x > y ? 1 : 0))
    .map((pair) => pair.join("="))
    .join("&");

const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

function parseDate(date: string): number {
  const iso = date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z");
  const at = iso === date ? Number.NaN : Date.parse(iso);
  if (Number.isNaN(at)) throw incomplete("Date must be in ISO-8601 'basic format'.");
  return at;
}

const formatDate = (at: number): string => new Date(at).toISOString().replace(/[-:]|\.\d{3}/g, "");

/** A header's only value; a header sent twice is refused, because the two ends could read it differently. */
function only(request: SignedRequest, name: string): string | undefined {
  const values = Object.hasOwn(request.headers, name) ? (request.headers[name] ?? []) : [];
  if (values.length > 1) throw incomplete(`Header '${name}' appears more than once.`);
  return values[0];
}

function splitOnce(text: string, by: string): readonly [string, string?] {
  const at = text.indexOf(by);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + by.length)];
}

const sha256 = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex");
const hmac = (key: string | Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest();
const sameText = (a: string, b: string): boolean => timingSafeEqual(Buffer.from(sha256(a)), Buffer.from(sha256(b)));
const mismatch = (message: string): Refusal => new Refusal("SignatureDoesNotMatch", message, 403);
const incomplete = (message: string): Refusal => new Refusal("IncompleteSignature", message, 400);
const denied = (message: string): Refusal => new Refusal("AccessDenied", message, 403);
