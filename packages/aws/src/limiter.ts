// Logins by IAM token, spread out: RDS refuses more than about 200 a second on one database, and then everybody's.
// A login waits for its turn up to two seconds; what would wait longer is told so.
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "@sallyport/core/failure";
import type { Clock } from "@sallyport/core/ports";

export interface LimiterOptions {
  readonly clock: Clock;
  /** Logins a second. */
  readonly rate?: number;
  /** How many may come at once before the rate holds. */
  readonly burst?: number;
  readonly queueFor?: number;
  readonly wait?: (ms: number) => Promise<unknown>;
}

const mostKept = 10_000;

/** Resolves when it is this database's turn. @throws Failure `too_many` */
export const openLimiter = (options: LimiterOptions): ((database: string) => Promise<void>) => {
  const { clock, rate = 200, burst = 50, queueFor = 2000, wait = sleep } = options;
  const each = 1000 / rate;
  /** When the logins let in so far will have been paid for, per database. */
  const paid = new Map<string, number>();
  return async (database) => {
    const now = clock.now();
    const known = paid.get(database) ?? 0;
    // nothing is ever paid so far ahead: the clock was set back
    const from = known > now + queueFor + burst * each ? now : Math.max(known, now);
    const waiting = from - now - (burst - 1) * each;
    if (waiting > queueFor)
      throw new Failure("too_many", `more logins to ${database} than its IAM authentication takes (${rate} a second)`, {
        hint: "keep connections open: use a pool, and try again in a few seconds",
      });
    if (paid.size >= mostKept) for (const [other, until] of paid) if (until <= now) paid.delete(other);
    paid.set(database, from + each);
    if (waiting > 0) await wait(waiting);
  };
};
