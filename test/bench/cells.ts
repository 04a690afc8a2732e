// What is measured, cell by cell: of which ways, and in which rows of the report it is told. Another protocol's cells go beside
// these; nothing else here knows what a cell is about.
import {
  type Mode,
  measureArrival,
  measureConnections,
  measureCopy,
  measureIdle,
  measureQueries,
  measureScript,
  type Sample,
} from "./measure.ts";
import { measureIssue, measureRedeem } from "./rates.ts";
import type { Bench } from "./server.ts";
import type { Table } from "./table.ts";
import { openVisitors } from "./visitor.ts";
import type { Way } from "./way.ts";

/** One quantity of a cell's samples, as a row of a table. */
interface Row {
  readonly table: string;
  readonly label: string;
  readonly quantity: string;
}
export interface Cell {
  readonly name: string;
  readonly ways: readonly string[];
  readonly rows: readonly Row[];
  /** Counts for the geometric means of that name, of the quantities `tps` and `cpu`. */
  readonly mean?: string;
  /** Memory is measured in the first round alone: what a process has once held it keeps. */
  readonly once?: true;
  measure(way: Way): Promise<Sample>;
}

/** Tables in the report's order. */
export const tables = {
  rate: "queries a second",
  middle: "median latency, µs",
  slowest: "99th percentile, µs",
  cpu: "CPU of the process between, µs a query",
  rest: "the rest",
  alone: "ours alone",
} as const;

const modes: readonly Mode[] = ["simple", "extended", "prepared"];
const all = ["direct", "haproxy", "pgbouncer", "relay", "ours"];
const between = all.slice(1);
const idleConnections = 1_000;
const arrivals = 15;

const rest = (label: string, quantity: string): Row => ({ table: tables.rest, label, quantity });
const alone = (label: string, quantity: string): Row => ({ table: tables.alone, label, quantity });

const queryCells = (bench: Bench, seconds: number, clientCounts: readonly number[]): readonly Cell[] =>
  modes.flatMap((mode) =>
    clientCounts.map((clients): Cell => {
      const name = `${mode}, ${clients} ${clients === 1 ? "client" : "clients"}`;
      const row = (table: string, quantity: string): Row => ({ table, label: name, quantity });
      return {
        name,
        ways: clients === 8 ? [...all, "unaudited"] : all,
        rows: [
          row(tables.rate, "tps"),
          row(tables.middle, "p50Us"),
          row(tables.slowest, "p99Us"),
          row(tables.cpu, "cpu"),
        ],
        ...(clients === 1 ? {} : { mean: "the cells at 8 and 32 clients" }),
        measure: (way) => measureQueries(bench, way, { mode, clients, seconds }),
      };
    }),
  );

export const openCells = (
  bench: Bench,
  table: Table,
  of: { readonly seconds: number; readonly clients: readonly number[] },
): readonly Cell[] => {
  const { seconds } = of;
  const visit = openVisitors(bench);
  return [
    {
      name: "idle",
      ways: between.filter((name) => name !== "relay"),
      rows: [rest("idle connection, KB", "kb")],
      once: true,
      measure: (way) => measureIdle(visit, { ...way, pid: way.pid ?? 0 }, idleConnections),
    },
    ...queryCells(bench, seconds, of.clients),
    {
      name: "copy out",
      ways: all,
      rows: [rest("COPY OUT, MB/s", "rate"), rest("COPY OUT, µs of CPU a MB", "cpu")],
      measure: (way) => measureCopy(bench, way, "out"),
    },
    {
      name: "copy in",
      ways: all,
      rows: [rest("COPY IN, MB/s", "rate"), rest("COPY IN, µs of CPU a MB", "cpu")],
      measure: (way) => measureCopy(bench, way, "in"),
    },
    {
      name: "arrival",
      ways: all,
      rows: [rest("TCP connect to ReadyForQuery, ms", "ms")],
      measure: (way) => measureArrival(visit, way, arrivals),
    },
    {
      name: "connections",
      ways: all,
      rows: [rest("new connections a second", "rate"), rest("new connection, µs of CPU", "cpu")],
      measure: (way) => measureConnections(bench, way, seconds),
    },
    {
      name: "redeem",
      ways: ["door"],
      rows: [alone("tokens redeemed a second by one proxy", "rate"), alone("token redeemed, µs of its CPU", "cpu")],
      measure: (way) => measureRedeem(way, seconds),
    },
    {
      name: "issue",
      ways: ["door"],
      rows: [alone("tokens issued a second by one function", "rate"), alone("token issued, µs of its CPU", "cpu")],
      measure: () => measureIssue(table.desk, table.login, seconds),
    },
    {
      name: "decide",
      ways: ["door"],
      rows: [
        alone("5,000 sessions decided again over 1,000 roles, ms", "ms"),
        alone("the longest the event loop was away meanwhile, ms", "stallMs"),
        alone("the most that it was held by us, ms of CPU", "heldMs"),
      ],
      measure: () => measureScript(new URL("decide.ts", import.meta.url)),
    },
  ];
};
