// `node test/bench/redis/main.ts`: Redis's protocol through us beside a straight connection and haproxy, in interleaved rounds of one
// run, TLS on both legs and audit on; and a cluster shown as one node beside a client that goes to its nodes itself.
//   --rounds N  --seconds N  --only <pattern>  --profile <folder> for our process's CPU profile
import { prepare } from "../../../tools/machine.ts";
import { type Cell, tables } from "../cells.ts";
import { writeBetween } from "../document.ts";
import { measureArrival, measureIdle } from "../measure.ts";
import { document, readOptions } from "../options.ts";
import { report } from "../report.ts";
import { describe, measureRounds } from "../rounds.ts";
import { account } from "../server.ts";
import { openBenchTable } from "../table.ts";
import { openHaproxy, openOurs, type Way } from "../way.ts";
import { type Load, measureLoad, openVisitors } from "./measure.ts";
import { openClusterBench, openRedisBench, type RedisBench } from "./server.ts";

const { rounds, seconds, only, whole, profile } = readOptions({ seconds: 2 });
const ways = ["direct", "haproxy", "ours"];
const tests = ["set", "get"] as const;
const arrivals = 15;

const rowsOf = (label: string): Cell["rows"] => [
  { table: tables.rate, label, quantity: "tps" },
  { table: tables.middle, label, quantity: "p50Us" },
  { table: tables.slowest, label, quantity: "p99Us" },
  { table: tables.cpu, label, quantity: "cpu" },
];

const loadCells = (bench: RedisBench): readonly Cell[] =>
  [1, 16, 64].flatMap((depth) =>
    tests.map((test): Cell => {
      const name = `${test.toUpperCase()} 1 KB, P = ${depth}`;
      return {
        name,
        ways: [...ways, "unaudited"],
        rows: rowsOf(name),
        mean: "SET and GET of 1 KB",
        measure: (way) => measureLoad(bench, way, { test, size: 1_024, clients: 32, depth, seconds }),
      };
    }),
  );

const restCells = (bench: RedisBench): readonly Cell[] => {
  const rest = (label: string, quantity: string) => ({ table: tables.rest, label, quantity });
  const visit = openVisitors(bench);
  const connecting: Load = { test: "ping_mbulk", clients: 8, depth: 1, seconds, reconnect: true };
  return [
    {
      ...{ name: "idle", ways: ["haproxy", "ours"], rows: [rest("idle connection, KB", "kb")], once: true },
      measure: (way) => measureIdle(visit, { ...way, pid: way.pid ?? 0 }, 1_000),
    },
    ...tests.map(
      (test): Cell => ({
        ...{ name: `${test.toUpperCase()} 256 KB`, ways },
        rows: [
          rest(`${test.toUpperCase()} of 256 KB a second, 8 clients`, "tps"),
          rest(`${test.toUpperCase()} of 256 KB, µs of CPU`, "cpu"),
        ],
        measure: (way) => measureLoad(bench, way, { test, size: 262_144, clients: 8, depth: 1, seconds }),
      }),
    ),
    {
      ...{ name: "arrival", ways, rows: [rest("TCP connect to the answer to AUTH, ms", "ms")] },
      measure: (way) => measureArrival(visit, way, arrivals),
    },
    {
      ...{ name: "connections", ways },
      rows: [rest("new connections a second", "tps"), rest("new connection, µs of CPU", "cpu")],
      measure: (way) => measureLoad(bench, way, connecting),
    },
  ];
};

/** Whoever goes to the nodes itself needs nobody between: there is no haproxy beside these. */
const clusterCells = (bench: RedisBench, byName: ReadonlyMap<string, Way>): readonly Cell[] =>
  [1, 16].map((depth): Cell => {
    const name = `cluster, SET 1 KB, P = ${depth}`;
    return {
      ...{ name, ways: ["direct", "ours"], rows: rowsOf(name) },
      measure: (way) =>
        measureLoad(bench, byName.get(way.name) ?? way, {
          ...{ test: "set", size: 1_024, clients: 32, depth, seconds },
          // through us each pipeline has keys of all nodes in it
          ...(way.name === "direct" && { cluster: true as const }),
        }),
    };
  });

const directTo = ({ host, port }: RedisBench): Way => ({
  ...{ name: "direct", host, port, password: account.password },
  close: async () => {},
});

const missing = prepare([["redis-server"], ["redis-tools"], ["haproxy"]]);
if (missing !== undefined) console.log(missing);
const undo: (() => Promise<unknown>)[] = [];
const kept = <T extends { close(): Promise<unknown> }>(one: T): T => {
  undo.push(() => one.close());
  return one;
};
try {
  const bench = kept(await openRedisBench());
  const table = kept(await openBenchTable(bench, "redis"));
  const cluster = kept(await openClusterBench());
  const clusterTable = kept(await openBenchTable(cluster, "redis"));
  const haproxy = await openHaproxy(bench, {});
  if (!haproxy) console.log("haproxy is not on this machine: left out");
  const profiled = { protocol: "redis", ...(profile !== undefined && { profile }) } as const;
  const opened: readonly Way[] = [
    directTo(bench),
    ...(haproxy ? [kept(haproxy)] : []),
    kept(await openOurs(bench, table, profiled)),
    kept(await openOurs(bench, table, { protocol: "redis", name: "unaudited", audit: false })),
  ];
  const clusterWays = [directTo(cluster), kept(await openOurs(cluster, clusterTable, { protocol: "redis" }))];
  const byName = new Map(clusterWays.map((way) => [way.name, way]));
  const cells = [...loadCells(bench), ...clusterCells(cluster, byName), ...restCells(bench)].filter(({ name }) =>
    only.test(name),
  );
  const plan = { cells, ways: opened, rounds, seconds };
  const samples = await measureRounds(plan, console.log);
  const machine = `Redis ${bench.version} and its redis-benchmark, 32 clients`;
  const text = await report(cells, samples, { ways, how: describe(plan), machine });
  console.log(`\n${text}`);
  if (whole) await writeBetween(document, "redis", text);
} finally {
  for (const step of undo.reverse()) await step();
}
