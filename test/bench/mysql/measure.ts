// The measurements of MySQL's protocol, each of one way: sysbench's selects by key, connections one after the other, a dump.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import mysql from "mysql2/promise";
import { cpuOf, type Sample } from "../measure.ts";
import { account } from "../server.ts";
import type { Way } from "../way.ts";
import { dumped, type MysqlBench, table } from "./server.ts";

const lanes = 4;

/** Selects by key. CPU is that of the seconds between sysbench's reports: logins are not in it. */
export const measureSelects = async (
  bench: MysqlBench,
  way: Way,
  of: { readonly prepared: boolean; readonly clients: number; readonly seconds: number },
): Promise<Sample> => {
  const flags = [
    ...[`--mysql-host=${way.host}`, `--mysql-port=${way.port}`, `--mysql-user=${account.user}`, "--mysql-ssl=on"],
    ...[`--mysql-password=${way.password}`, `--mysql-db=${account.database}`, `--table-size=${table.rows}`],
    ...[`--threads=${of.clients}`, `--time=${of.seconds + 1}`, "--report-interval=1", "--percentile=99"],
    `--db-ps-mode=${of.prepared ? "auto" : "disable"}`,
  ];
  const child = spawn("sysbench", ["oltp_point_select", ...flags, "run"], {
    cwd: bench.folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const readings: Promise<number>[] = [];
  const rates: number[] = [];
  let said = "";
  createInterface({ input: child.stdout }).on("line", (line) => {
    said += `${line}\n`;
    const tps = /^\[ \d+s \] .* tps: ([\d.]+)/.exec(line)?.[1];
    if (tps === undefined) return;
    readings.push(cpuOf(way.pid));
    rates.push(Number(tps));
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const number = (pattern: RegExp): number => Number(pattern.exec(said)?.[1]);
  if (status !== 0) throw new Error(`sysbench through ${way.name} ended with ${status}: ${said.slice(-2_000)}`);
  const [first = 0, ...later] = await Promise.all(readings);
  const queries = rates.slice(1).reduce((sum, tps) => sum + tps, 0);
  return {
    tps: number(/transactions: +\d+ +\(([\d.]+) per sec/),
    avgUs: number(/avg: +([\d.]+)/) * 1_000,
    p99Us: number(/99th percentile: +([\d.]+)/) * 1_000,
    ...(way.pid === undefined || queries === 0 ? {} : { cpu: ((later.at(-1) ?? first) - first) / queries }),
  };
};

/** A connection for each query, four at a time: mysql2 for all, since sysbench keeps its own. */
export const measureLogins = async (bench: MysqlBench, way: Way, seconds: number): Promise<Sample> => {
  const { host, port, password } = way;
  const { user, database } = account;
  const before = await cpuOf(way.pid);
  const startedAt = performance.now();
  let count = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - startedAt < seconds * 1_000) {
      const client = await mysql.createConnection({ host, port, user, password, database, ssl: { ca: bench.ca } });
      await client.query("select 1");
      await client.end();
      count++;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return {
    rate: count / ((performance.now() - startedAt) / 1_000),
    ...(way.pid === undefined ? {} : { cpu: ((await cpuOf(way.pid)) - before) / count }),
  };
};

/** How long mariadb-dump takes for half a gigabyte, thrown away as it comes. */
export const measureDump = async (bench: MysqlBench, way: Way): Promise<Sample> => {
  const before = await cpuOf(way.pid);
  const startedAt = performance.now();
  const where = [`--host=${way.host}`, `--port=${way.port}`, "--protocol=TCP", `--user=${account.user}`];
  const tls = [`--ssl-ca=${bench.caFile}`, "--ssl-verify-server-cert"];
  const what = ["--single-transaction", "--quick", account.database, "bulk"];
  const child = spawn("mariadb-dump", ["--no-defaults", ...where, `--password=${way.password}`, ...tls, ...what], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.stderr.on("data", (bytes: Buffer) => {
    complaint += bytes.toString();
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (status !== 0) throw new Error(`mariadb-dump through ${way.name} ended with ${status}: ${complaint}`);
  const megabytes = dumped.bytes / 1e6;
  return {
    seconds: (performance.now() - startedAt) / 1_000,
    ...(way.pid === undefined ? {} : { cpu: ((await cpuOf(way.pid)) - before) / megabytes }),
  };
};
