// The client's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, and the channel binding tls-server-end-point. The server must
// prove that it knows the password too, and may not make the proof cheap to guess or dear to compute.
// RFC 5802, RFC 7677, RFC 5929 section 4, RFC 4013
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual, X509Certificate } from "node:crypto";
import type { Duplex } from "node:stream";
import { promisify } from "node:util";
import { Failure } from "@sallyport/core/failure";
import type { Secret } from "@sallyport/core/secret";

const derive = promisify(pbkdf2);
// RFC 7677: at least 4096; the upper bound keeps a hostile server from buying our processor's time
const iterations = { least: 4_096, most: 1_000_000 } as const;

export interface ScramOptions {
  readonly password: Secret;
  /** Whom the proof is for; PostgreSQL takes the startup's user and wants nothing here. */
  readonly user?: string;
  /** What the server offers, in its own names. */
  readonly offered: readonly string[];
  /** tls-server-end-point of the connection, where it is known. */
  readonly binding?: Buffer | undefined;
  /** For test vectors. */
  readonly nonce?: string;
}

export interface Scram {
  readonly mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS";
  /** The client-first message. */
  readonly first: string;
  /** Answers server-first with client-final. @throws Failure `upstream_refused` */
  answer(serverFirst: string): Promise<string>;
  /** Is server-final the proof we expect? @throws Failure `upstream_refused` when not */
  verify(serverFinal: string): void;
}

const refused = (why: string): Failure =>
  new Failure("upstream_refused", `the database's SCRAM exchange is not right: ${why}`, {
    hint: "something may stand between the proxy and the database",
  });

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const xor = (left: Buffer, right: Buffer): Buffer => Buffer.from(left.map((byte, at) => byte ^ (right[at] ?? 0)));

const strictBase64 = (text: string | undefined): Buffer => {
  const bytes = Buffer.from(text ?? "", "base64");
  if (bytes.length === 0 || bytes.toString("base64") !== text) throw refused("a field is not base64");
  return bytes;
};

/** SASLprep as PostgreSQL does it: a password it can't prepare is used as it is. */
export const prepare = (password: string): string => {
  if (/^[\x20-\x7e]*$/.test(password)) return password;
  const mapped = password
    .replace(/[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu, " ")
    .replace(/\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu, "")
    .normalize("NFKC");
  return mapped === "" || /[\p{Cc}\p{Co}\p{Cs}\p{Cn}\u2028\u2029\ufff9-\ufffd]/u.test(mapped) ? password : mapped;
};

/** `r=…,s=…,i=…`, each once and in this order; an extension that we must understand comes first and is refused. */
const parseFirst = (text: string, nonce: string) => {
  const found = /^r=([!-+\--~]+),s=([^,]+),i=([1-9][0-9]{0,8})(?:,.*)?$/.exec(text);
  if (!found) throw refused(text.startsWith("e=") ? "it reports an error" : "its first message is malformed");
  const [, both = "", salt, count] = found;
  if (!both.startsWith(nonce) || both.length === nonce.length) throw refused("its nonce does not continue ours");
  if (Number(count) < iterations.least || Number(count) > iterations.most) throw refused(`${count} iterations`);
  return { both, salt: strictBase64(salt), count: Number(count) };
};

/** The first message of a login, by the strongest mechanism that both sides have. */
export const startScram = (options: ScramOptions): Scram => {
  const { offered, binding, user = "", nonce = randomBytes(18).toString("base64") } = options;
  const plus = binding !== undefined && offered.includes("SCRAM-SHA-256-PLUS");
  if (!plus && !offered.includes("SCRAM-SHA-256"))
    throw new Failure("upstream_refused", `the database offers only ${offered.join(", ") || "nothing"}`, {
      hint: "password_encryption must be scram-sha-256",
    });
  // `y`: we could have bound, you did not offer; a server that did offer then sees that its offer was cut
  const header = plus ? "p=tls-server-end-point,," : binding && !plus ? "y,," : "n,,";
  const bare = `n=${user.replaceAll("=", "=3D").replaceAll(",", "=2C")},r=${nonce}`;
  let expected: Buffer | undefined;
  return {
    mechanism: plus ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256",
    first: header + bare,
    answer: async (serverFirst) => {
      const { both, salt, count } = parseFirst(serverFirst, nonce);
      const bound = Buffer.concat([Buffer.from(header), plus && binding ? binding : Buffer.alloc(0)]);
      const final = `c=${bound.toString("base64")},r=${both}`;
      const salted = await derive(prepare(options.password.reveal()), salt, count, 32, "sha256");
      const signed = `${bare},${serverFirst},${final}`;
      const clientKey = hmac(salted, "Client Key");
      const stored = createHash("sha256").update(clientKey).digest();
      expected = hmac(hmac(salted, "Server Key"), signed);
      return `${final},p=${xor(clientKey, hmac(stored, signed)).toString("base64")}`;
    },
    verify: (serverFinal) => {
      const proof = /^v=([^,]+)(?:,.*)?$/.exec(serverFinal);
      if (!proof) throw refused("it does not prove that it knows the password");
      const given = strictBase64(proof[1]);
      if (!expected || given.length !== expected.length || !timingSafeEqual(given, expected))
        throw refused("its proof is wrong");
    },
  };
};

/** The hash that the certificate's signature names; MD5 and SHA-1 count as SHA-256, unknown ones as nothing. */
const hashOf = (certificate: X509Certificate): string | undefined => {
  const name = certificate.signatureAlgorithm ?? "";
  const found = /sha-?(1|224|256|384|512)\b|(md5)/i.exec(name.replace(/sha(1|224|256|384|512)With.*/i, "sha$1"));
  if (!found) return undefined;
  return found[2] || found[1] === "1" ? "sha256" : `sha${found[1]}`;
};

export const endPoint = (certificate: X509Certificate): Buffer | undefined => {
  const hash = hashOf(certificate);
  return hash ? createHash(hash).update(certificate.raw).digest() : undefined;
};

/** The binding of a TLS connection, if this is one. */
export const bindingOf = (socket: Duplex): Buffer | undefined => {
  if (!("getPeerX509Certificate" in socket) || typeof socket.getPeerX509Certificate !== "function") return undefined;
  const certificate: unknown = socket.getPeerX509Certificate();
  return certificate instanceof X509Certificate ? endPoint(certificate) : undefined;
};
