// The measurements of Redis's protocol, by redis-benchmark, which is the client of all ways: commands of a size at a depth of pipelining,
// a connection for each command; and connections that do nothing, by a client of ours.
import { once } from "node:events";
import { connect } from "node:tls";
import { cpuOf, type Sample } from "../measure.ts";
import { account, run } from "../server.ts";
import type { Visitor } from "../visitor.ts";
import type { Way } from "../way.ts";
import type { RedisBench } from "./server.ts";

export interface Load {
  readonly test: "set" | "get" | "ping_mbulk";
  /** Bytes of a value. */
  readonly size?: number;
  readonly clients: number;
  /** Commands under way at once on each connection. */
  readonly depth: number;
  readonly seconds: number;
  /** A connection for each command. */
  readonly reconnect?: true;
  /** Each connection goes to a node and asks for its keys alone. Not for one that shows a single node: redis-benchmark refuses it. */
  readonly cluster?: true;
}

/** About a megabyte of values, so that all of them are written soon. */
const keySpace = ({ size = 3 }: Load): number => Math.max(10, Math.min(1_000, Math.round(1_000_000 / size)));
/** To begin with. */
const fewest = { commands: 10_000, connections: 500 } as const;
/** Quarters of a second until everybody is logged in. */
const settled = 3;

interface Told {
  /** Commands a second. */
  readonly rate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const read = (text: string, pattern: RegExp): readonly number[] => {
  const found = pattern.exec(text)?.slice(1);
  if (!found) throw new Error(`not what redis-benchmark says: ${text.slice(-2_000)}`);
  return found.map(Number);
};

/** Runs redis-benchmark; `onProgress` is called four times a second with the rate since it was last called. */
const benchmark = async (
  bench: RedisBench,
  way: Way,
  load: Load,
  commands: number,
  onProgress: (rate: number) => void = () => {},
): Promise<Told> => {
  const flags = [
    ...["-h", way.host, "-p", String(way.port), "--user", account.user, "-a", way.password],
    ...["--tls", "--cacert", bench.caFile, "--sni", "localhost", "--tls-ciphersuites", bench.cipher],
    ...["-t", load.test, "-c", String(load.clients), "-P", String(load.depth), "-n", String(commands)],
    ...["-r", String(keySpace(load)), "-d", String(load.size ?? 3), "-k", load.reconnect ? "0" : "1"],
    ...(load.cluster ? ["--cluster"] : []),
  ];
  const done = run("redis-benchmark", flags, { maxBuffer: 1 << 26 });
  done.child.stdout?.on("data", (text: string) => {
    for (const [, rate] of text.matchAll(/: rps=([\d.]+) \(overall/g)) onProgress(Number(rate));
  });
  const { stdout } = await done;
  const [rate = Number.NaN] = read(stdout, /throughput summary: ([\d.]+) requests/);
  const [, , p50Ms = Number.NaN, , p99Ms = Number.NaN] = read(
    stdout,
    /max\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)/,
  );
  return { rate, p50Ms, p99Ms };
};

interface Reading {
  readonly rate: number;
  readonly at: number;
  readonly cpu: Promise<number>;
}

/** The long way to a rate: from the first reading to the last. Undefined while that is shorter than wanted. */
const rateOf = async (readings: readonly Reading[], seconds: number) => {
  const [first, ...later] = readings;
  const last = later.at(-1);
  if (!first || !last || last.at - first.at < seconds * 1_000) return undefined;
  const commands = later.reduce((sum, { rate, at }, n) => sum + (rate * (at - (later[n - 1] ?? first).at)) / 1_000, 0);
  return {
    rate: commands / ((last.at - first.at) / 1_000),
    cpu: ((await last.cpu) - (await first.cpu)) / commands,
  };
};

/** More and more commands, until they take long enough. Logins are in neither rate nor CPU, unless they are what is asked for. */
export const measureLoad = async (bench: RedisBench, way: Way, load: Load): Promise<Sample> => {
  // what is read must be there
  if (load.test === "get") await benchmark(bench, way, { ...load, test: "set" }, keySpace(load) * 10);
  let commands = load.reconnect ? fewest.connections : fewest.commands * load.depth;
  for (;;) {
    const startedAt = performance.now();
    const readings: Reading[] = [];
    const { p50Ms, p99Ms } = await benchmark(bench, way, load, commands, (rate) => {
      readings.push({ rate, at: performance.now(), cpu: cpuOf(way.pid) });
    });
    const found = await rateOf(readings.slice(load.reconnect ? 0 : settled), load.seconds);
    if (found) {
      const { rate, cpu } = found;
      return { tps: rate, p50Us: p50Ms * 1_000, p99Us: p99Ms * 1_000, ...(way.pid !== undefined && { cpu }) };
    }
    const wanted = (load.seconds + 2) * 1_000;
    commands = Math.round(commands * Math.min(8, Math.max(1.5, wanted / (performance.now() - startedAt))));
  }
};

/** TLS and AUTH, and then nothing until it leaves. */
export const openVisitors =
  (bench: RedisBench) =>
  async (way: Way): Promise<Visitor> => {
    const startedAt = performance.now();
    const socket = connect({ host: way.host, port: way.port, servername: "localhost", ca: bench.ca });
    await once(socket, "secureConnect");
    socket.write(`AUTH ${account.user} ${way.password}\r\n`);
    const [answer] = (await once(socket, "data")) as [Buffer];
    if (answer.toString() !== "+OK\r\n") throw new Error(`${way.name}: ${answer.toString().trim()}`);
    const ms = performance.now() - startedAt;
    socket.on("error", () => {});
    return {
      ms,
      leave: async () => {
        const closed = once(socket, "close");
        socket.end();
        socket.resume();
        await closed;
      },
    };
  };
