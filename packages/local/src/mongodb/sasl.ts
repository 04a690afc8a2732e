// The server's half of MONGODB-AWS: a nonce that continues the client's, then a signed GetCallerIdentity, which DocumentDB shows to
// STS and which is verified here as STS would. Rule: the signature must cover the nonce and the flag, or it could be another's.
// https://github.com/mongodb/specifications/blob/master/source/auth/auth.md#mongodb-aws
import { randomBytes } from "node:crypto";
import { Failure } from "@sallyport/core/failure";
import { Binary, type Document, deserialize, serialize } from "bson";
import { type FindKey, verifyRequest } from "../signature.ts";

const body = Buffer.from("Action=GetCallerIdentity&Version=2011-06-15");
const nonceSize = 32;
const refused = (cause?: unknown): Failure =>
  new Failure("bad_token", "Authentication failed.", {
    details: { code: 18, codeName: "AuthenticationFailed" },
    cause,
  });

export interface Verifier {
  readonly credentials: FindKey;
  readonly now: () => number;
  /** The STS that is named to the client, and its region. */
  readonly host: string;
  readonly region: string;
  /** Is this role a user of the database? */
  readonly isUser: (roleArn: string) => Promise<boolean>;
}

/** By its mark, as the library itself tells its types: there may be two copies of it in a process. */
const isBinary = (value: unknown): value is Binary =>
  typeof value === "object" && value !== null && (value as { _bsontype?: string })._bsontype === "Binary";

const payloadIn = (command: Document): Document => {
  const payload: unknown = command["payload"];
  if (!isBinary(payload)) throw refused("no payload");
  return deserialize(payload.buffer, { promoteBuffers: false });
};
const answer = (payload: Document, done: boolean): Document => ({
  conversationId: 1,
  done,
  payload: new Binary(serialize(payload)),
  ok: 1,
});
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** One conversation. @throws Failure `bad_token` with MongoDB's code, saying nothing of why */
export const openConversation = ({ credentials, now, host, region, isUser }: Verifier) => {
  let nonce: Buffer | undefined;
  return {
    start: (command: Document): Document => {
      if (command["mechanism"] !== "MONGODB-AWS" || command["$db"] !== "$external")
        throw new Failure("unsupported", `Unsupported mechanism ${String(command["mechanism"])}`, {
          details: { code: 334, codeName: "MechanismUnavailable" },
        });
      const { r, p } = payloadIn(command);
      if (!isBinary(r) || r.buffer.length !== nonceSize || Number(p) !== "n".charCodeAt(0)) throw refused();
      nonce = Buffer.concat([r.buffer, randomBytes(nonceSize)]);
      return answer({ s: new Binary(nonce), h: host }, false);
    },
    /** Whose role signed it. */
    finish: async (command: Document): Promise<{ readonly user: string; readonly answer: Document }> => {
      const shown = nonce;
      nonce = undefined;
      if (!shown) throw refused("nothing was begun");
      const { a, d, t } = payloadIn(command);
      const headers: Record<string, readonly string[]> = {
        authorization: [textOf(a)],
        "content-length": [String(body.length)],
        "content-type": ["application/x-www-form-urlencoded"],
        host: [host],
        "x-amz-date": [textOf(d)],
        "x-mongodb-gs2-cb-flag": ["n"],
        "x-mongodb-server-nonce": [shown.toString("base64")],
        ...(typeof t === "string" && { "x-amz-security-token": [t] }),
      };
      const user = signerOf(headers, { credentials, now: now(), region });
      if (!(await isUser(user))) throw refused(`${user} is no user`);
      return { user, answer: answer({}, true) };
    },
  };
};

const signerOf = (
  headers: Readonly<Record<string, readonly string[]>>,
  of: { readonly credentials: FindKey; readonly now: number; readonly region: string },
): string => {
  const covered = (/SignedHeaders=([^,\s]*)/.exec(headers["authorization"]?.[0] ?? "")?.[1] ?? "").split(";");
  if (!["x-mongodb-gs2-cb-flag", "x-mongodb-server-nonce"].every((name) => covered.includes(name)))
    throw refused("the signature covers too little");
  try {
    const request = { method: "POST", target: "/", headers, body };
    const signed = verifyRequest({ request, service: "sts", credentials: of.credentials, now: of.now });
    if (signed.region !== of.region) throw refused("signed for another region");
    return signed.identity.principalArn;
  } catch (cause) {
    throw cause instanceof Failure ? cause : refused(cause);
  }
};
