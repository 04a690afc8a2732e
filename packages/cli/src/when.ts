// Times as people read them: how long from now, and when.
import { formatDuration } from "@sallyport/core/duration";

/** `2026-11-21T18:00:00Z (in 7h59m)` */
export const describeExpiry = (expiresAt: number, now: number): string => {
  const stamp = new Date(expiresAt).toISOString().replace(/\.\d+Z$/, "Z");
  const left = expiresAt - now;
  // seconds matter only at the end
  const rounded = left >= 60_000 ? left - (left % 60_000) : left;
  return left > 0 ? `${stamp} (in ${formatDuration(rounded)})` : `${stamp} (expired)`;
};
