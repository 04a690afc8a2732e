// Real redis-servers in plain TCP, one alone or as a cluster, for tests of the wire: on free ports, in folders of their own, and gone
// with the test.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { launcher } from "@sallyport/local/launcher";
import { haveBinaries, howToInstall } from "@sallyport/local/redis/binaries";
import { beforeAll, beforeEach } from "vitest";
import { openTalk, type Talk } from "./talk.ts";

export interface RedisServer {
  readonly port: number;
  readonly busPort: number;
  /** A connection of the administrator's. */
  readonly talk: Talk;
  /** Ends it at once, as a failing machine does. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

const installed = await haveBinaries();

/** For a file of tests: what is started before them, where there is a Redis to start. */
export const stage = (start: () => Promise<void>): void => {
  beforeEach(({ skip }) => skip(!installed, `no Redis here: ${howToInstall}`));
  beforeAll(async () => {
    if (installed) await start();
  });
};

const freePorts = async (count: number): Promise<readonly number[]> => {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(async (server) => {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      return (server.address() as AddressInfo).port;
    }),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
};

const exited = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
};

const connectTo = async (port: number, child: ChildProcess): Promise<Talk> => {
  for (let tries = 0; ; tries++) {
    if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
    const talk = await openTalk(port).catch(() => undefined);
    if (talk && (await talk.ask("PING").catch(() => "")) === "+PONG\r\n") return talk;
    talk?.close();
    if (tries > 200) throw new Error("redis-server does not answer");
    await sleep(25);
  }
};

const startOn = async (port: number, busPort: number, options: readonly string[]): Promise<RedisServer> => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-redis-"));
  const [first = "redis-server", ...before] = [...launcher("KILL"), "redis-server"];
  const child = spawn(
    first,
    [
      ...[...before, "--port", String(port), "--bind", "127.0.0.1", "--dir", folder],
      ...["--save", "", "--appendonly", "no", "--enable-debug-command", "yes", ...options],
    ],
    { stdio: "ignore" },
  );
  const talk = await connectTo(port, child);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    talk.close();
    child.kill(signal);
    await exited(child);
    await rm(folder, { recursive: true, force: true });
  };
  return { port, busPort, talk, kill: () => end("SIGKILL"), stop: () => end("SIGKILL") };
};

export const startRedis = async (options: readonly string[] = []): Promise<RedisServer> => {
  const [port = 0, bus = 0] = await freePorts(2);
  return startOn(port, bus, ["--cluster-port", String(bus), ...options]);
};

export interface RedisCluster {
  readonly primaries: readonly RedisServer[];
  readonly replicas: readonly RedisServer[];
  stop(): Promise<void>;
}

const settled = async (servers: readonly RedisServer[], is: (info: string) => boolean): Promise<void> => {
  for (let tries = 0; tries < 800; tries++) {
    const infos = await Promise.all(servers.map(({ talk }) => talk.ask("CLUSTER", "INFO")));
    if (infos.every(is)) return;
    await sleep(25);
  }
  throw new Error("the cluster does not settle");
};

/** Primaries that own the slots in equal parts, each with as many replicas; more nodes without slots where asked for. */
export const startCluster = async ({ primaries = 3, replicas = 0, spare = 0 } = {}): Promise<RedisCluster> => {
  const total = primaries * (1 + replicas) + spare;
  const ports = await freePorts(2 * total);
  const servers = await Promise.all(
    Array.from({ length: total }, (_, at) => {
      const [port = 0, bus = 0] = ports.slice(2 * at, 2 * at + 2);
      const options = ["--cluster-enabled", "yes", "--cluster-port", String(bus), "--cluster-node-timeout", "1000"];
      return startOn(port, bus, [
        ...options,
        "--cluster-replica-validity-factor",
        "0",
        "--repl-diskless-sync-delay",
        "0",
      ]);
    }),
  );
  const [first] = servers;
  const owners = servers.slice(0, primaries);
  for (const [at, { talk }] of owners.entries()) {
    const [from, to] = [Math.floor((at * 16_384) / primaries), Math.floor(((at + 1) * 16_384) / primaries) - 1];
    await talk.ask("CLUSTER", "ADDSLOTSRANGE", String(from), String(to));
    await talk.ask("CLUSTER", "SET-CONFIG-EPOCH", String(at + 1));
  }
  for (const { port, busPort } of servers.slice(1))
    await first?.talk.ask("CLUSTER", "MEET", "127.0.0.1", String(port), String(busPort));
  await settled(servers, (info) => info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${total}`));
  const copies = servers.slice(primaries, primaries * (1 + replicas));
  for (const [at, { talk }] of copies.entries()) {
    const id = (await owners[at % primaries]?.talk.ask("CLUSTER", "MYID"))?.split("\r\n")[1] ?? "";
    for (let tries = 0; (await talk.ask("CLUSTER", "REPLICATE", id)) !== "+OK\r\n" && tries < 200; tries++)
      await sleep(25);
  }
  for (const { talk } of copies)
    for (
      let tries = 0;
      !(await talk.ask("INFO", "replication")).includes("master_link_status:up") && tries < 800;
      tries++
    )
      await sleep(25);
  if (replicas > 0)
    for (const { talk } of servers)
      for (let tries = 0; tries < 400; tries++) {
        const nodes = await talk.ask("CLUSTER", "NODES");
        if (nodes.split("slave ").length - 1 === copies.length) break;
        await sleep(25);
      }
  return {
    primaries: [...owners, ...servers.slice(primaries * (1 + replicas))],
    replicas: copies,
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
};
