// The numbers as tables: medians of the rounds and how far they lie apart, ratios taken inside each round. Written between
// two marks in docs/benchmarks.md; the words around them are people's.
import { readFile, writeFile } from "node:fs/promises";
import type { Sample } from "./measure.ts";

/** What was measured of each way, round by round: samples[cell][way][round]. */
export type Samples = Map<string, Map<string, Sample[]>>;

const marks = ["<!-- measured -->", "<!-- /measured -->"] as const;

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2;
};

const shown = (value: number): string =>
  value >= 10_000 ? `${(value / 1000).toFixed(1)}k` : value >= 100 ? value.toFixed(0) : value.toFixed(1);

export const openReport = (samples: Samples, ways: readonly string[]) => {
  const values = (cell: string, way: string, quantity: string): readonly number[] =>
    (samples.get(cell)?.get(way) ?? []).flatMap((sample) => sample[quantity] ?? []);

  /** `14.3k ±4%` */
  const told = (cell: string, way: string, quantity: string): string => {
    const found = values(cell, way, quantity);
    if (found.length === 0) return "–";
    const middle = median(found);
    const spread = (Math.max(...found) - Math.min(...found)) / 2 / middle;
    return found.length < 2 ? shown(middle) : `${shown(middle)} ±${Math.round(spread * 100)}%`;
  };
  /** Ours over another's, the median of what each round says. */
  const ratio = (cell: string, other: string, quantity: string, own = "ours"): number => {
    const theirs = values(cell, other, quantity);
    return median(values(cell, own, quantity).map((value, round) => value / (theirs[round] ?? Number.NaN)));
  };
  const ratioTold = (cell: string, other: string, quantity: string): string => {
    const found = ratio(cell, other, quantity);
    return Number.isFinite(found) ? found.toFixed(2) : "–";
  };
  const table = (title: string, cells: readonly string[], quantity: string, among = ways): string =>
    [
      `| ${title} | ${among.join(" | ")} | ours / haproxy | ours / pgbouncer |`,
      `|---|${"--:|".repeat(among.length + 2)}`,
      ...cells.map((cell) => {
        const all = among.map((way) => told(cell, way, quantity));
        const ratios = ["haproxy", "pgbouncer"].map((other) => ratioTold(cell, other, quantity));
        return `| ${cell} | ${[...all, ...ratios].join(" | ")} |`;
      }),
    ].join("\n");
  const geometricMean = (cells: readonly string[], other: string, quantity: string): number => {
    const ratios = cells.map((cell) => ratio(cell, other, quantity)).filter(Number.isFinite);
    return Math.exp(ratios.reduce((sum, one) => sum + Math.log(one), 0) / ratios.length);
  };
  return { table, geometricMean, values, median, ratio };
};

/** Puts the text between the marks. @throws an Error when the file has none */
export const writeBetweenMarks = async (file: string, text: string): Promise<void> => {
  const old = await readFile(file, "utf8");
  const [begin, end] = [old.indexOf(marks[0]), old.indexOf(marks[1])];
  if (begin < 0 || end < begin) throw new Error(`${file} has no ${marks.join(" … ")}`);
  await writeFile(file, `${old.slice(0, begin + marks[0].length)}\n${text}\n${old.slice(end)}`);
};
