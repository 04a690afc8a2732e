// `npm run bench`: ours beside a straight connection, haproxy and pgbouncer, in interleaved rounds of one run, TLS on both
// legs and audit on. Writes its tables into docs/benchmarks.md; docs/benchmarks.md says what they mean.
//   --quick            one short round, nothing written
//   --only <pattern>   the cells whose names match; --ways ours,haproxy  only these; nothing written
//   --rounds N, --seconds N, --profile <folder> (our proxy's CPU profile)
import { cpus } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepare } from "../../tools/machine.ts";
import {
  type Mode,
  measureArrival,
  measureConnections,
  measureCopy,
  measureIdle,
  measureQueries,
  prepareRows,
  type Sample,
} from "./measure.ts";
import { openReport, type Samples, writeBetweenMarks } from "./report.ts";
import { openBench, run } from "./server.ts";
import { openBenchTable } from "./table.ts";
import { openVisitors } from "./visitor.ts";
import { openDirect, openHaproxy, openOurs, openPgbouncer, type Way } from "./way.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    ways: { type: "string", default: "direct,haproxy,pgbouncer,ours,unaudited" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    profile: { type: "string" },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
const seconds = Number(options.seconds ?? 2);
const partial = options.only !== "" || options.ways.split(",").length < 5;
const document = resolve(import.meta.dirname, "../../docs/benchmarks.md");
const startedAt = performance.now();
const say = (text: string): void =>
  console.log(`${String(Math.round((performance.now() - startedAt) / 1000)).padStart(4)} s  ${text}`);

const missing = prepare([["postgresql-15", "postgresql"], ["postgresql-client"], ["haproxy"], ["pgbouncer"]]);
if (missing !== undefined) console.log(missing);

const undo: (() => Promise<unknown>)[] = [];
const wanted = new Set(options.ways.split(","));
const queryName = (mode: Mode, clients: number): string =>
  `${mode}, ${clients} ${clients === 1 ? "client" : "clients"}`;
const modes: readonly Mode[] = ["simple", "extended", "prepared"];

interface Cell {
  readonly name: string;
  readonly ways: readonly string[];
  measure(way: Way): Promise<Sample>;
}

try {
  const bench = await openBench();
  undo.push(() => bench.close());
  const table = await openBenchTable(bench);
  undo.push(() => table.close());
  const visit = openVisitors(bench);
  await prepareRows(bench, openDirect(bench));

  const open: Readonly<Record<string, () => Promise<Way | undefined>>> = {
    direct: async () => openDirect(bench),
    haproxy: () => openHaproxy(bench),
    pgbouncer: () => openPgbouncer(bench),
    ours: () => openOurs(bench, table, options.profile === undefined ? {} : { profile: resolve(options.profile) }),
    unaudited: () => openOurs(bench, table, { name: "unaudited", audit: false }),
  };
  const ways: Way[] = [];
  for (const [name, start] of Object.entries(open)) {
    if (!wanted.has(name)) continue;
    const way = await start();
    if (way) undo.push(() => way.close());
    if (way) ways.push(way);
    else say(`${name} is not on this machine: left out`);
  }

  const most = ["direct", "haproxy", "pgbouncer", "ours"];
  const cells: Cell[] = [];
  // memory first: what a process has once held it keeps
  const idle: Cell = {
    name: "idle connection, KB",
    ways: ["haproxy", "pgbouncer", "ours"],
    measure: (way) => measureIdle(visit, { ...way, pid: way.pid ?? 0 }, 200),
  };
  for (const mode of modes)
    for (const clients of options.quick ? [8, 32] : [1, 8, 32])
      cells.push({
        name: queryName(mode, clients),
        ways: clients === 8 ? [...most, "unaudited"] : most,
        measure: (way) => measureQueries(bench, way, { mode, clients, seconds }),
      });
  cells.push(
    { name: "COPY OUT, MB/s", ways: most, measure: (way) => measureCopy(bench, way, "out") },
    { name: "COPY IN, MB/s", ways: most, measure: (way) => measureCopy(bench, way, "in") },
    { name: "to ReadyForQuery, ms", ways: most, measure: (way) => measureArrival(visit, way, 15) },
    { name: "new connections/s", ways: most, measure: (way) => measureConnections(bench, way, seconds) },
  );

  const samples: Samples = new Map();
  const take = async (cell: Cell, round: number): Promise<void> => {
    const among = ways.filter((way) => cell.ways.includes(way.name));
    const shift = round % Math.max(among.length, 1);
    const said: string[] = [];
    for (const way of [...among.slice(shift), ...among.slice(0, shift)]) {
      const sample = await cell.measure(way);
      const byWay = samples.get(cell.name) ?? new Map<string, Sample[]>();
      samples.set(cell.name, byWay);
      byWay.set(way.name, [...(byWay.get(way.name) ?? []), sample]);
      const numbers = Object.entries(sample).map(([name, value]) => `${name} ${value.toPrecision(3)}`);
      said.push(`${way.name} ${numbers.join(" ")}`);
    }
    say(`${cell.name}: ${said.join(" | ")}`);
  };
  const chosen = (cell: Cell): boolean => new RegExp(options.only, "i").test(cell.name);
  if (chosen(idle)) await take(idle, 0);
  for (let round = 0; round < rounds; round++) for (const cell of cells.filter(chosen)) await take(cell, round);

  const text = await report(samples, ways, bench.libraries);
  console.log(`\n${text}`);
  if (!options.quick && !partial) await writeBetweenMarks(document, text);
} finally {
  for (const step of undo.reverse()) await step();
}

async function report(samples: Samples, ways: readonly Way[], libraries: string): Promise<string> {
  const most = ways.map(({ name }) => name).filter((name) => name !== "unaudited");
  const between = most.filter((name) => name !== "direct");
  const { table, geometricMean, values, median } = openReport(samples, most);
  const queries = modes.flatMap((mode) => [1, 8, 32].map((clients) => queryName(mode, clients)));
  const present = (names: readonly string[]): string[] => names.filter((name) => samples.has(name));
  const busy = present(queries.filter((name) => !name.endsWith("1 client")));
  const eight = present(queries.filter((name) => name.includes(" 8 ")));
  const version = async (command: string, flag: string, pattern: RegExp): Promise<string> => {
    const { stdout } = await run(command, [flag]).catch(() => ({ stdout: "" }));
    return pattern.exec(stdout)?.[0] ?? "absent";
  };
  const audit = eight.map((cell) => median(values(cell, "ours", "cpu")) - median(values(cell, "unaudited", "cpu")));
  const lines = [
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model}, Linux, ${rounds} rounds of ${seconds} s; Node ${process.versions.node} (OpenSSL ${process.versions.openssl}), ${[
      await version(`${libraries}/../bin/postgres`, "--version", /PostgreSQL\) [\d.]+/).then((text) =>
        text.replace(")", ""),
      ),
      await version("/usr/sbin/haproxy", "-v", /HAProxy version [\d.]+/),
      await version("/usr/sbin/pgbouncer", "--version", /PgBouncer [\d.]+/),
      await version("/usr/lib/postgresql/15/bin/pgbench", "--version", /pgbench \(PostgreSQL\) [\d.]+/),
    ].join(", ")} with libpq 18.`,
    "",
    table("queries/s", present(queries), "tps"),
    "",
    table("average latency, µs", present(queries), "latencyUs"),
    "",
    table("CPU of the process between, µs per query", present(queries), "cpu", between),
    "",
    table("the rest", present(["COPY OUT, MB/s", "COPY IN, MB/s", "new connections/s"]), "rate"),
    "",
    table("arrival", present(["to ReadyForQuery, ms"]), "ms"),
    "",
    table("CPU", present(["COPY OUT, MB/s", "COPY IN, MB/s"]), "cpu", between).replaceAll(", MB/s", ", µs per MB"),
    "",
    table("CPU", present(["new connections/s"]), "cpu", between).replace("new connections/s", "µs per connection"),
    "",
    table("memory", present(["idle connection, KB"]), "kb", between),
    "",
    `Geometric mean over 8 and 32 clients: ${["haproxy", "pgbouncer"]
      .map(
        (other) =>
          `${geometricMean(busy, other, "tps").toFixed(2)} × ${other}'s queries/s at ${geometricMean(busy, other, "cpu").toFixed(2)} × its CPU`,
      )
      .join("; ")}.`,
    audit.some(Number.isFinite)
      ? `Audit at 8 clients costs ${eight.map((cell, at) => `${(audit[at] ?? Number.NaN).toFixed(1)} µs (${cell.split(",")[0]})`).join(", ")} per query over the same relay whose records are thrown away.`
      : "",
  ];
  return lines.join("\n").trim();
}
