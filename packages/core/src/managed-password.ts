// The password that rotation keeps for a database user, as a login needs it: whether the user is a managed one stands in the
// table, the password in the vault. Both are read afresh at each login, since either may have changed a moment ago.
import type { Database } from "./database.ts";
import { fromItem, walk } from "./family.ts";
import { type ManagedService, ManagedUser, managedAt, placeOf } from "./managed.ts";
import type { Store, Vault } from "./ports.ts";
import type { Secret } from "./secret.ts";

/** @throws Failure `unavailable` where the vault can't be read */
export interface ManagedPassword {
  /** What logs in; undefined before the first password was promoted. */
  current(): Promise<Secret | undefined>;
  /** What to try where that is refused: what has become current since, else what was before and still logs in until the next change. */
  previous(): Promise<Secret | undefined>;
}

/** Finds the managed user that logs in to this database by this name; undefined for one that is not managed. @throws Failure */
export type FindManaged = (
  service: ManagedService,
  database: Pick<Database, "arn" | "account" | "region">,
  user: string,
) => Promise<ManagedPassword | undefined>;

export const openManagedPasswords =
  ({ store, vault }: { readonly store: Store; readonly vault: Pick<Vault, "read"> }): FindManaged =>
  async (service, { arn, account, region }, user) => {
    const { pk, prefix } = managedAt(placeOf({ service, region, account }), user);
    for await (const item of walk(store, pk, prefix)) {
      const found = fromItem(ManagedUser, item);
      const over = found.state === "leaving" || found.state === "ended";
      // users of one name may be several, in different caches
      if (over || found.user !== user || !found.caches.some((cache) => cache.arn === arn)) continue;
      // before the first promotion whatever is in that place is not ours
      const read = async (stage: string) =>
        found.lastSuccessAt === undefined ? undefined : await vault.read(found.secret, { stage });
      let tried: string | undefined;
      return {
        async current() {
          const now = await read("AWSCURRENT");
          tried = now?.version;
          return now?.value;
        },
        async previous() {
          const now = await read("AWSCURRENT");
          return (now?.version === tried ? await read("AWSPREVIOUS") : now)?.value;
        },
      };
    }
    return undefined;
  };
