// Who is whose replica and who has which slots, decided before the first node starts: a cluster is written into each node's
// nodes.conf, so that nobody has to introduce them to one another.
// https://redis.io/docs/latest/commands/cluster-nodes/
import { randomBytes } from "node:crypto";
import type { Settings } from "./node.ts";

const slots = 16_384;

/** Where a node's front will stand, which is what the node says of itself. */
export interface Announced {
  /** A loopback address: the node's own too. */
  readonly host: string;
  readonly port: number;
  readonly name: string;
}

export interface Place {
  readonly host: string;
  readonly port: number;
  readonly bus: number;
}

export interface Plan {
  /** What the nodes say of themselves; undefined where there is no cluster. */
  readonly announced?: readonly Announced[];
  isReplica(at: number): boolean;
  settings(at: number): Settings;
  files(at: number): Readonly<Record<string, string>>;
}

/** The first node is the primary of all others. */
export const planReplicas = ([primary, ...rest]: readonly Place[]): Plan => ({
  isReplica: (at) => at > 0 && at <= rest.length,
  settings: (at) => (at === 0 || !primary ? {} : { replicaof: `${primary.host} ${primary.port}` }),
  files: () => ({}),
});

/** The first `primaries` nodes share the slots; those after them are their replicas in turn. */
export const planCluster = (places: readonly Place[], announced: readonly Announced[], primaries: number): Plan => {
  const ids = places.map(() => randomBytes(20).toString("hex"));
  const first = (of: number): number => Math.round((of * slots) / primaries);
  const line = (of: number, by: number): string => {
    const { host = "", port, bus } = places[of] ?? {};
    const primary = of < primaries;
    const flags = `${of === by ? "myself," : ""}${primary ? "master" : "slave"}`;
    const owns = primary ? ` ${first(of)}-${first(of + 1) - 1}` : "";
    const epoch = primary ? of + 1 : (of % primaries) + 1;
    const follows = primary ? "-" : ids[of % primaries];
    return `${ids[of]} ${host}:${port}@${bus},${announced[of]?.name} ${flags} ${follows} 0 0 ${epoch} connected${owns}\n`;
  };
  return {
    announced,
    isReplica: (at) => at >= primaries,
    settings: (at) => ({
      "cluster-enabled": "yes",
      "cluster-config-file": "nodes.conf",
      "cluster-node-timeout": "2000",
      "cluster-port": String(places[at]?.bus),
      "tls-cluster": "yes",
      "cluster-announce-ip": String(places[at]?.host),
      // with TLS between the nodes this is what is shown to who comes without: the fronts
      "cluster-announce-port": String(announced[at]?.port),
      "cluster-announce-tls-port": String(places[at]?.port),
      "cluster-announce-bus-port": String(places[at]?.bus),
      "cluster-announce-hostname": String(announced[at]?.name),
      "cluster-preferred-endpoint-type": "hostname",
    }),
    files: (at) => ({
      "nodes.conf": `${ids.map((_, of) => line(of, at)).join("")}vars currentEpoch ${primaries} lastVoteEpoch 0\n`,
    }),
  };
};
