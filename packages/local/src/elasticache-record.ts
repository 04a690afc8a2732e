// Replication groups, their member clusters and serverless caches as the ElastiCache API shows them, from the few facts that a test
// or the demo cares about. https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ReplicationGroup.html
import { createHash } from "node:crypto";
import type { CacheCluster, Endpoint, NodeGroup, ReplicationGroup, ServerlessCache } from "@aws-sdk/client-elasticache";
import type { Secret } from "@sallyport/core/secret";
import type { Where } from "./cache-shelf.ts";
import type { Tags } from "./cache-user.ts";

interface Common {
  readonly engine?: "redis" | "valkey";
  readonly engineVersion?: string;
  readonly port?: number;
  readonly status?: string;
  readonly tags?: Tags;
}

export interface ReplicationGroupSpec extends Common {
  readonly id: string;
  /** Default disabled: one shard, a primary and a reader endpoint. */
  readonly clusterMode?: "enabled" | "disabled" | "compatible";
  /** Default 1, 3 where cluster mode is enabled. */
  readonly shards?: number;
  /** Replicas of each shard. Default 1, none where cluster mode is enabled. */
  readonly replicas?: number;
  /** In-transit encryption. Default true. */
  readonly tls?: boolean;
  readonly userGroups?: readonly string[];
  readonly authToken?: Secret;
  readonly subnetGroup?: string;
  /** Anything else the API should show, as the SDK names it. */
  readonly fields?: Partial<ReplicationGroup>;
}

export interface ServerlessSpec extends Common {
  readonly name: string;
  readonly userGroup?: string;
  readonly fields?: Partial<ServerlessCache>;
}

/** A node group by itself, or a cache of memcached: neither is anybody's replica. */
export interface CacheClusterSpec {
  readonly id: string;
  readonly engine: string;
  readonly engineVersion?: string;
  readonly status?: string;
  readonly tags?: Tags;
}

/** Names of nodes: within a group and as hosts. One shard has no number. */
interface Member {
  readonly id: string;
  readonly host: string;
  readonly shard: number;
  readonly primary: boolean;
}

export const isClustered = ({ clusterMode = "disabled" }: ReplicationGroupSpec): boolean => clusterMode !== "disabled";

export function membersOf(where: Where, spec: ReplicationGroupSpec): readonly Member[] {
  const clustered = isClustered(spec);
  const { shards = clustered ? 3 : 1, replicas = clustered ? 0 : 1 } = spec;
  return Array.from({ length: shards }, (_, shard) =>
    Array.from({ length: replicas + 1 }, (_, at) => {
      const id = `${spec.id}-${clustered ? `${numbered(shard + 1, 4)}-` : ""}${numbered(at + 1, 3)}`;
      return { id, host: hostOf(where, id, spec.id), shard, primary: at === 0 };
    }),
  ).flat();
}

export function replicationGroupOf(where: Where, spec: ReplicationGroupSpec, at: number): ReplicationGroup {
  const members = membersOf(where, spec);
  const { clusterMode = "disabled", tls = true, port = 6379 } = spec;
  const clustered = isClustered(spec);
  const endpoint = (label: string): Endpoint => ({ Address: hostOf(where, label, spec.id), Port: port });
  const shards = Math.max(...members.map(({ shard }) => shard)) + 1;
  const group = (shard: number): NodeGroup => ({
    NodeGroupId: numbered(shard + 1, 4),
    Status: "available",
    // with a configuration endpoint, nodes are found through it
    ...(clustered
      ? { Slots: slotsOf(shard, shards) }
      : { PrimaryEndpoint: endpoint("master"), ReaderEndpoint: endpoint("replica") }),
    NodeGroupMembers: members
      .filter((member) => member.shard === shard)
      .map(({ id, host, primary }) => ({
        CacheClusterId: id,
        CacheNodeId: "0001",
        ...(!clustered && {
          ReadEndpoint: { Address: host, Port: port },
          CurrentRole: primary ? "primary" : "replica",
        }),
        PreferredAvailabilityZone: `${where.region}a`,
      })),
  });
  return {
    ReplicationGroupId: spec.id,
    Description: spec.id,
    Status: spec.status ?? "available",
    PendingModifiedValues: {},
    MemberClusters: members.map(({ id }) => id),
    NodeGroups: Array.from({ length: shards }, (_, shard) => group(shard)),
    AutomaticFailover: "enabled",
    MultiAZ: "disabled",
    ...(clustered && { ConfigurationEndpoint: endpoint("clustercfg") }),
    SnapshotRetentionLimit: 0,
    SnapshotWindow: "05:00-09:00",
    ClusterEnabled: clustered,
    CacheNodeType: "cache.t4g.small",
    AuthTokenEnabled: spec.authToken !== undefined,
    TransitEncryptionEnabled: tls,
    ...(tls && { TransitEncryptionMode: "required" as const }),
    AtRestEncryptionEnabled: true,
    ARN: `arn:aws:elasticache:${where.region}:${where.accountId}:replicationgroup:${spec.id}`,
    UserGroupIds: [...(spec.userGroups ?? [])],
    LogDeliveryConfigurations: [],
    ReplicationGroupCreateTime: new Date(at),
    DataTiering: "disabled",
    AutoMinorVersionUpgrade: true,
    NetworkType: "ipv4",
    IpDiscovery: "ipv4",
    ClusterMode: clusterMode,
    Engine: spec.engine ?? "redis",
    ...spec.fields,
  };
}

/** A cluster record; `Status` is what the API calls CacheClusterStatus. */
export interface ClusterRecord extends CacheCluster {
  Status?: string | undefined;
}

/** The member clusters of a group: each is one node, and alone says the engine's version and the subnet group. */
export const memberClustersOf = (
  where: Where,
  spec: ReplicationGroupSpec,
  group: ReplicationGroup,
): readonly ClusterRecord[] =>
  membersOf(where, spec).map(({ id, host }) => ({
    ...clusterOf(where, {
      id,
      engine: group.Engine ?? "redis",
      engineVersion: spec.engineVersion ?? versionOf(group.Engine),
    }),
    CacheSubnetGroupName: spec.subnetGroup ?? "default",
    ReplicationGroupId: spec.id,
    AuthTokenEnabled: group.AuthTokenEnabled,
    TransitEncryptionEnabled: group.TransitEncryptionEnabled,
    TransitEncryptionMode: group.TransitEncryptionMode,
    CacheNodes: [
      {
        CacheNodeId: "0001",
        CacheNodeStatus: "available",
        Endpoint: { Address: host, Port: spec.port ?? 6379 },
        ParameterGroupStatus: "in-sync",
      },
    ],
  }));

export const clusterOf = (where: Where, spec: CacheClusterSpec): ClusterRecord => ({
  CacheClusterId: spec.id,
  Status: spec.status ?? "available",
  CacheNodeType: "cache.t4g.small",
  Engine: spec.engine,
  EngineVersion: spec.engineVersion ?? versionOf(spec.engine),
  NumCacheNodes: 1,
  PreferredAvailabilityZone: `${where.region}a`,
  CacheSubnetGroupName: "default",
  CacheNodes: [],
  SecurityGroups: [{ SecurityGroupId: "sg-0123456789abcdef0", Status: "active" }],
  AutoMinorVersionUpgrade: true,
  AuthTokenEnabled: false,
  TransitEncryptionEnabled: false,
  AtRestEncryptionEnabled: false,
  ARN: `arn:aws:elasticache:${where.region}:${where.accountId}:cluster:${spec.id}`,
  ReplicationGroupLogDeliveryEnabled: false,
  NetworkType: "ipv4",
  IpDiscovery: "ipv4",
});

/** Always cluster mode, always TLS; readers come by a second port of the same host. */
export function serverlessOf(where: Where, spec: ServerlessSpec, at: number): ServerlessCache {
  const engine = spec.engine ?? "valkey";
  const version = spec.engineVersion ?? versionOf(engine);
  const port = spec.port ?? 6379;
  const Address = `${spec.name}-${hash(where, 6)}.serverless.${shortRegion(where.region)}.cache.amazonaws.com`;
  return {
    ServerlessCacheName: spec.name,
    Description: " ",
    CreateTime: new Date(at),
    Status: spec.status ?? "available",
    Engine: engine,
    MajorEngineVersion: version.split(".")[0],
    FullEngineVersion: version,
    SecurityGroupIds: ["sg-0123456789abcdef0"],
    Endpoint: { Address, Port: port },
    ReaderEndpoint: { Address, Port: port + 1 },
    ARN: `arn:aws:elasticache:${where.region}:${where.accountId}:serverlesscache:${spec.name}`,
    ...(spec.userGroup !== undefined && { UserGroupId: spec.userGroup }),
    SubnetIds: ["subnet-0123456789abcdef0"],
    SnapshotRetentionLimit: 0,
    NetworkType: "ipv4",
    ...spec.fields,
  };
}

export const slotsOf = (shard: number, shards: number): string =>
  `${Math.round((16_384 * shard) / shards)}-${Math.round((16_384 * (shard + 1)) / shards) - 1}`;

const numbered = (at: number, digits: number): string => String(at).padStart(digits, "0");

const versionOf = (engine: string | undefined): string =>
  engine === "valkey" ? "8.0.1" : engine === "memcached" ? "1.6.22" : "7.1.0";

const hostOf = (where: Where, label: string, group: string): string =>
  `${label}.${group}.${hash(where, 6)}.${shortRegion(where.region)}.cache.amazonaws.com`;

/** eu-west-1 is euw1 in the names of caches, ap-southeast-2 apse2. */
export const shortRegion = (region: string): string =>
  region
    .split("-")
    .map((part, at) => (at === 0 ? part : part.replace(/(north|south|east|west|central)/g, (word) => word.charAt(0))))
    .join("");

/** The same within an account and region, as on AWS. */
export const hash = ({ accountId, region }: Where, length: number): string =>
  BigInt(`0x${createHash("sha256").update(`${accountId}/${region}/cache`).digest("hex")}`)
    .toString(36)
    .slice(0, length);
