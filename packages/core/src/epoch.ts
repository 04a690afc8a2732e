// The epoch: one number that moves with every write that can change a decision. Proxies read it each second and decide
// again when it moved. Whoever changes a user, role, lock, token or what a database is does it through here.
import { keys } from "./family.ts";
import type { Change, Item, Store } from "./ports.ts";

/** The changes and the epoch's step in one transaction: both or neither. @throws Failure `conflict` when a condition does not hold */
export const changeAccess = (store: Store, ...changes: Change[]): Promise<void> =>
  store.transact([...changes, { update: keys.epoch(), add: { epoch: 1 } }]);

/** The epoch of an item as read; 0 before anything was ever written. */
export const epochOf = (item: Item | undefined): number => (typeof item?.["epoch"] === "number" ? item["epoch"] : 0);
