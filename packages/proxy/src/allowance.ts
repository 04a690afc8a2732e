// How often: token buckets, one for everybody and one per address. What is refused here costs no lookup and no table read.
import type { Clock } from "@sallyport/core/ports";

/** So many at once, and so many more each second. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}
export interface Allowance {
  /** Takes one for this address; false when there is none left, for it or for all. */
  take(address: string): boolean;
  /** Is there one left? Takes nothing. */
  has(address: string): boolean;
}

interface Bucket {
  left: number;
  at: number;
}
/** Addresses kept in memory; beyond that the longest unused are forgotten, which the total bounds. */
const maxAddresses = 20_000;

export const openAllowance = (rates: { total: Rate; each: Rate }, steady: Clock): Allowance => {
  const buckets = new Map<string, Bucket>();
  const total: Bucket = { left: rates.total.burst, at: steady.now() };
  const refill = (bucket: Bucket, rate: Rate): Bucket => {
    const now = steady.now();
    bucket.left = Math.min(rate.burst, bucket.left + (Math.max(0, now - bucket.at) / 1000) * rate.perSecond);
    bucket.at = now;
    return bucket;
  };
  const bucketOf = (address: string): Bucket => {
    const found = buckets.get(address) ?? { left: rates.each.burst, at: steady.now() };
    // last used goes last, so that the first is the one to forget
    buckets.delete(address);
    buckets.set(address, found);
    const oldest = buckets.keys().next().value;
    if (buckets.size > maxAddresses && oldest !== undefined) buckets.delete(oldest);
    return refill(found, rates.each);
  };
  return {
    has: (address) => refill(total, rates.total).left >= 1 && bucketOf(address).left >= 1,
    take: (address) => {
      const each = bucketOf(address);
      if (refill(total, rates.total).left < 1 || each.left < 1) return false;
      total.left -= 1;
      each.left -= 1;
      return true;
    },
  };
};

export interface Places {
  /** Takes a place; undefined when there is none. The function returned gives it back, once. */
  enter(address: string): (() => void) | undefined;
  count(): number;
}

/** How many at the same time: in all and per address. */
export const openPlaces = (caps: { total: number; each: number }): Places => {
  const held = new Map<string, number>();
  let count = 0;
  return {
    enter: (address) => {
      const own = held.get(address) ?? 0;
      if (count >= caps.total || own >= caps.each) return undefined;
      count += 1;
      held.set(address, own + 1);
      let inside = true;
      return () => {
        if (!inside) return;
        inside = false;
        count -= 1;
        const left = (held.get(address) ?? 1) - 1;
        if (left > 0) held.set(address, left);
        else held.delete(address);
      };
    },
    count: () => count,
  };
};
