// The numbers as tables: medians of the rounds and how far they lie apart, ratios taken inside each round. Written between
// two marks in docs/benchmarks.md; the words around them are people's.
import { readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { modes, queryName } from "./cells.ts";
import type { Sample } from "./measure.ts";
import { run } from "./server.ts";

/** What was measured of each way, round by round. */
export type Samples = Map<string, Map<string, Sample[]>>;
type Row = readonly [label: string, cell: string, quantity: string];

const marks = ["<!-- measured -->", "<!-- /measured -->"] as const;
const peers = ["haproxy", "pgbouncer"] as const;
const counts = [1, 8, 32] as const;

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

/** Markdown. */
export const report = async (
  samples: Samples,
  run: { readonly ways: readonly string[]; readonly how: string; readonly libraries: string },
): Promise<string> => {
  const { told, ratio, difference } = reading(samples);
  const ways = run.ways.filter((name) => name !== "unaudited");
  const table = (title: string, rows: readonly Row[], among = ways): string =>
    [
      `| ${title} | ${[...among, ...peers.map((peer) => `ours / ${peer}`)].join(" | ")} |`,
      `|---|${"--:|".repeat(among.length + peers.length)}`,
      ...rows
        .filter(([, cell]) => samples.has(cell))
        .map(([label, cell, quantity]) => {
          const ratios = peers.map((peer) => ratio(cell, peer, quantity));
          const all = [
            ...among.map((way) => told(cell, way, quantity)),
            ...ratios.map((one) => (Number.isFinite(one) ? one.toFixed(2) : "–")),
          ];
          return `| ${label} | ${all.join(" | ")} |`;
        }),
    ].join("\n");
  const queries = modes.flatMap((mode) => counts.map((clients) => queryName(mode, clients)));
  const rowsOf = (quantity: string): Row[] => queries.map((cell) => [cell, cell, quantity]);
  const busy = modes.flatMap((mode) => [8, 32].map((clients) => queryName(mode, clients)));
  const mean = (peer: string, quantity: string): string =>
    geometricMean(busy.map((cell) => ratio(cell, peer, quantity))).toFixed(2);
  const audit = modes.map((mode) => `${difference(queryName(mode, 8), "unaudited", "cpu").toFixed(1)} µs (${mode})`);
  return [
    `${new Date().toISOString().slice(0, 10)}, ${run.how}. ${await machine(run.libraries)}.`,
    table("queries a second", rowsOf("tps")),
    table("average latency, µs", rowsOf("latencyUs")),
    table(
      "CPU of the process between, µs a query",
      rowsOf("cpu"),
      ways.filter((name) => name !== "direct"),
    ),
    table("the rest", [
      ["COPY OUT, MB/s", "copy out", "rate"],
      ["COPY OUT, µs of CPU a MB", "copy out", "cpu"],
      ["COPY IN, MB/s", "copy in", "rate"],
      ["COPY IN, µs of CPU a MB", "copy in", "cpu"],
      ["new connections a second", "connections", "rate"],
      ["new connection, µs of CPU", "connections", "cpu"],
      ["TCP connect to ReadyForQuery, ms", "arrival", "ms"],
      ["idle connection, KB", "idle", "kb"],
    ]),
    [
      "Geometric mean over the cells at 8 and 32 clients:",
      `${mean("haproxy", "tps")} × haproxy's queries at ${mean("haproxy", "cpu")} × its CPU;`,
      `${mean("pgbouncer", "tps")} × pgbouncer's queries at ${mean("pgbouncer", "cpu")} × its CPU.`,
      `Audit at 8 clients, over the same relay whose records are thrown away: ${audit.join(", ")} a query.`,
    ].join(" "),
  ].join("\n\n");
};

/** Puts the text between the marks. @throws an Error when the file has none */
export const writeBetweenMarks = async (file: string, text: string): Promise<void> => {
  const old = await readFile(file, "utf8");
  const [begin, end] = [old.indexOf(marks[0]), old.indexOf(marks[1])];
  if (begin < 0 || end < begin) throw new Error(`${file} has no ${marks.join(" … ")}`);
  await writeFile(file, `${old.slice(0, begin + marks[0].length)}\n\n${text}\n\n${old.slice(end)}`);
};
