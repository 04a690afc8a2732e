// Real Redis as ElastiCache and MemoryDB set it up: one node, one with replicas, or a cluster of three primaries. What they say
// of one another (CLUSTER SLOTS, MOVED) names each node's front: to who comes over the private socket they show the front's
// host and port, and among themselves, and to who comes by TLS, the port they really listen on.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Failure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { type Authority, createAuthority } from "../certificate.ts";
import { freePort } from "../mariadb/port.ts";
import { runner } from "../program.ts";
import { findBinaries } from "./binaries.ts";
import { type RedisNode, type Settings, startNode } from "./node.ts";
import { type Announced, type Place, type Plan, planCluster, planReplicas } from "./plan.ts";

const readyWithinMs = 20_000;
const electionWithinMs = 2_000;
const lookEveryMs = 20;

export interface RedisOptions {
  /** Primaries of a cluster; without, there is no cluster, and one primary. */
  readonly primaries?: number;
  /** Replicas of each primary. Default none. */
  readonly replicas?: number;
  /** One for each node, primaries first; needed in a cluster. */
  readonly announced?: readonly Announced[];
  /** Signs for the TLS port of each node; one of its own when left out. A single node has that port only where this is given. */
  readonly authority?: Authority;
  /** Further directives of redis.conf. */
  readonly settings?: Settings;
}

export interface Member extends RedisNode {
  /** The TLS port on its own address: for the other nodes, and for clients to be tried without a front. 0 where there is none. */
  readonly port: number;
  readonly host: string;
}

export interface Redis {
  /** `7.0.15`. */
  readonly version: string;
  readonly cluster: boolean;
  /** Primaries first, as they were started. */
  readonly nodes: readonly Member[];
  /** Whether this node is a primary now. */
  isPrimary(at: number): Promise<boolean>;
  /** Makes a replica the primary, by agreement with its primary or, where that is gone, without. */
  promote(at: number): Promise<void>;
  stop(): Promise<void>;
}

const until = async (what: string, holds: () => Promise<boolean>, within = readyWithinMs): Promise<void> => {
  const end = performance.now() + within;
  while (!(await holds())) {
    if (performance.now() > end) throw new Failure("timeout", `redis did not get there in time: ${what}`);
    await wait(lookEveryMs);
  }
};

const text = async (node: RedisNode, ...words: readonly string[]): Promise<string> =>
  String(await node.command(...words).catch(() => ""));

/** Every node serves, knows every other by its name, and every replica has what its primary has. */
const settled = async (nodes: readonly RedisNode[], plan: Plan): Promise<void> => {
  const isThere = async (node: RedisNode, at: number): Promise<boolean> => {
    if (plan.isReplica(at) && !(await text(node, "INFO", "replication")).includes("master_link_status:up"))
      return false;
    if (plan.announced === undefined) return true;
    if (!(await text(node, "CLUSTER", "INFO")).includes("cluster_state:ok")) return false;
    const known = JSON.stringify(await node.command("CLUSTER", "SLOTS"));
    return plan.announced.every(({ name, port }) => known.includes(`["${name}",${port},`));
  };
  await Promise.all(nodes.map((node, at) => until(`node ${at + 1} of ${nodes.length}`, () => isThere(node, at))));
};

const listening = (place: Place | undefined): Settings => ({
  bind: String(place?.host),
  "tls-port": String(place?.port),
  "tls-cert-file": "cert.pem",
  "tls-key-file": "key.pem",
  "tls-ca-cert-file": "ca.pem",
  "tls-auth-clients": "no",
  "tls-replication": "yes",
  "repl-diskless-sync-delay": "0",
  // a replica is shown to nobody before it has heard from its primary
  "repl-ping-replica-period": "1",
});

const launch = async (program: string, folder: string, options: RedisOptions): Promise<readonly Member[]> => {
  const { primaries, replicas = 0, announced, settings = {} } = options;
  const count = (primaries ?? 1) * (1 + replicas);
  const listens = count > 1 || primaries !== undefined || options.authority !== undefined;
  const hosts = Array.from({ length: count }, (_, at) => announced?.[at]?.host ?? "127.0.0.1");
  const ports = await Promise.all(hosts.map((host) => (listens ? freePort(host) : 0)));
  const buses = await Promise.all(hosts.map((host) => (primaries === undefined ? 0 : freePort(host))));
  const places = hosts.map((host, at) => ({ host, port: ports[at] ?? 0, bus: buses[at] ?? 0 }));
  const plan = primaries === undefined ? planReplicas(places) : planCluster(places, announced ?? [], primaries);
  const authority = options.authority ?? (await createAuthority({ now: Date.now() }));
  // nodes of a cluster are each other's clients
  const names = [...new Set([...(announced ?? []).map(({ name }) => name), ...hosts])];
  const certificate = listens ? await authority.issue(names, undefined, "peer") : undefined;
  const password = secret(randomBytes(32).toString("hex"));
  const startAt = (at: number): Promise<RedisNode> =>
    startNode({
      program,
      folder: `${folder}-${at + 1}`,
      password,
      settings: { ...(certificate && listening(places[at])), ...plan.settings(at), ...settings },
      files: {
        ...(certificate && { "cert.pem": certificate.cert, "key.pem": certificate.key, "ca.pem": certificate.ca }),
        ...plan.files(at),
      },
    });
  const all = [...places.keys()];
  // a replica that finds no primary asks again only after a second
  const nodes = [
    ...(await Promise.allSettled(all.filter((at) => !plan.isReplica(at)).map(startAt))),
    ...(await Promise.allSettled(all.filter(plan.isReplica).map(startAt))),
  ];
  const started = nodes.flatMap((node) => (node.status === "fulfilled" ? [node.value] : []));
  try {
    for (const node of nodes) if (node.status === "rejected") throw node.reason;
    await settled(started, plan);
  } catch (thrown) {
    await Promise.all(started.map((node) => node.stop("SIGKILL")));
    throw thrown;
  }
  return started.map((node, at) => ({ ...node, host: hosts[at] ?? "", port: ports[at] ?? 0 }));
};

/** The ports were free when they were picked; another process may have taken one since. */
const launchSomewhere = async (program: string, folder: string, options: RedisOptions): Promise<readonly Member[]> => {
  for (let left = 3; ; left--) {
    try {
      return await launch(program, join(folder, `try-${left}`), options);
    } catch (thrown) {
      if (left === 0 || !/Address already in use|Failed listening/.test(String(thrown))) throw thrown;
    }
  }
};

/** All others become its replicas. */
const follow = async (nodes: readonly Member[], primary: Member): Promise<void> => {
  await primary.command("REPLICAOF", "NO", "ONE");
  for (const other of nodes)
    if (other !== primary && other.lives()) await other.command("REPLICAOF", primary.host, String(primary.port));
};

/** A node of a cluster becomes the primary of its shard: by agreement, or without where there is nobody to agree. */
const failOver = async (nodes: readonly Member[], replica: Member): Promise<void> => {
  const linked = (await text(replica, "INFO", "replication")).includes("master_link_status:up");
  const id = await text(replica, "CLUSTER", "MYID");
  const agrees = async (node: Member): Promise<boolean> =>
    new RegExp(`^${id} \\S+ (myself,)?master`, "m").test(await text(node, "CLUSTER", "NODES"));
  const agreed = async (): Promise<boolean> =>
    (await Promise.all(nodes.filter((node) => node.lives()).map(agrees))).every(Boolean);
  if (linked) {
    await replica.command("CLUSTER", "FAILOVER");
    // soon after another one an election may come to nothing
    const done = await until("a promotion", agreed, electionWithinMs).then(
      () => true,
      () => false,
    );
    if (done) return;
  }
  await replica.command("CLUSTER", "FAILOVER", "TAKEOVER");
  await until("a promotion that all agree on", agreed);
};

/** Starts Redis without a user but its superuser, in a temporary folder that `stop()` deletes. @throws Failure `unsupported` where it is not installed */
export const startRedis = async (options: RedisOptions = {}): Promise<Redis> => {
  const { server, version } = await findBinaries();
  const folder = await mkdtemp(join(tmpdir(), "sallyport-re-"));
  const cleared = (): Promise<void> => rm(folder, { recursive: true, force: true });
  let nodes: readonly Member[];
  try {
    await chmod(folder, 0o700);
    const { uid, gid } = runner;
    if (uid !== undefined && gid !== undefined) await chown(folder, uid, gid);
    nodes = await launchSomewhere(server, folder, options);
  } catch (thrown) {
    await cleared();
    throw thrown;
  }
  const cluster = options.primaries !== undefined;
  const nodeAt = (at: number): Member => {
    const node = nodes[at];
    if (!node) throw new Error(`there is no node ${at}`);
    return node;
  };
  const isPrimary = async (at: number): Promise<boolean> =>
    (await text(nodeAt(at), "INFO", "replication")).includes("role:master");
  return {
    version,
    cluster,
    nodes,
    isPrimary,
    promote: async (at) => {
      if (await isPrimary(at)) return;
      await (cluster ? failOver : follow)(nodes, nodeAt(at));
    },
    stop: async () => {
      await Promise.all(nodes.map((node) => node.stop()));
      await cleared();
    },
  };
};
