// Making the proxies' certificates: X.509 by @peculiar/x509, P-256 throughout, signed by a key that is not here. The library
// makes a certificate around a signature it is given; so it is made twice, first to learn what there is to sign. What comes
// out is verified before it is handed on. RFC 5280.
import "@sallyport/core/reflect";
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import type { Issuer, LeafFacts, Lifetime } from "@sallyport/core/certificate";
import { Failure } from "@sallyport/core/failure";
import type { Signer } from "@sallyport/core/ports";
import { secret } from "@sallyport/core/secret";

const signingAlgorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const nameLimit = 64;

const spkiOf = (key: KeyObject): Buffer => key.export({ type: "spki", format: "der" });
const keyOf = (spki: Uint8Array): KeyObject => createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
const pinOfSpki = (spki: Uint8Array): string => `sha256/${createHash("sha256").update(spki).digest("base64")}`;

/** The first of the three parts of a certificate, which is what is signed. Its length takes two bytes, or three with 0x82. */
const toBeSigned = (certificate: Buffer): Buffer => {
  const start = (certificate[1] ?? 0) < 0x80 ? 2 : 2 + ((certificate[1] ?? 0) & 0x7f);
  const first = certificate[start + 1] ?? 0;
  const count = first < 0x80 ? 0 : first & 0x7f;
  const size = count === 0 ? first : certificate.readUIntBE(start + 2, count);
  return certificate.subarray(start, start + 2 + count + size);
};

/** A DER signature as the two 32-byte numbers that WebCrypto, and so the library, takes it for. */
const plainSignature = (der: Uint8Array): Buffer => {
  const numbers: Buffer[] = [];
  for (let at = 2; at < der.length; ) {
    const size = der[at + 1] ?? 0;
    const digits = Buffer.from(der.subarray(at + 2, at + 2 + size));
    const trimmed = digits.subarray(Math.max(0, digits.length - 32));
    numbers.push(Buffer.concat([Buffer.alloc(32 - trimmed.length), trimmed]));
    at += 2 + size;
  }
  return Buffer.concat(numbers);
};

interface Wanted {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: Uint8Array;
  readonly lifetime: Lifetime;
  readonly extensions: x509.Extension[];
}

/** @throws Failure `internal` when the outcome does not verify with the signer's own key */
const make = async (signer: Signer, of: Wanted): Promise<string> => {
  const fields = {
    // 20 bytes at most, and positive: the first bit is off
    serialNumber: Buffer.concat([Buffer.from([0x5a]), randomBytes(15)]).toString("hex"),
    subject: [{ CN: [of.subject] }],
    issuer: [{ CN: [of.issuer] }],
    notBefore: new Date(of.lifetime.notBeforeAt),
    notAfter: new Date(of.lifetime.expiresAt),
    publicKey: new x509.PublicKey(Buffer.from(of.publicKey)),
    signingAlgorithm,
    extensions: of.extensions,
  };
  const draft = await x509.X509CertificateGenerator.create({ ...fields, signature: Buffer.alloc(64, 1) }, webcrypto);
  const signature = plainSignature(await signer.sign(toBeSigned(Buffer.from(draft.rawData))));
  const made = await x509.X509CertificateGenerator.create({ ...fields, signature }, webcrypto);
  const pem = `${made.toString("pem").trim()}\n`;
  if (!new X509Certificate(pem).verify(keyOf(await signer.publicKey())))
    throw new Failure("internal", "a certificate was made that does not verify");
  return pem;
};

const rootName = (spki: Uint8Array): string =>
  `Sallyport root ${createHash("sha256").update(spki).digest("hex").slice(0, 8)}`;

const makeRoot = async (signer: Signer, lifetime: Lifetime): Promise<string> => {
  const publicKey = await signer.publicKey();
  const name = rootName(publicKey);
  return make(signer, {
    subject: name,
    issuer: name,
    publicKey,
    lifetime,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(new x509.PublicKey(Buffer.from(publicKey)), false, webcrypto),
    ],
  });
};

const makeLeaf: Issuer["makeLeaf"] = async ({ signer, root, key, names, lifetime }) => {
  const rootKey = await signer.publicKey();
  const spki = spkiOf(createPublicKey(createPrivateKey(key.reveal())));
  const [first = ""] = names;
  const cert = await make(signer, {
    // a name longer than RFC 5280 lets a CN be, as load balancers have, is among the alternative names all the same
    subject: first.length <= nameLimit ? first : "Sallyport proxy",
    issuer: rootName(rootKey),
    publicKey: spki,
    lifetime,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(new x509.PublicKey(Buffer.from(rootKey)), false, webcrypto),
    ],
  });
  if (!isIssuedBy(cert, root)) throw new Failure("internal", "a certificate was made that is not its root's");
  return cert;
};

const isIssuedBy = (cert: string, root: string): boolean => {
  const authority = new X509Certificate(root);
  const leaf = new X509Certificate(cert);
  return leaf.checkIssued(authority) && leaf.verify(authority.publicKey);
};

const readLeaf = (cert: string): LeafFacts | undefined => {
  try {
    const { publicKey, validFrom, validTo } = new X509Certificate(cert);
    const names = new x509.X509Certificate(cert).getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
    return {
      pin: pinOfSpki(spkiOf(publicKey)),
      names: names.map(({ value }) => value),
      notBeforeAt: Date.parse(validFrom),
      expiresAt: Date.parse(validTo),
    };
  } catch {
    return undefined;
  }
};

export const issuer: Issuer = {
  makeKey: async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return secret(privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  },
  pinOf: (key) => pinOfSpki(key instanceof Uint8Array ? key : spkiOf(createPublicKey(createPrivateKey(key.reveal())))),
  makeRoot,
  makeLeaf,
  readLeaf,
  isIssuedBy,
};
