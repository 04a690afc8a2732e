// A certificate authority for the laptop: a root of its own, and leaves for the names and addresses of its servers.
// ECDSA P-256 throughout; when a certificate is valid is the caller's to say, so tests need no waiting.
import "@sallyport/core/reflect";
import { createHash, KeyObject, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const dayMs = 86_400_000;

/** Everything in PEM. */
export interface Certificate {
  /** The root that signed it. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** `sha256/<base64>` of the public key, as in HTTP's old pins. */
  readonly pin: string;
}

export interface Lifetime {
  readonly notBeforeAt: number;
  readonly notAfterAt: number;
}

export interface Authority {
  /** The root certificate, PEM. */
  readonly ca: string;
  /** A server certificate for these DNS names and IP addresses; as a `peer`, a client's too. */
  issue(names: readonly string[], lifetime?: Lifetime, as?: "server" | "peer"): Promise<Certificate>;
}

/** `sha256/<base64>` of the public key in a certificate (PEM). */
export const pinOf = (cert: string): string => {
  const key = new X509Certificate(cert).publicKey.export({ type: "spki", format: "der" });
  return `sha256/${createHash("sha256").update(key).digest("base64")}`;
};

const keyPair = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;

const days = (now: number, count: number): Lifetime => ({ notBeforeAt: now - dayMs, notAfterAt: now + count * dayMs });

/** Signs with a root made here and now, which no one else has the key of. The root lives for ten years, a leaf for 30 days unless told. */
export const createAuthority = async (options: {
  readonly now: number;
  readonly name?: string;
}): Promise<Authority> => {
  const { now, name = "Sallyport laptop root" } = options;
  const keys = await keyPair();
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: randomBytes(16).toString("hex"),
      name: [{ CN: [name] }],
      notBefore: new Date(days(now, 3650).notBeforeAt),
      notAfter: new Date(days(now, 3650).notAfterAt),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    },
    webcrypto,
  );
  const ca = root.toString("pem");
  return {
    ca,
    issue: async (names, lifetime = days(now, 30), as = "server") => {
      const leaf = await keyPair();
      const cert = await x509.X509CertificateGenerator.create(
        {
          serialNumber: randomBytes(16).toString("hex"),
          subject: [{ CN: [names[0] ?? "server"] }],
          issuer: root.subjectName,
          notBefore: new Date(lifetime.notBeforeAt),
          notAfter: new Date(lifetime.notAfterAt),
          signingAlgorithm: algorithm,
          publicKey: leaf.publicKey,
          signingKey: keys.privateKey,
          extensions: [
            new x509.BasicConstraintsExtension(false, undefined, true),
            new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
            new x509.ExtendedKeyUsageExtension([
              x509.ExtendedKeyUsage.serverAuth,
              ...(as === "peer" ? [x509.ExtendedKeyUsage.clientAuth] : []),
            ]),
            new x509.SubjectAlternativeNameExtension(
              names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
            ),
            await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
          ],
        },
        webcrypto,
      );
      const pem = cert.toString("pem");
      const key = KeyObject.from(leaf.privateKey).export({ type: "pkcs8", format: "pem" }).toString();
      return { ca, cert: pem, key, pin: pinOf(pem) };
    },
  };
};
