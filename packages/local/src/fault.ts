// Things that go wrong on demand: throttling, failures, delays, answers lost after the work was done. Set from tests and the demo.
// Rule: a fault touches only what it names, and is spent in the order it was set.
import type { Api } from "./api.ts";
import { Refusal } from "./refusal.ts";

/** Which calls: all of a service, or one operation. */
export interface Where {
  readonly service: string;
  readonly operation?: string;
}

export interface Rate {
  readonly rate: number;
  readonly burst: number;
  /** One bucket for all operations together. */
  readonly shared?: boolean;
}

export interface Faults {
  /** At most `rate` calls a second after a burst of `burst`, per account and region, like AWS's own buckets: one for each operation, or one for all. */
  throttle(where: Where & Rate): void;
  /** The next `times` calls (default one) are refused: before any work, or after it was done. */
  fail(where: Where & { code: string; message?: string; status?: number; times?: number; after?: boolean }): void;
  /** The next `times` calls wait that long before any work. */
  delay(where: Where & { delayMs: number; times?: number }): void;
  /** The next call waits before any work until released; `arrived` settles when it is there. */
  hold(where: Where): { arrived: Promise<void>; release(): void };
  /** The next `times` calls do their work, and the connection is cut instead of an answer. */
  drop(where: Where & { times?: number }): void;
  clear(): void;
}

export interface Struck {
  /** Cut the connection when the work is done. */
  readonly drop: boolean;
  /** Answer with this when the work is done. */
  readonly fail?: Refusal;
}

interface Planned extends Where {
  left: number;
  readonly strike: { fail: Refusal; after: boolean } | { wait: () => Promise<void> } | { drop: true };
}

interface Bucket {
  tokens: number;
  at: number;
}

export function openFaults(now: () => number) {
  let planned: Planned[] = [];
  let limits: (Where & Rate & { buckets: Map<string, Bucket> })[] = [];
  const held = new Set<() => void>();

  const at = (where: Where, api: Api, operation: string) =>
    where.service === api.name && (where.operation === undefined || where.operation === operation);
  const plan = (where: Where, strike: Planned["strike"], times = 1) => {
    planned.push({
      service: where.service,
      ...(where.operation !== undefined && { operation: where.operation }),
      left: times,
      strike,
    });
  };

  const fault: Faults = {
    throttle: (limit) => {
      limits = [
        ...limits.filter((other) => other.service !== limit.service || other.operation !== limit.operation),
        { ...limit, buckets: new Map() },
      ];
    },
    fail: ({ code, message = `${code} on demand`, status, times, after = false, ...where }) => {
      plan(where, { fail: new Refusal(code, message, status ?? 500), after }, times);
    },
    delay: ({ delayMs, times, ...where }) => {
      plan(where, { wait: () => new Promise((resolve) => setTimeout(resolve, delayMs).unref()) }, times);
    },
    hold(where) {
      const [arrival, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      held.add(released.resolve);
      const wait = () => {
        arrival.resolve();
        return released.promise;
      };
      plan(where, { wait });
      return { arrived: arrival.promise, release: released.resolve };
    },
    drop: ({ times, ...where }) => {
      plan(where, { drop: true }, times);
    },
    clear() {
      planned = [];
      limits = [];
      for (const release of held) release();
      held.clear();
    },
  };

  /** Applies what is planned for this call: waits, throws, or says how it shall end. */
  async function strike(api: Api, operation: string, caller: string): Promise<Struck> {
    for (const limit of limits) {
      if (at(limit, api, operation) && !take(limit, limit.shared ? caller : `${caller}/${operation}`)) {
        throw new Refusal(api.throttle.code, api.throttle.message, api.throttle.status);
      }
    }
    const next = planned.find((candidate) => candidate.left > 0 && at(candidate, api, operation));
    if (!next) return { drop: false };
    next.left--;
    planned = planned.filter((candidate) => candidate.left > 0);
    if ("fail" in next.strike) {
      if (!next.strike.after) throw next.strike.fail;
      return { drop: false, fail: next.strike.fail };
    }
    if ("wait" in next.strike) await next.strike.wait();
    return { drop: "drop" in next.strike };
  }

  function take(limit: Rate & { readonly buckets: Map<string, Bucket> }, key: string): boolean {
    const bucket = limit.buckets.get(key) ?? { tokens: limit.burst, at: now() };
    bucket.tokens = Math.min(limit.burst, bucket.tokens + ((now() - bucket.at) / 1000) * limit.rate);
    bucket.at = now();
    limit.buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  return { fault, strike };
}
