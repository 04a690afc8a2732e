// The epoch: one number that moves with every write that can change a decision. Proxies read it each second and decide
// again when it moved. Whoever changes a user, role, lock, token or what a database is does it through here.
import { Failure } from "./failure.ts";
import { keys } from "./family.ts";
import type { Change, Item, Store } from "./ports.ts";

/** The changes and the epoch's step in one transaction: both or neither. @throws Failure `conflict` when a condition does not hold */
export const changeAccess = (store: Store, ...changes: Change[]): Promise<void> =>
  store.transact([...changes, { update: keys.epoch(), add: { epoch: 1 } }]);

/** The epoch of an item as read; 0 before anything was ever written. */
export const epochOf = (item: Item | undefined): number => (typeof item?.["epoch"] === "number" ? item["epoch"] : 0);

/** What a plan comes to: the writes, and what to answer when they are made. */
export interface Plan<T> {
  readonly changes: readonly Change[];
  readonly answer: T;
}
/** Of those who plan at once one gets through each time, so this is how many may. */
const mostTries = 20;
const plansOf = (item: Item | undefined): number => (typeof item?.["plans"] === "number" ? item["plans"] : 0);

/**
 * Reads, rules and writes as one, for a change that rests on more than the items it writes (the last administrator, a role
 * that must exist): when another plan was carried out since this one was begun, nothing is written and it is made again.
 * Plans are counted beside the epoch, which others move too: whoever revokes tokens quickly must not hold up a lock on them.
 * @throws Failure as the plan does; `conflict` when others are always faster
 */
export const planAccess = async <T>(store: Store, plan: () => Promise<Plan<T>>): Promise<T> => {
  for (let left = mostTries; ; left--) {
    const plans = plansOf(await store.get(keys.epoch()));
    const { changes, answer } = await plan();
    const unmoved = plans === 0 ? { below: { plans: 1 } } : { equals: { plans } };
    try {
      await store.transact([...changes, { update: keys.epoch(), add: { epoch: 1, plans: 1 }, if: unmoved }]);
      return answer;
    } catch (thrown) {
      if (!(thrown instanceof Failure) || thrown.code !== "conflict") throw thrown;
      if (left === 1)
        throw new Failure("conflict", "others are changing users, roles or locks all the time", {
          hint: "try again in a moment",
          cause: thrown,
        });
    }
  }
};
