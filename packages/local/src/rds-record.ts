// RDS instances and clusters as the API shows them, from the few facts a test or the demo cares about.
import { createHash } from "node:crypto";
import type { DBCluster, DBClusterEndpoint, DBInstance, Tag } from "@aws-sdk/client-rds";

interface Where {
  readonly accountId: string;
  readonly region: string;
}

interface Common {
  readonly id: string;
  /** Default: postgres for instances, aurora-postgresql for clusters. */
  readonly engine?: string;
  readonly engineVersion?: string;
  /** Default 5432, 3306 for the MySQL family. */
  readonly port?: number;
  /** Whether IAM database authentication is on. Default true. */
  readonly iam?: boolean;
  readonly tags?: Readonly<Record<string, string>>;
  readonly vpcId?: string;
  readonly status?: string;
  readonly databaseName?: string;
}

export interface InstanceSpec extends Common {
  /** The cluster it is a member of; engine and port are then the cluster's. */
  readonly cluster?: string;
  readonly certificateAuthority?: string;
  readonly publiclyAccessible?: boolean;
  /** Anything else the API should show, as the SDK names it. */
  readonly fields?: Partial<DBInstance>;
}

export interface ClusterSpec extends Common {
  readonly engineMode?: string;
  readonly fields?: Partial<DBCluster>;
}

export function instanceOf(where: Where, spec: InstanceSpec, cluster: DBCluster | undefined, at: number): DBInstance {
  const engine = spec.engine ?? cluster?.Engine ?? "postgres";
  return {
    DBInstanceIdentifier: spec.id,
    DBInstanceArn: `arn:aws:rds:${where.region}:${where.accountId}:db:${spec.id}`,
    DbiResourceId: `db-${hash(where, "instance", spec.id, 26).toUpperCase()}`,
    DBInstanceClass: "db.t4g.medium",
    DBInstanceStatus: spec.status ?? "available",
    Engine: engine,
    EngineVersion: spec.engineVersion ?? cluster?.EngineVersion ?? versionOf(engine),
    MasterUsername: cluster?.MasterUsername ?? "postgres",
    DBName: spec.databaseName,
    Endpoint: {
      Address: addressOf(where, spec.id, "", engine),
      Port: spec.port ?? cluster?.Port ?? portOf(engine),
      HostedZoneId: "Z29XKXDKYMONMX",
    },
    InstanceCreateTime: new Date(at),
    AllocatedStorage: cluster ? 1 : 20,
    StorageType: cluster ? "aurora" : "gp3",
    StorageEncrypted: true,
    MultiAZ: false,
    AvailabilityZone: `${where.region}a`,
    PubliclyAccessible: spec.publiclyAccessible ?? false,
    IAMDatabaseAuthenticationEnabled: spec.iam ?? cluster?.IAMDatabaseAuthenticationEnabled ?? true,
    CACertificateIdentifier: spec.certificateAuthority ?? "rds-ca-rsa2048-g1",
    VpcSecurityGroups: [{ VpcSecurityGroupId: "sg-0123456789abcdef0", Status: "active" }],
    DBSubnetGroup: {
      DBSubnetGroupName: "default",
      VpcId: spec.vpcId ?? "vpc-0123456789abcdef0",
      SubnetGroupStatus: "Complete",
    },
    NetworkType: "IPV4",
    TagList: tagList(spec.tags),
    ...(cluster && { DBClusterIdentifier: cluster.DBClusterIdentifier }),
    ...spec.fields,
  };
}

export function clusterOf(where: Where, spec: ClusterSpec, at: number): DBCluster {
  const engine = spec.engine ?? "aurora-postgresql";
  return {
    DBClusterIdentifier: spec.id,
    DBClusterArn: `arn:aws:rds:${where.region}:${where.accountId}:cluster:${spec.id}`,
    DbClusterResourceId: `cluster-${hash(where, "cluster", spec.id, 26).toUpperCase()}`,
    Status: spec.status ?? "available",
    Engine: engine,
    EngineVersion: spec.engineVersion ?? versionOf(engine),
    // Multi-AZ clusters have none
    ...(!isMultiAz(engine) && { EngineMode: spec.engineMode ?? "provisioned" }),
    MasterUsername: "postgres",
    DatabaseName: spec.databaseName,
    Endpoint: addressOf(where, spec.id, "cluster-", engine),
    ReaderEndpoint: addressOf(where, spec.id, "cluster-ro-", engine),
    CustomEndpoints: [],
    MultiAZ: isMultiAz(engine),
    Port: spec.port ?? portOf(engine),
    ClusterCreateTime: new Date(at),
    DBSubnetGroup: "default",
    VpcSecurityGroups: [{ VpcSecurityGroupId: "sg-0123456789abcdef0", Status: "active" }],
    AvailabilityZones: ["a", "b", "c"].map((zone) => where.region + zone),
    StorageEncrypted: true,
    IAMDatabaseAuthenticationEnabled: spec.iam ?? true,
    NetworkType: "IPV4",
    DBClusterMembers: [],
    TagList: tagList(spec.tags),
    ...spec.fields,
  };
}

const isMultiAz = (engine: string | undefined): boolean => engine === "postgres" || engine === "mysql";

/** The endpoints every Aurora cluster has, as DescribeDBClusterEndpoints lists them beside the custom ones. */
export function endpointsOf(cluster: DBCluster): readonly DBClusterEndpoint[] {
  if (isMultiAz(cluster.Engine)) return [];
  const endpoint = (EndpointType: string, Endpoint: string | undefined): readonly DBClusterEndpoint[] =>
    Endpoint === undefined
      ? []
      : [{ DBClusterIdentifier: cluster.DBClusterIdentifier, Endpoint, EndpointType, Status: cluster.Status }];
  return [...endpoint("WRITER", cluster.Endpoint), ...endpoint("READER", cluster.ReaderEndpoint)];
}

const tagList = (tags: Readonly<Record<string, string>> = {}): Tag[] =>
  Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

/** The middle label of every endpoint is the same within an account and region, as on AWS. */
const addressOf = (where: Where, id: string, prefix: string, engine: string): string =>
  `${id}.${prefix}${hash(where, "account", "", 12)}.${where.region}.${engine === "docdb" ? "docdb" : "rds"}.amazonaws.com`;

const portOf = (engine: string): number => (/mysql|mariadb/.test(engine) ? 3306 : engine === "docdb" ? 27017 : 5432);

const versionOf = (engine: string): string =>
  engine === "mariadb"
    ? "10.11.10"
    : engine === "aurora-mysql"
      ? "8.0.mysql_aurora.3.08.0"
      : engine === "mysql"
        ? "8.4.5"
        : engine === "docdb"
          ? "5.0.0"
          : "17.6";

/** Stable ids: the same names give the same account, so that a restarted demo finds what it knew. */
const hash = ({ accountId, region }: Where, kind: string, id: string, length: number): string =>
  BigInt(`0x${createHash("sha256").update(`${accountId}/${region}/${kind}/${id}`).digest("hex")}`)
    .toString(36)
    .slice(0, length);
