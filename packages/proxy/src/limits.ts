// How much a proxy takes on, and how long it waits: the caps for those who have not logged in, rates for what strangers may cause, and
// the time that each step of a login has.
import type { Rate } from "./allowance.ts";

export interface Limits {
  /** Connections that have not logged in. */
  readonly waiting: { readonly total: number; readonly each: number };
  /** Those that stay without logging in, as drivers' monitors do. */
  readonly lingering: { readonly total: number; readonly each: number };
  /** Bad tokens; beyond them an address is not looked up. The total is no limit, or strangers could lock everybody out. */
  readonly failures: { readonly total: Rate; readonly each: Rate };
  /** Refused logins that are told of in the log and the table. */
  readonly denials: { readonly total: Rate; readonly each: Rate };
  readonly cancels: { readonly total: Rate; readonly each: Rate };
  /** Logins that ask or write the table at the same time; others wait for their turn. */
  readonly asking: number;
  /** How long one read of the table may take. */
  readonly patienceMs: number;
  readonly loginMs: number;
  readonly frameMs: number;
  readonly upstreamMs: number;
  /** From a cut to the end of both sockets, whether or not the client takes the words. */
  readonly graceMs: number;
}
export const defaultLimits: Limits = {
  waiting: { total: 2_000, each: 200 },
  lingering: { total: 2_000, each: 200 },
  failures: { total: { burst: 100_000, perSecond: 10_000 }, each: { burst: 200, perSecond: 2 } },
  denials: { total: { burst: 500, perSecond: 20 }, each: { burst: 60, perSecond: 1 } },
  cancels: { total: { burst: 1_000, perSecond: 200 }, each: { burst: 200, perSecond: 10 } },
  asking: 32,
  patienceMs: 3_000,
  loginMs: 10_000,
  frameMs: 5_000,
  upstreamMs: 30_000,
  graceMs: 2_000,
};
