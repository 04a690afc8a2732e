// How often something may be tried: counters per window of time, one conditional write each, so that any number of functions
// count together. A window is part of the key: what is over is another item, and the table forgets it.
import { Failure } from "./failure.ts";
import { keys, ttlAfter } from "./family.ts";
import type { Change, Store } from "./ports.ts";

/** At most `most` in each window of that length; without `most` it only counts. */
export interface Throttle {
  /** What is counted. Holds a character that no user name has. */
  readonly who: string;
  readonly most?: number;
  readonly windowFor: number;
}

const windowOf = ({ windowFor }: Throttle, now: number): number => Math.floor(now / windowFor);
const keyOf = (throttle: Throttle, now: number) => keys.loginAttempts(`${throttle.who}#${windowOf(throttle, now)}`);

/** Takes one turn and answers how many were taken in this window. @throws Failure `too_many` with `retryAfter` in seconds */
export const takeTurn = async (store: Store, throttle: Throttle, now: number): Promise<number> => {
  const { most, windowFor } = throttle;
  const endsAt = (windowOf(throttle, now) + 1) * windowFor;
  try {
    const item = await store.write({
      update: keyOf(throttle, now),
      add: { count: 1 },
      set: { ttl: ttlAfter(endsAt) },
      ...(most === undefined ? {} : { if: { below: { count: most } } }),
    });
    return Number(item?.["count"] ?? 1);
  } catch (thrown) {
    if (!(thrown instanceof Failure) || thrown.code !== "conflict") throw thrown;
    const retryAfter = Math.ceil((endsAt - now) / 1000);
    throw new Failure("too_many", "too many attempts", {
      hint: `try again in ${Math.ceil(retryAfter / 60)} min`,
      details: { retryAfter },
    });
  }
};

/** Gives a turn back: it turned out to be nothing that counts. */
export const turnBack = (throttle: Throttle, now: number): Change => ({
  update: keyOf(throttle, now),
  add: { count: -1 },
});
