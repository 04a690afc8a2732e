// How many versions a secret may get: in any 24 hours 96 by the schedule and 2 more (I3). Secrets Manager keeps all that are younger
// than a day and takes no more than about 100. Rule: a version is paid for in the record before it is made, and what was paid
// is never given back.
import type { Budget } from "./managed.ts";

export const scheduledPerDay = 96;
export const sparePerDay = 2;
const minute = 60_000;
const day = 1440 * minute;

/** When something paid in this minute no longer counts. */
const leavesAt = (paid: number): number => (paid + 1) * minute + day;
const within = (paid: readonly number[], now: number): number[] => paid.filter((one) => leavesAt(one) > now);

/** How many versions of the last day there are, of those that may be. */
export const spentOf = ({ scheduled, spare }: Budget, now: number): number =>
  within(scheduled, now).length + within(spare, now).length;

/**
 * Pays for one version, or says when that can be. `hand`: two a day, so that nobody uses up what the schedule needs. `mend`: what must
 * be made again may take from both, and so may the schedule: one that was late yesterday and is on time today is the 97th in 24 hours.
 */
export const spend = (
  budget: Budget,
  now: number,
  by: "schedule" | "hand" | "mend",
): { readonly budget: Budget } | { readonly until: number } => {
  const scheduled = within(budget.scheduled, now);
  const spare = within(budget.spare, now);
  const paid = Math.floor(now / minute);
  const isScheduled = by !== "hand" && scheduled.length < scheduledPerDay;
  if (spare.length < sparePerDay && !(by === "schedule" && isScheduled))
    return { budget: { scheduled, spare: [...spare, paid] } };
  if (isScheduled) return { budget: { scheduled: [...scheduled, paid], spare } };
  return { until: Math.min(...[...(by === "hand" ? [] : scheduled), ...spare].map(leavesAt)) };
};
