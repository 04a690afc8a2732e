// Times as people read them: how long from now, and when.
import { formatDuration } from "@sallyport/core/duration";

/** `2026-11-21T18:00:00Z (in 8h)`; to the minute, the seconds only when there is less than one left. */
export const describeExpiry = (expiresAt: number, now: number): string => {
  const stamp = new Date(expiresAt).toISOString().replace(/\.\d+Z$/, "Z");
  const left = expiresAt - now;
  // seconds matter only at the end, and an answer that took one is no minute less
  const rounded = left >= 60_000 ? Math.round(left / 60_000) * 60_000 : left;
  return left > 0 ? `${stamp} (in ${formatDuration(rounded)})` : `${stamp} (expired)`;
};
