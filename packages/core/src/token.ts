// The tokens. All are opaque: a prefix that says the kind and 256 random bits; the table keeps only the SHA-256, and no kind
// is ever looked up as another. A session token is a login to the API; a connect token opens one database as one database
// user, either as a bearer (a password for stock clients, few logins, short) or bound to a key (the tunnel's).
import * as z from "zod";
import { Failure } from "./failure.ts";
import { fromItem, keys, ttlAfter } from "./family.ts";
import type { Digest, Item, Random, Store } from "./ports.ts";
import { type Secret, secret } from "./secret.ts";

const prefixes = { session: "sly_s_", invite: "sly_i_", connect: "sly_c_" } as const;
export type TokenKind = keyof typeof prefixes;
const randomBytes = 32;

/** A fresh token and its SHA-256 in hex, by which it is known from then on. */
export const makeToken = (kind: TokenKind, random: Random, digest: Digest): { token: Secret; id: string } => {
  const text = prefixes[kind] + base64url(random.bytes(randomBytes));
  return { token: secret(text), id: digest.sha256(text) };
};

/** The id of a token as presented, or undefined for anything that this deployment can't have issued as that kind: other prefix, length or alphabet. */
export const identify = (kind: TokenKind, presented: string, digest: Digest): string | undefined =>
  presented.length === prefixes[kind].length + 43 &&
  presented.startsWith(prefixes[kind]) &&
  /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(presented.slice(prefixes[kind].length))
    ? digest.sha256(presented)
    : undefined;

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/** A login to the API, or an invitation to set a password. */
export const ApiKey = z.object({
  kind: z.enum(["session", "invite"]),
  user: z.string(),
  issuedAt: z.number(),
  expiresAt: z.number(),
  /** A session that was logged out, an invite that was used. */
  endedAt: z.number().optional(),
});
export type ApiKey = z.infer<typeof ApiKey>;

export const ConnectToken = z.object({
  id: z.string().length(64),
  user: z.string(),
  database: z.string(),
  protocol: z.string(),
  dbUser: z.string(),
  dbName: z.string().optional(),
  /** The API session it was issued under, and when that login ends. */
  session: z.string(),
  loginExpiresAt: z.number(),
  issuedAt: z.number(),
  expiresAt: z.number(),
  revokedAt: z.number().optional(),
  /** Bearer: how many logins, and as many live sessions. Bound: the public key, SPKI DER in base64. */
  way: z.union([z.object({ bearer: z.number().int() }), z.object({ bound: z.string() })]),
});
export type ConnectToken = z.infer<typeof ConnectToken>;

/** One message for whatever is wrong with a token, so that guessing teaches nothing; the reason goes to the log. */
export const badToken = (why: string): Failure =>
  new Failure("bad_token", "this token is not valid here", {
    hint: "ask for a new one: sally db login",
    cause: why,
  });

/** Is this token good at `now`, coming by that way in? @throws Failure `bad_token` */
export const checkToken = (item: Item | undefined, way: "bearer" | "bound", now: number): ConnectToken => {
  if (!item) throw badToken("unknown");
  const token = fromItem(ConnectToken, item);
  if (token.revokedAt !== undefined) throw badToken("revoked");
  if (now >= token.expiresAt) throw badToken("expired");
  if (token.issuedAt > now + 5 * 60_000) throw badToken("issued in the future");
  if (!(way in token.way)) throw badToken(`not a ${way} token`);
  return token;
};

/** Takes one login of a bearer token, in one conditional write: of two tasks at the last one, one wins. @throws Failure `bad_token` when used up */
export const spend = async (store: Store, token: ConnectToken, now: number): Promise<void> => {
  if (!("bearer" in token.way)) return;
  const below = { logins: token.way.bearer, live: token.way.bearer };
  try {
    await store.write({
      update: keys.spend(token.id),
      add: { logins: 1, live: 1 },
      set: { spentAt: now, ttl: ttlAfter(token.expiresAt) },
      if: { below },
    });
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === "conflict") throw badToken("used up");
    throw thrown;
  }
};

/** Gives the live count back when a session of a bearer token ends. */
export const release = async (store: Store, token: ConnectToken): Promise<void> => {
  if (!("bearer" in token.way)) return;
  // a session may outlive the count: made again by this, it must be tidied again
  const set = { ttl: ttlAfter(token.expiresAt) };
  await store.write({ update: keys.spend(token.id), add: { live: -1 }, set });
};
