// A renewal of the proxies' certificate on a whole laptop account, now: the announced key is made to have been out for hours,
// and certify runs once more under its own role for one host more.
import { openSigner, signerClient } from "@sallyport/aws/signer";
import { openTable, tableClient } from "@sallyport/aws/table";
import { openVault, vaultClient } from "@sallyport/aws/vault";
import { certify } from "@sallyport/core/certify";
import { keys } from "@sallyport/core/family";
import { Trust } from "@sallyport/core/trust";
import { clock, digest, random } from "@sallyport/functions/compose";
import { issuer } from "@sallyport/functions/issuer";
import type { Laptop } from "@sallyport/local/laptop";
import type { Table } from "./owner.ts";

export const certSecret = "sallyport/proxy/certificate";

/** Somebody of the account with these permissions, as AWS clients take them. */
export const connectionOf = (laptop: Laptop, credentials: Laptop["operator"]) => ({
  region: laptop.region,
  endpoint: laptop.aws.url,
  keys: async () => credentials,
});

export const readTrustItem = async (table: Table): Promise<Trust> => Trust.parse(await table.store.get(keys.trust()));

export const renew = async (laptop: Laptop, table: Table, extraHost: string): Promise<Trust> => {
  const item = (await table.store.get(keys.trust())) ?? {};
  const trust = Trust.parse(item);
  const next = trust.next && { ...trust.next, publishedAt: Date.now() - 3 * 3_600_000 };
  await table.store.write({ update: keys.trust(), set: { next } });
  const { credentials } = laptop.account.session("sallyport-certify", { sessionName: "renewal" });
  const connection = connectionOf(laptop, credentials);
  const [client, vault, kms] = [tableClient(connection), vaultClient(connection), signerClient(connection)];
  const adapters = {
    store: openTable({ name: "sallyport", client }),
    vault: openVault({ client: vault }),
    signer: openSigner({ key: "alias/sallyport-root", client: kms }),
  };
  await certify({ ...adapters, issuer, clock, random, digest, secretName: certSecret }, ["localhost", extraHost]);
  for (const one of [client, vault, kms]) one.destroy();
  return readTrustItem(table);
};
