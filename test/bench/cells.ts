// What is measured, cell by cell, and of which ways.
import {
  type Mode,
  measureArrival,
  measureConnections,
  measureCopy,
  measureIdle,
  measureQueries,
  type Sample,
} from "./measure.ts";
import type { Bench } from "./server.ts";
import { openVisitors } from "./visitor.ts";
import type { Way } from "./way.ts";

export interface Cell {
  readonly name: string;
  readonly ways: readonly string[];
  /** Memory is measured in the first round alone: what a process has once held it keeps. */
  readonly once?: true;
  measure(way: Way): Promise<Sample>;
}

export const modes: readonly Mode[] = ["simple", "extended", "prepared"];
export const queryName = (mode: Mode, clients: number): string =>
  `${mode}, ${clients} ${clients === 1 ? "client" : "clients"}`;

const all = ["direct", "haproxy", "pgbouncer", "relay", "ours"];
const idleConnections = 200;
const arrivals = 15;

export const openCells = (bench: Bench, of: { seconds: number; clients: readonly number[] }): readonly Cell[] => {
  const { seconds } = of;
  const visit = openVisitors(bench);
  const queries = modes.flatMap((mode) =>
    of.clients.map((clients) => ({
      name: queryName(mode, clients),
      ways: [...all, "unaudited"],
      measure: (way: Way) => measureQueries(bench, way, { mode, clients, seconds }),
    })),
  );
  return [
    {
      name: "idle",
      ways: all.slice(1),
      once: true,
      measure: (way) => measureIdle(visit, { ...way, pid: way.pid ?? 0 }, idleConnections),
    },
    ...queries,
    { name: "copy out", ways: all, measure: (way) => measureCopy(bench, way, "out") },
    { name: "copy in", ways: all, measure: (way) => measureCopy(bench, way, "in") },
    { name: "arrival", ways: all, measure: (way) => measureArrival(visit, way, arrivals) },
    { name: "connections", ways: all, measure: (way) => measureConnections(bench, way, seconds) },
  ];
};
