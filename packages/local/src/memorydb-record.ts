// Clusters as the MemoryDB API shows them, from the few facts that a test or the demo cares about.
// https://docs.aws.amazon.com/memorydb/latest/APIReference/API_Cluster.html
import type { Cluster, Node } from "@aws-sdk/client-memorydb";
import type { Where } from "./cache-shelf.ts";
import type { Tags } from "./cache-user.ts";
import { hash, slotsOf } from "./elasticache-record.ts";

export interface ClusterSpec {
  readonly name: string;
  readonly engine?: "redis" | "valkey";
  readonly engineVersion?: string;
  /** Default open-access, in which the user default needs no password. */
  readonly acl?: string;
  /** Default 1. */
  readonly shards?: number;
  /** Replicas of each shard. Default none. */
  readonly replicas?: number;
  /** Default true. */
  readonly tls?: boolean;
  readonly port?: number;
  readonly status?: string;
  readonly tags?: Tags;
  /** Anything else the API should show, as the SDK names it. */
  readonly fields?: Partial<Cluster>;
}

/** Always in cluster mode, however many shards it has. */
export function clusterOf(where: Where, spec: ClusterSpec, at: number): Cluster {
  const { name, engine = "redis", shards = 1, replicas = 0, port = 6379 } = spec;
  const version = spec.engineVersion ?? (engine === "valkey" ? "7.2" : "7.1");
  const host = (label: string) => `${label}.${name}.${hash(where, 6)}.memorydb.${where.region}.amazonaws.com`;
  const numbers = Array.from({ length: shards }, (_, shard) => String(shard + 1).padStart(4, "0"));
  const nodes = (shard: string): Node[] =>
    Array.from({ length: replicas + 1 }, (_, index) => {
      const node = `${name}-${shard}-${String(index + 1).padStart(3, "0")}`;
      return {
        Name: node,
        Status: "available",
        AvailabilityZone: `${where.region}a`,
        CreateTime: new Date(at),
        Endpoint: { Address: host(node), Port: port },
      };
    });
  return {
    Name: name,
    Description: name,
    Status: spec.status ?? "available",
    NumberOfShards: shards,
    Shards: numbers.map((shard, index) => ({
      Name: shard,
      Status: "available",
      Slots: slotsOf(index, shards),
      Nodes: nodes(shard),
      NumberOfNodes: replicas + 1,
    })),
    AvailabilityMode: replicas > 0 ? "multiaz" : "singleaz",
    ClusterEndpoint: { Address: host("clustercfg"), Port: port },
    NodeType: "db.t4g.small",
    Engine: engine,
    EngineVersion: version,
    EnginePatchVersion: `${version}.1`,
    ParameterGroupName: `default.memorydb-${engine}${version.split(".")[0]}`,
    ParameterGroupStatus: "in-sync",
    SecurityGroups: [{ SecurityGroupId: "sg-0123456789abcdef0", Status: "active" }],
    SubnetGroupName: "default",
    TLSEnabled: spec.tls ?? true,
    ARN: `arn:aws:memorydb:${where.region}:${where.accountId}:cluster/${name}`,
    SnapshotRetentionLimit: 0,
    MaintenanceWindow: "thu:06:00-thu:07:00",
    SnapshotWindow: "05:00-06:00",
    AutoMinorVersionUpgrade: true,
    DataTiering: "false",
    NetworkType: "ipv4",
    IpDiscovery: "ipv4",
    ...spec.fields,
  };
}
