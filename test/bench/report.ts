// The numbers as tables: medians of the rounds and how far they lie apart, ratios taken inside each round. Which rows there are
// the cells say.
import { cpus } from "node:os";
import { type Cell, tables } from "./cells.ts";
import type { Sample } from "./measure.ts";
import { run } from "./server.ts";

/** What was measured of each way, round by round. */
export type Samples = Map<string, Map<string, Sample[]>>;

const peers = ["haproxy", "pgbouncer", "relay"] as const;

const median = (values: readonly number[]): number => {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2;
};
const geometricMean = (values: readonly number[]): number => {
  const finite = values.filter(Number.isFinite);
  return Math.exp(finite.reduce((sum, one) => sum + Math.log(one), 0) / finite.length);
};
const shown = (value: number): string =>
  value >= 10_000 ? `${(value / 1000).toFixed(1)}k` : value >= 100 ? value.toFixed(0) : value.toFixed(1);

const reading = (samples: Samples) => {
  /** By round; what could not be read is NaN. */
  const values = (cell: string, way: string, quantity: string): readonly number[] =>
    (samples.get(cell)?.get(way) ?? []).map((sample) => sample[quantity] ?? Number.NaN);
  const paired = (
    cell: string,
    other: string,
    quantity: string,
    join: (own: number, theirs: number) => number,
  ): number => {
    const theirs = values(cell, other, quantity);
    return median(values(cell, "ours", quantity).map((own, round) => join(own, theirs[round] ?? Number.NaN)));
  };
  return {
    /** `14.3k ±4%` */
    told: (cell: string, way: string, quantity: string): string => {
      const found = values(cell, way, quantity).filter(Number.isFinite);
      if (found.length === 0) return "–";
      const middle = median(found);
      const spread = (Math.max(...found) - Math.min(...found)) / 2 / middle;
      return found.length < 2 ? shown(middle) : `${shown(middle)} ±${Math.round(spread * 100)}%`;
    },
    ratio: (cell: string, other: string, quantity: string): number =>
      paired(cell, other, quantity, (own, theirs) => own / theirs),
    difference: (cell: string, other: string, quantity: string): number =>
      paired(cell, other, quantity, (own, theirs) => own - theirs),
  };
};

const version = async (command: string, flag: string, pattern: RegExp): Promise<string> => {
  const { stdout } = await run(command, [flag]).catch(() => ({ stdout: "" }));
  return pattern.exec(stdout)?.[1] ?? "absent";
};

const machine = async (libraries: string): Promise<string> => {
  const [postgres, haproxy, pgbouncer, pgbench] = await Promise.all([
    version(`${libraries}/../bin/postgres`, "--version", /\) ([\d.]+)/),
    version("/usr/sbin/haproxy", "-v", /version ([\d.]+)/),
    version("/usr/sbin/pgbouncer", "--version", /([\d.]+)/),
    version("/usr/lib/postgresql/15/bin/pgbench", "--version", /\) ([\d.]+)/),
  ]);
  const { node, openssl } = process.versions;
  return `${cpus().length} × ${cpus()[0]?.model}; Node ${node} with OpenSSL ${openssl}, PostgreSQL ${postgres}, haproxy ${haproxy}, pgbouncer ${pgbouncer}, pgbench ${pgbench} with libpq 18`;
};

const shownRatio = (value: number): string => (Number.isFinite(value) ? value.toFixed(2) : "–");

/** Markdown. */
export const report = async (
  cells: readonly Cell[],
  samples: Samples,
  run:
    | { readonly ways: readonly string[]; readonly how: string; readonly libraries: string }
    | { readonly ways: readonly string[]; readonly how: string; readonly machine: string },
): Promise<string> => {
  const { told, ratio, difference } = reading(samples);
  const measured = cells.filter(({ name }) => samples.has(name));
  const tableOf = (title: string): string => {
    const rows = measured.flatMap((cell) =>
      cell.rows.filter(({ table }) => table === title).map((row) => ({ cell, ...row })),
    );
    const tells = (way: string): boolean => rows.some(({ cell, quantity }) => told(cell.name, way, quantity) !== "–");
    const ways = [...new Set(rows.flatMap(({ cell }) => cell.ways))].filter((way) => way !== "unaudited" && tells(way));
    const rivals = ways.includes("ours") ? peers.filter((peer) => ways.includes(peer)) : [];
    if (ways.length === 0) return "";
    const heads = ways.map((way) => (way === "door" ? "" : way));
    return [
      `| ${[title, ...heads, ...rivals.map((peer) => `ours / ${peer}`)].join(" | ")} |`,
      `|---|${"--:|".repeat(ways.length + rivals.length)}`,
      ...rows.map(({ cell, label, quantity }) => {
        const numbers = ways.map((way) => told(cell.name, way, quantity));
        const ratios = rivals.map((peer) => shownRatio(ratio(cell.name, peer, quantity)));
        return `| ${[label, ...numbers, ...ratios].join(" | ")} |`;
      }),
    ].join("\n");
  };
  const mean = (over: readonly Cell[], peer: string, quantity: string): string =>
    shownRatio(geometricMean(over.map(({ name }) => ratio(name, peer, quantity))));
  const means = [...new Set(measured.flatMap((cell) => cell.mean ?? []))].map((title) => {
    const over = measured.filter((cell) => cell.mean === title);
    const rivals = peers
      .filter((peer) => over.some(({ ways }) => ways.includes(peer)))
      .map((peer) => `${mean(over, peer, "tps")} × ${peer}'s queries at ${mean(over, peer, "cpu")} × its CPU`);
    return `Geometric mean over ${title}: ${rivals.join("; ")}.`;
  });
  const audited = measured.filter(({ name }) => samples.get(name)?.has("unaudited"));
  const costs = audited
    .map(({ name }) => ({ name, cost: difference(name, "unaudited", "cpu") }))
    // rounds too short for a second between two reports have no figure for the processor
    .filter(({ cost }) => !Number.isNaN(cost))
    .map(({ name, cost }) => `${cost.toFixed(1)} µs (${name})`);
  const added = difference("arrival", "direct", "ms");
  return [
    `${new Date().toISOString().slice(0, 10)}, ${run.how}. ${"machine" in run ? run.machine : await machine(run.libraries)}.`,
    ...Object.values(tables).map(tableOf),
    [
      ...means,
      ...(costs.length > 0
        ? [`Audit, over the same relay whose records are thrown away: ${costs.join(", ")} a query.`]
        : []),
      ...(Number.isFinite(added) ? [`A login takes ${added.toFixed(1)} ms longer than a straight one.`] : []),
    ].join(" "),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
};
