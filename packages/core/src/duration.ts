// Durations as people write them in role files: Go's notation (8h, 1h30m, 15m0s). In code they are milliseconds.
import * as z from "zod";

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `1h30m`; undefined when the text is no duration. */
export const parseDuration = (text: string): number | undefined => {
  if (!/^(?:\d{1,9}(?:\.\d{1,3})?(?:ms|s|m|h|d))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    total += Number(amount) * (unitMs[unit ?? ""] ?? Number.NaN);
  return Math.round(total);
};

/** The shortest writing of a duration in whole units: 5400000 → 1h30m. */
export const formatDuration = (ms: number): string => {
  let rest = Math.max(0, Math.round(ms / 1000));
  if (rest === 0) return "0s";
  const out: string[] = [];
  for (const [unit, seconds] of [
    ["h", 3600],
    ["m", 60],
    ["s", 1],
  ] as const) {
    const count = Math.floor(rest / seconds);
    rest -= count * seconds;
    if (count > 0) out.push(`${count}${unit}`);
  }
  return out.join("");
};

/** A duration in a document: text as above; parsed to milliseconds. */
export const Duration = z.string().transform((text, context) => {
  const ms = parseDuration(text);
  if (ms === undefined) {
    context.addIssue({ code: "custom", message: "not a duration such as 15m, 8h or 1h30m" });
    return z.NEVER;
  }
  return ms;
});
