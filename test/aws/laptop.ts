// The laptop account as tests of packages/aws use it: real clients against services that verify what they are sent.
import type { Connection } from "@sallyport/aws/client";
import type { Statement } from "@sallyport/core/permission";
import { type Account, openAccount } from "@sallyport/local/account";
import type { Api } from "@sallyport/local/api";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";

export interface Laptop extends AsyncDisposable {
  readonly endpoint: Endpoint;
  readonly accounts: readonly Account[];
  /** How a client calls as somebody who may do exactly this. */
  as(name: string, statements: readonly Statement[], account?: Account): Connection;
}

export const openLaptop = async (
  services: readonly Api[],
  accounts: readonly Account[] = [openAccount()],
): Promise<Laptop> => {
  const endpoint = await openEndpoint({ accounts, services });
  return {
    endpoint,
    accounts,
    as(name, statements, account = accounts[0]) {
      if (!account) throw new Error("an account is needed");
      const { credentials } = account.addUser({ name, statements });
      return { region: account.region, endpoint: endpoint.url, keys: async () => credentials };
    },
    [Symbol.asyncDispose]: () => endpoint.close(),
  };
};
