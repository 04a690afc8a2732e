// `node test/bench/mongodb/main.ts`: MongoDB's protocol through us beside a straight connection and haproxy, in interleaved rounds of
// one run, TLS on both legs and audit on. What answers is no database (target.ts).
//   --rounds N  --seconds N  --only <pattern>  --profile <folder> for our process's CPU profile
import { prepare } from "../../../tools/machine.ts";
import { type Cell, tables } from "../cells.ts";
import { writeBetween } from "../document.ts";
import { document, readOptions } from "../options.ts";
import { report } from "../report.ts";
import { describe, measureRounds } from "../rounds.ts";
import { account } from "../server.ts";
import { openBenchTable } from "../table.ts";
import { openHaproxy, openOurs, type Way } from "../way.ts";
import { type ActName, measureAct } from "./measure.ts";
import { type MongoBench, openMongoBench } from "./server.ts";

const { rounds, seconds, only, whole, profile } = readOptions({ seconds: 2 });
const ways = ["direct", "haproxy", "ours"];

const titles: Readonly<Record<ActName, string>> = {
  find: "find by _id",
  insert: "insertMany of 1,000 × 1 KB",
  scan: "cursor of 100 MB",
};

const cellsOf = (bench: MongoBench): readonly Cell[] =>
  (Object.keys(titles) as ActName[]).flatMap((act) =>
    [1, 8, 32].map((clients): Cell => {
      const name = `${titles[act]}, ${clients} ${clients === 1 ? "connection" : "connections"}`;
      const row = (table: string, quantity: string, unit = "") => ({ table, label: `${name}${unit}`, quantity });
      const bulk = [row(tables.rest, "tps", ", MB/s"), row(tables.rest, "cpu", ", µs of CPU a MB")];
      const small = [
        row(tables.rate, "tps"),
        row(tables.middle, "p50Us"),
        row(tables.slowest, "p99Us"),
        row(tables.cpu, "cpu"),
      ];
      return {
        name,
        ways: clients === 8 ? [...ways, "unaudited"] : ways,
        rows: act === "find" ? small : bulk,
        mean: titles[act],
        measure: (way) => measureAct(bench, way, { act, clients, seconds }),
      };
    }),
  );

const missing = prepare([["haproxy"]]);
if (missing !== undefined) console.log(missing);
const undo: (() => Promise<unknown>)[] = [];
try {
  const bench = await openMongoBench();
  undo.push(() => bench.close());
  const table = await openBenchTable(bench, "mongodb");
  undo.push(() => table.close());
  const { host, port } = bench;
  const opened: Way[] = [{ name: "direct", host, port, password: account.password, close: async () => {} }];
  const open = async (way: Promise<Way | undefined>): Promise<void> => {
    const found = await way;
    if (!found) return console.log("haproxy is not on this machine: left out");
    undo.push(() => found.close());
    opened.push(found);
  };
  await open(openHaproxy(bench, {}));
  await open(openOurs(bench, table, { protocol: "mongodb", ...(profile !== undefined && { profile }) }));
  await open(openOurs(bench, table, { protocol: "mongodb", name: "unaudited", audit: false }));
  const cells = cellsOf(bench).filter(({ name }) => only.test(name));
  const plan = { cells, ways: opened, rounds, seconds };
  const samples = await measureRounds(plan, console.log);
  const how = describe(plan);
  const text = await report(cells, samples, { ways, how, machine: "no database: answers made beforehand" });
  console.log(`\n${text}`);
  if (whole) await writeBetween(document, "mongodb", text);
} finally {
  for (const step of undo.reverse()) await step();
}
