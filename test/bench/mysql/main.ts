// `node test/bench/mysql/main.ts`: MySQL's protocol through us beside a straight connection and a plain relay in Node (mysqlrouter
// is in no Debian package), in interleaved rounds of one run, TLS on both legs and audit on.
//   --rounds N  --seconds N  --only <pattern>  --profile <folder> for our process's CPU profile
import { launcher } from "@sallyport/local/launcher";
import { proxyFlags, startTask } from "@sallyport/local/task";
import { prepare } from "../../../tools/machine.ts";
import { type Cell, tables } from "../cells.ts";
import { writeBetween } from "../document.ts";
import { document, readOptions } from "../options.ts";
import { report } from "../report.ts";
import { describe, measureRounds } from "../rounds.ts";
import { account } from "../server.ts";
import { openBenchTable } from "../table.ts";
import { openOurs, type Way } from "../way.ts";
import { measureDump, measureLogins, measureSelects } from "./measure.ts";
import { type MysqlBench, openMysqlBench } from "./server.ts";

const { rounds, seconds, only, whole, profile } = readOptions({ seconds: 3 });
const ways = ["direct", "relay", "ours"];

const openRelay = async ({ files, caFile, host, port }: MysqlBench): Promise<Way> => {
  const task = await startTask({
    entry: new URL("relay.ts", import.meta.url).pathname,
    flags: proxyFlags,
    launcher: launcher("KILL"),
    env: {
      ...{ RELAY_CERT: files.cert, RELAY_KEY: files.key, RELAY_CA: caFile },
      ...{ RELAY_HOST: host, RELAY_PORT: String(port) },
    },
  });
  const listening = (task.ready["ports"] as { mysql: number }).mysql;
  const { password } = account;
  return { name: "relay", host: "127.0.0.1", port: listening, password, pid: task.pid, close: () => task.kill() };
};

const selectCells = (bench: MysqlBench): readonly Cell[] =>
  [false, true].flatMap((prepared) =>
    [1, 8, 32].map((clients): Cell => {
      const name = `${prepared ? "prepared" : "text"}, ${clients} ${clients === 1 ? "client" : "clients"}`;
      const row = (table: string, quantity: string) => ({ table, label: name, quantity });
      return {
        name,
        ways: clients === 8 ? [...ways, "unaudited"] : ways,
        rows: [row(tables.rate, "tps"), row(tables.slowest, "p99Us"), row(tables.cpu, "cpu")],
        mean: "all selects",
        measure: (way) => measureSelects(bench, way, { prepared, clients, seconds }),
      };
    }),
  );

const cellsOf = (bench: MysqlBench): readonly Cell[] => {
  const rest = (label: string, quantity: string) => ({ table: tables.rest, label, quantity });
  return [
    ...selectCells(bench),
    {
      ...{ name: "connections", ways },
      rows: [rest("new connections a second", "rate"), rest("new connection, µs of CPU", "cpu")],
      measure: (way) => measureLogins(bench, way, seconds),
    },
    {
      ...{ name: "dump", ways },
      rows: [rest("mariadb-dump of 500 MB, s", "seconds"), rest("dump, µs of CPU a MB", "cpu")],
      measure: (way) => measureDump(bench, way),
    },
  ];
};

const missing = prepare([["mariadb-server"], ["mariadb-client"], ["sysbench"]]);
if (missing !== undefined) console.log(missing);
const undo: (() => Promise<unknown>)[] = [];
try {
  const bench = await openMysqlBench();
  undo.push(() => bench.close());
  const table = await openBenchTable(bench, "mysql");
  undo.push(() => table.close());
  const { host, port } = bench;
  const opened: readonly Way[] = [
    { name: "direct", host, port, password: account.password, close: async () => {} },
    await openRelay(bench),
    await openOurs(bench, table, { protocol: "mysql", ...(profile !== undefined && { profile }) }),
    await openOurs(bench, table, { protocol: "mysql", name: "unaudited", audit: false }),
  ];
  for (const way of opened) undo.push(() => way.close());
  const cells = cellsOf(bench).filter(({ name }) => only.test(name));
  const plan = { cells, ways: opened, rounds, seconds };
  const samples = await measureRounds(plan, console.log);
  const how = describe(plan);
  const text = await report(cells, samples, { ways, how, machine: `MariaDB ${bench.version}, sysbench, mysql2` });
  console.log(`\n${text}`);
  if (whole) await writeBetween(document, "mysql", text);
} finally {
  for (const step of undo.reverse()) await step();
}
