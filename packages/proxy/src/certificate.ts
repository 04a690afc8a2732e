// The proxy's own certificate: from the secret that certify keeps, or from files of somebody's own, and read again each minute.
// Rule: only a certificate that fits its key and is valid now is ever taken; anything else is told of, and what there was
// stays. Nobody who is connected notices a change.
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { readSecret } from "@sallyport/aws/vault";
import { Failure } from "@sallyport/core/failure";
import type { Clock } from "@sallyport/core/ports";
import * as z from "zod";
import { describeError, type Log } from "./log.ts";
import type { Settings } from "./settings.ts";
import { type Identity, openTrust, type Trust } from "./trust.ts";

export interface CertificateSource {
  /** For the log: which secret, which file. */
  readonly name: string;
  read(): Promise<Identity>;
}

/** Whatever is shown should have been renewed long before: certify does so ten days before the end. */
const lateBelow = 5 * 86_400_000;

const Held = z.object({ cert: z.string(), key: z.string() });

/** The value of the secret. @throws Failure `unavailable`, without the value in it */
export const parseHeld = (text: string): Identity => {
  try {
    return Held.parse(JSON.parse(text));
  } catch {
    throw new Failure("unavailable", "the certificate's secret holds no {cert, key}", {
      hint: "invoke certify; only certify should write this secret",
    });
  }
};

type SecretsClient = Parameters<typeof readSecret>[0];

export const sourceOf = (settings: Settings["certificate"], client: () => SecretsClient): CertificateSource => {
  if ("secret" in settings) {
    const opened = client();
    return {
      name: settings.secret,
      read: async () => parseHeld((await readSecret(opened, settings.secret)).reveal()),
    };
  }
  const { certFile, keyFile } = settings;
  return {
    name: certFile,
    read: async () => {
      const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
      return { cert, key };
    },
  };
};

interface Facts {
  readonly pin: string;
  readonly serial: string;
  readonly expiresAt: number;
}

/** What is known of a certificate that may be shown now. @throws Failure `unavailable` for one that may not */
const factsOf = ({ cert, key }: Identity, now: number): Facts => {
  const refuse = (why: string, cause?: unknown): Failure =>
    new Failure("unavailable", `the certificate ${why}`, cause === undefined ? {} : { cause });
  let leaf: X509Certificate;
  let fits: boolean;
  try {
    leaf = new X509Certificate(cert);
    fits = leaf.checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw refuse("or its key can't be read", cause);
  }
  if (!fits) throw refuse("and its key do not belong together");
  const [notBeforeAt, expiresAt] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)];
  if (expiresAt <= now) throw refuse(`expired ${leaf.validTo}`);
  if (notBeforeAt > now) throw refuse(`is not valid before ${leaf.validFrom}`);
  const spki = leaf.publicKey.export({ type: "spki", format: "der" });
  return { pin: `sha256/${createHash("sha256").update(spki).digest("base64")}`, serial: leaf.serialNumber, expiresAt };
};

export interface Certificate {
  readonly trust: Trust;
  /** Takes a new certificate if there is one; to be called each minute. Never rejects. */
  refresh(): Promise<void>;
}

const isSame = (a: Identity, b: Identity): boolean =>
  Buffer.from(a.cert).equals(Buffer.from(b.cert)) && Buffer.from(a.key).equals(Buffer.from(b.key));

/** @throws Failure `unavailable` when there is nothing to begin with */
export const openCertificate = async (parts: {
  readonly source: CertificateSource;
  readonly clock: Clock;
  readonly log: Log;
}): Promise<Certificate> => {
  const { source, clock, log } = parts;
  let shown = await source.read();
  let facts = factsOf(shown, clock.now());
  const trust = openTrust(shown);
  log.info("certificate", { from: source.name, ...facts });

  const take = async (): Promise<void> => {
    const next = await source.read();
    if (isSame(next, shown)) return;
    const nextFacts = factsOf(next, clock.now());
    trust.swap(next);
    [shown, facts] = [next, nextFacts];
    log.info("certificate.swap", { from: source.name, ...facts });
  };
  return {
    trust,
    refresh: async () => {
      try {
        await take();
      } catch (thrown) {
        log.error("certificate.refused", { from: source.name, ...describeError(thrown), shown: facts.serial });
      }
      if (facts.expiresAt - clock.now() < lateBelow) log.error("certificate.late", { from: source.name, ...facts });
    },
  };
};
