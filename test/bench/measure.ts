// The measurements, each of one way for a second or two. Clients are Debian's pgbench and psql 15 with npm's libpq 18, which
// begins with TLS; what stands between is watched from outside, in /proc.
import { spawn } from "node:child_process";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { proxyFlags } from "@sallyport/local/task";
import { account, type Bench, copied, run } from "./server.ts";
import type { Visitor } from "./visitor.ts";
import type { Way } from "./way.ts";

const programs = "/usr/lib/postgresql/15/bin";
const tickUs = 10_000; // USER_HZ is 100 on every Linux there is
const rowsPerPage = 5; // pgbench's scale: 500,000 accounts
const sampled = 0.25; //  of the transactions, for their latencies

export type Mode = "simple" | "extended" | "prepared";
/** What one measurement says, by quantity; `cpu` in microseconds for one of what is counted. */
export type Sample = Readonly<Record<string, number>>;

/** Microseconds of CPU that a process has used, all its threads together. */
export const cpuOf = async (pid: number | undefined): Promise<number> => {
  if (pid === undefined) return 0;
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) * tickUs;
};

const residentKb = async (pid: number): Promise<number> =>
  Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]);

const envOf = (bench: Bench, way: Way): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"],
  LD_LIBRARY_PATH: bench.libraries,
  PGHOST: "localhost",
  PGHOSTADDR: way.host,
  PGPORT: String(way.port),
  PGUSER: account.user,
  PGDATABASE: account.database,
  PGPASSWORD: way.password,
  PGSSLMODE: "verify-full",
  PGSSLROOTCERT: bench.caFile,
  PGSSLNEGOTIATION: way.asksForTls ? "postgres" : "direct",
  // one cipher for all, as on the servers' side
  PGSSLMINPROTOCOLVERSION: "TLSv1.3",
});

const number = (text: string, pattern: RegExp): number => {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`not what pgbench says: ${text}`);
  return Number(found);
};

/** Runs pgbench; `onProgress` is called at the end of each second with that second's rate. */
const pgbench = async (
  bench: Bench,
  way: Way,
  flags: readonly string[],
  onProgress: (tps: number) => void = () => {},
): Promise<string> => {
  const child = spawn(join(programs, "pgbench"), [...flags, account.database], {
    env: envOf(bench, way),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  let complaint = "";
  child.stdout.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  createInterface({ input: child.stderr }).on("line", (line) => {
    const tps = /^progress: [\d.]+ s, ([\d.]+) tps/.exec(line)?.[1];
    if (tps !== undefined) onProgress(Number(tps));
    else complaint = `${complaint}${line}\n`.slice(-2_000);
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (status !== 0) throw new Error(`pgbench through ${way.name} ended with ${status}: ${complaint}`);
  return said;
};

export const prepareRows = async (bench: Bench, way: Way): Promise<void> => {
  await pgbench(bench, way, ["-i", "-q", "-s", String(rowsPerPage)]);
};

/** Of what pgbench logged of its transactions, in microseconds: the middle, and what one in a hundred was slower than. */
const latencies = async (folder: string, prefix: string): Promise<{ p50Us: number; p99Us: number }> => {
  const files = (await readdir(folder)).filter((name) => name.startsWith(prefix));
  const texts = await Promise.all(files.map((name) => readFile(join(folder, name), "utf8")));
  await Promise.all(files.map((name) => rm(join(folder, name))));
  const all = texts.flatMap((text) =>
    text.split("\n").flatMap((line) => (line === "" ? [] : Number(line.split(" ")[2]))),
  );
  all.sort((a, b) => a - b);
  const at = (share: number): number => all[Math.floor(all.length * share)] ?? Number.NaN;
  return { p50Us: at(0.5), p99Us: at(0.99) };
};

/** Selects by key. CPU is that of the seconds between pgbench's reports: logins are not in it. */
export const measureQueries = async (
  bench: Bench,
  way: Way,
  of: { mode: Mode; clients: number; seconds: number },
): Promise<Sample> => {
  const readings: Promise<number>[] = [];
  const rates: number[] = [];
  const flags = ["-n", "-S", "-M", of.mode, "-c", String(of.clients), "-j", String(Math.min(2, of.clients))];
  const prefix = `latency-${way.name}`;
  const logging = ["--log", `--log-prefix=${join(bench.folder, prefix)}`, `--sampling-rate=${sampled}`];
  const said = await pgbench(bench, way, [...flags, ...logging, "-T", String(of.seconds), "-P", "1"], (tps) => {
    readings.push(cpuOf(way.pid));
    rates.push(tps);
  });
  const [first = 0, ...later] = await Promise.all(readings);
  const queries = rates.slice(1).reduce((sum, tps) => sum + tps, 0);
  return {
    tps: number(said, /tps = ([\d.]+)/),
    ...(await latencies(bench.folder, prefix)),
    ...(way.pid === undefined || queries === 0 ? {} : { cpu: ((later.at(-1) ?? first) - first) / queries }),
  };
};

/** A connection for each query, four at a time. */
export const measureConnections = async (bench: Bench, way: Way, seconds: number): Promise<Sample> => {
  const before = await cpuOf(way.pid);
  const said = await pgbench(bench, way, ["-n", "-S", "-C", "-c", "4", "-j", "2", "-T", String(seconds)]);
  const count = number(said, /transactions actually processed: (\d+)/);
  return {
    rate: number(said, /tps = ([\d.]+)/),
    ...(way.pid === undefined ? {} : { cpu: ((await cpuOf(way.pid)) - before) / count }),
  };
};

const times = 3;
/** Bytes of rows a second, by psql's own clock. COPY IN sends them all and keeps none: the server's disk is not measured. */
export const measureCopy = async (bench: Bench, way: Way, direction: "in" | "out"): Promise<Sample> => {
  const copy =
    direction === "out"
      ? "copy bulk to stdout;"
      : `\\copy drain from '${join(bench.folder, "bulk.txt")}' where line is null`;
  const script = ["\\timing on", "\\o /dev/null", ...Array<string>(times).fill(copy)].join("\n");
  const before = await cpuOf(way.pid);
  const done = run(join(programs, "psql"), ["-X", "-q", "-v", "ON_ERROR_STOP=1"], { env: envOf(bench, way) });
  done.child.stdin?.end(`${script}\n`);
  const { stdout } = await done;
  const took = [...stdout.matchAll(/^Time: ([\d.]+) ms/gm)].map(([, ms]) => Number(ms));
  if (took.length !== times) throw new Error(`psql told ${took.length} times: ${stdout}`);
  const megabytes = (copied.bytes * times) / 1e6;
  return {
    rate: megabytes / (took.reduce((sum, ms) => sum + ms, 0) / 1000),
    ...(way.pid === undefined ? {} : { cpu: ((await cpuOf(way.pid)) - before) / megabytes }),
  };
};

type Visit = (way: Way) => Promise<Visitor>;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/** One after the other. */
export const measureArrival = async (visit: Visit, way: Way, count: number): Promise<Sample> => {
  const took: number[] = [];
  for (let at = 0; at < count; at++) {
    const visitor = await visit(way);
    took.push(visitor.ms);
    await visitor.leave();
  }
  return { ms: median(took) };
};

/** Resident memory for each of so many connections that do nothing, on a process that has served some before. */
export const measureIdle = async (visit: Visit, way: Way & { pid: number }, count: number): Promise<Sample> => {
  const arrive = async (): Promise<Visitor[]> => {
    const visitors: Visitor[] = [];
    while (visitors.length < count) visitors.push(...(await Promise.all(Array.from({ length: 10 }, () => visit(way)))));
    return visitors;
  };
  // one by one, so that a heap has grown to what arrivals need but holds none of them
  for (let at = 0; at < Math.min(count, 200); at++) await (await visit(way)).leave();
  const before = await residentKb(way.pid);
  const visitors = await arrive();
  const kb = (await residentKb(way.pid)) - before;
  for (let at = 0; at < visitors.length; at += 50)
    await Promise.all(visitors.slice(at, at + 50).map((visitor) => visitor.leave()));
  return { kb: kb / count };
};

/** What a script of ours says of itself in one line of JSON. */
export const measureScript = async (file: URL): Promise<Sample> => {
  const { stdout } = await run(process.execPath, [...proxyFlags, file.pathname]);
  return JSON.parse(stdout) as Sample;
};
