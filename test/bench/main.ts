// `npm run bench`: ours beside a straight connection, haproxy and pgbouncer, in interleaved rounds of one run, TLS on both
// legs and audit on. Writes its tables into docs/benchmarks.md, which says what they mean.
//   --quick  one round without single clients, nothing written    --only <pattern>, --ways ours,haproxy  a part, nothing written
//   --rounds N  --seconds N  --profile <folder> for our process's CPU profile
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepare } from "../../tools/machine.ts";
import { openCells } from "./cells.ts";
import { writeBetween } from "./document.ts";
import { prepareRows } from "./measure.ts";
import { report } from "./report.ts";
import { describe, measureRounds } from "./rounds.ts";
import { type Bench, openBench } from "./server.ts";
import { openBenchTable, type Table } from "./table.ts";
import { openDirect, openHaproxy, openOurs, openPgbouncer, openRelay, type Way } from "./way.ts";

const everyWay = ["direct", "haproxy", "pgbouncer", "relay", "ours", "unaudited", "door"] as const;
type WayName = (typeof everyWay)[number];
const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    ways: { type: "string", default: everyWay.join(",") },
    rounds: { type: "string" },
    seconds: { type: "string", default: "2" },
    profile: { type: "string" },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));
const seconds = Number(options.seconds);
const wanted = options.ways.split(",");
const whole = !options.quick && options.only === "" && everyWay.every((name) => wanted.includes(name));
const document = resolve(import.meta.dirname, "../../docs/benchmarks.md");
const startedAt = performance.now();
const say = (text: string): void =>
  console.log(`${String(Math.round((performance.now() - startedAt) / 1000)).padStart(4)} s  ${text}`);

const openWays = async (bench: Bench, table: Table, undo: (() => Promise<unknown>)[]): Promise<readonly Way[]> => {
  const profiled = options.profile === undefined ? {} : { profile: resolve(options.profile) };
  const openers: Readonly<Record<WayName, () => Promise<Way | undefined>>> = {
    direct: async () => openDirect(bench),
    haproxy: () => openHaproxy(bench, { alpn: "postgresql" }),
    pgbouncer: () => openPgbouncer(bench),
    relay: () => openRelay(bench),
    ours: () => openOurs(bench, table, profiled),
    unaudited: () => openOurs(bench, table, { ...profiled, name: "unaudited", audit: false }),
    door: () => openOurs(bench, table, { name: "door", loginOnly: true }),
  };
  const ways: Way[] = [];
  for (const name of everyWay.filter((one) => wanted.includes(one))) {
    const way = await openers[name]();
    if (!way) {
      say(`${name} is not on this machine: left out`);
      continue;
    }
    undo.push(() => way.close());
    ways.push(way);
  }
  return ways;
};

const missing = prepare([["postgresql-15", "postgresql"], ["postgresql-client"], ["haproxy"], ["pgbouncer"]]);
if (missing !== undefined) console.log(missing);
const undo: (() => Promise<unknown>)[] = [];
try {
  const bench = await openBench();
  undo.push(() => bench.close());
  const table = await openBenchTable(bench);
  undo.push(() => table.close());
  await prepareRows(bench, openDirect(bench));
  const ways = await openWays(bench, table, undo);
  const only = new RegExp(options.only, "i");
  const all = openCells(bench, table, { seconds, clients: options.quick ? [8, 32] : [1, 8, 32] });
  const cells = all.filter(({ name }) => only.test(name));
  const plan = { cells, ways, rounds, seconds };
  const samples = await measureRounds(plan, say);
  const how = describe(plan);
  const text = await report(cells, samples, { ways: ways.map(({ name }) => name), how, libraries: bench.libraries });
  console.log(`\n${text}`);
  if (whole) await writeBetween(document, "measured", text);
  say(whole ? `written to ${document}` : "a part only: nothing written");
} finally {
  for (const step of undo.reverse()) await step();
}
