// Amazon RDS: the three Describe calls discovery makes and the two Modify calls that switch IAM authentication on, over
// instances, Aurora clusters and Multi-AZ clusters that tests and the demo put in place.
// Rule: what AWS validates is validated (filters, page sizes, markers, who may be changed when), and a state that takes time
// changes by the clock, never by itself.
import * as rds from "@aws-sdk/client-rds";
import { type Api, type Call, operation, perRegion, sdkApi, unused } from "../api.ts";
import { filtered, page } from "../listing.ts";
import { type Changed, changeCluster, changeInstance } from "../rds-change.ts";
import { type ClusterSpec, clusterOf, endpointsOf, type InstanceSpec, instanceOf } from "../rds-record.ts";
import { Refusal } from "../refusal.ts";

/** A record as the API shows it, and what it will say from given times on. */
type Living<Shape> = { -readonly [Member in keyof Changed<Shape>]: Changed<Shape>[Member] };

interface Region {
  readonly instances: Map<string, Living<rds.DBInstance>>;
  readonly clusters: Map<string, Living<rds.DBCluster>>;
  readonly endpoints: Map<string, rds.DBClusterEndpoint>;
}

export interface Where {
  readonly accountId: string;
  readonly region: string;
}

export interface Rds {
  readonly api: Api;
  /** Adds an instance; with `cluster` it becomes a member, the writer when it is the first. */
  addInstance(where: Where, spec: InstanceSpec): rds.DBInstance;
  addCluster(where: Where, spec: ClusterSpec): rds.DBCluster;
  addCustomEndpoint(
    where: Where,
    spec: { cluster: string; id: string; type?: "READER" | "ANY" },
  ): rds.DBClusterEndpoint;
  /** Overlays fields of an instance or cluster: a tag, a certificate, IAM authentication off. */
  change(where: Where, id: string, fields: Partial<rds.DBInstance> | Partial<rds.DBCluster>): void;
  /** Sets a status now, and others later: `["modifying", {"available": 120_000}]` in milliseconds from now. */
  setStatus(where: Where, id: string, status: string, later?: Readonly<Record<string, number>>): void;
  /** Makes another member the writer. */
  failover(where: Where, cluster: string, to: string): void;
  remove(where: Where, id: string): void;
}

export const engines = [
  ...["aurora-mysql", "aurora-postgresql", "mariadb", "mysql", "postgres", "docdb", "neptune", "db2-ae", "db2-se"],
  ...[
    "oracle-ee",
    "oracle-ee-cdb",
    "oracle-se2",
    "oracle-se2-cdb",
    "custom-oracle-ee",
    "custom-sqlserver-ee",
    "custom-sqlserver-se",
  ],
  ...["custom-sqlserver-web", "custom-sqlserver-dev", "sqlserver-ee", "sqlserver-se", "sqlserver-ex", "sqlserver-web"],
];

export function openRds(now: () => number = Date.now): Rds {
  const regionOf = perRegion((): Region => ({ instances: new Map(), clusters: new Map(), endpoints: new Map() }));
  const shapeOf = <Shape extends object>({ shape, later }: Living<Shape>): Shape => ({
    ...shape,
    ...Object.assign({}, ...later.filter(({ at }) => at <= now()).map(({ fields }) => fields)),
  });
  const instances = (where: Where) => [...regionOf(where).instances.values()].map(shapeOf);
  const clusters = (where: Where) => [...regionOf(where).clusters.values()].map(shapeOf);
  const livingOf = (where: Where, id: string): Living<rds.DBInstance> | Living<rds.DBCluster> => {
    const living = regionOf(where).instances.get(id) ?? regionOf(where).clusters.get(id);
    if (!living) throw new Error(`no instance or cluster ${id} in ${where.accountId}/${where.region}`);
    return living;
  };
  const clusterNamed = (where: Where, id: string) => {
    const living = regionOf(where).clusters.get(id);
    if (!living) throw new Error(`no cluster ${id} in ${where.accountId}/${where.region}`);
    return living;
  };

  function describeInstances(input: rds.DescribeDBInstancesMessage, call: Call): rds.DBInstanceMessage {
    const found = filtered(instances(call), input.Filters, {
      engine: { values: (db) => [db.Engine], known: engines },
      "db-instance-id": { values: (db) => [db.DBInstanceIdentifier, db.DBInstanceArn] },
      "db-cluster-id": {
        values: (db) => [db.DBClusterIdentifier, db.DBClusterIdentifier && clusterArn(call, db.DBClusterIdentifier)],
      },
      "dbi-resource-id": { values: (db) => [db.DbiResourceId] },
      domain: { values: () => [] },
    });
    const id = idOf(input.DBInstanceIdentifier);
    const named = found.filter((db) => id === undefined || db.DBInstanceIdentifier === id);
    if (id !== undefined && named.length === 0)
      throw new Refusal("DBInstanceNotFoundFault", `DBInstance ${id} not found.`);
    const { items, Marker } = page(named, (db) => db.DBInstanceIdentifier ?? "", input);
    return { DBInstances: items, Marker };
  }

  function describeClusters(input: rds.DescribeDBClustersMessage, call: Call): rds.DBClusterMessage {
    const found = filtered(clusters(call), input.Filters, {
      engine: { values: (db) => [db.Engine], known: engines },
      "db-cluster-id": { values: (db) => [db.DBClusterIdentifier, db.DBClusterArn] },
      "db-cluster-resource-id": { values: (db) => [db.DbClusterResourceId] },
      "clone-group-id": { values: () => [] },
      domain: { values: () => [] },
    });
    const id = idOf(input.DBClusterIdentifier);
    const named = found.filter((db) => id === undefined || db.DBClusterIdentifier === id);
    if (id !== undefined && named.length === 0)
      throw new Refusal("DBClusterNotFoundFault", `DBCluster ${id} not found.`);
    const { items, Marker } = page(named, (db) => db.DBClusterIdentifier ?? "", input);
    return { DBClusters: items, Marker };
  }

  function describeEndpoints(input: rds.DescribeDBClusterEndpointsMessage, call: Call): rds.DBClusterEndpointMessage {
    const cluster = idOf(input.DBClusterIdentifier);
    if (cluster !== undefined && !regionOf(call).clusters.has(cluster))
      throw new Refusal("DBClusterNotFoundFault", `DBCluster ${cluster} not found.`);
    const all = [...clusters(call).flatMap(endpointsOf), ...regionOf(call).endpoints.values()];
    const found = filtered(all, input.Filters, {
      "db-cluster-endpoint-type": { values: (endpoint) => [endpoint.EndpointType?.toLowerCase()] },
      "db-cluster-endpoint-custom-type": { values: (endpoint) => [endpoint.CustomEndpointType?.toLowerCase()] },
      "db-cluster-endpoint-id": { values: (endpoint) => [endpoint.DBClusterEndpointIdentifier] },
      "db-cluster-endpoint-status": { values: (endpoint) => [endpoint.Status?.toLowerCase()] },
    });
    const id = idOf(input.DBClusterEndpointIdentifier);
    const named = found
      .filter((endpoint) => cluster === undefined || endpoint.DBClusterIdentifier === cluster)
      .filter((endpoint) => id === undefined || endpoint.DBClusterEndpointIdentifier === id);
    const { items, Marker } = page(
      named,
      (endpoint) => `${endpoint.DBClusterIdentifier} ${endpoint.EndpointType} ${endpoint.Endpoint}`,
      input,
    );
    return { DBClusterEndpoints: items, Marker };
  }

  function modifyInstance(input: rds.ModifyDBInstanceMessage, call: Call): rds.ModifyDBInstanceResult {
    const id = idOf(input.DBInstanceIdentifier) ?? "";
    const living = regionOf(call).instances.get(id);
    if (!living) throw new Refusal("DBInstanceNotFoundFault", `DBInstance ${id} not found.`);
    const before = shapeOf(living);
    Object.assign(living, changeInstance(before, input, now()));
    // AWS answers with the record as it was
    return { DBInstance: before };
  }

  function modifyCluster(input: rds.ModifyDBClusterMessage, call: Call): rds.ModifyDBClusterResult {
    const id = idOf(input.DBClusterIdentifier) ?? "";
    const living = regionOf(call).clusters.get(id);
    if (!living) throw new Refusal("DBClusterNotFoundFault", `DBCluster ${id} not found.`);
    const before = shapeOf(living);
    Object.assign(living, changeCluster(before, input, now()));
    return { DBCluster: before };
  }

  const api = sdkApi({
    name: "rds",
    client: new rds.RDSClient(unused),
    module: rds,
    operations: {
      DescribeDBInstances: operation<rds.DescribeDBInstancesMessage>({
        needs: (input, call) => [
          { action: "rds:DescribeDBInstances", resource: arn(call, "db", idOf(input.DBInstanceIdentifier)) },
        ],
        run: describeInstances,
      }),
      DescribeDBClusters: operation<rds.DescribeDBClustersMessage>({
        needs: (input, call) => [
          { action: "rds:DescribeDBClusters", resource: arn(call, "cluster", idOf(input.DBClusterIdentifier)) },
        ],
        run: describeClusters,
      }),
      DescribeDBClusterEndpoints: operation<rds.DescribeDBClusterEndpointsMessage>({
        needs: (input, call) => [
          { action: "rds:DescribeDBClusterEndpoints", resource: arn(call, "cluster", idOf(input.DBClusterIdentifier)) },
        ],
        run: describeEndpoints,
      }),
      ModifyDBInstance: operation<rds.ModifyDBInstanceMessage>({
        needs: (input, call) => [
          { action: "rds:ModifyDBInstance", resource: arn(call, "db", idOf(input.DBInstanceIdentifier)) },
        ],
        run: modifyInstance,
      }),
      ModifyDBCluster: operation<rds.ModifyDBClusterMessage>({
        needs: (input, call) => [
          { action: "rds:ModifyDBCluster", resource: arn(call, "cluster", idOf(input.DBClusterIdentifier)) },
        ],
        run: modifyCluster,
      }),
    },
  });

  return {
    api,
    addInstance(where, spec) {
      const region = regionOf(where);
      const cluster = spec.cluster === undefined ? undefined : clusterNamed(where, spec.cluster);
      const shape = instanceOf(where, spec, cluster?.shape, now());
      if (region.instances.has(spec.id)) throw new Error(`instance ${spec.id} exists already`);
      region.instances.set(spec.id, { shape, later: [] });
      if (cluster) {
        const members = cluster.shape.DBClusterMembers ?? [];
        const member = {
          DBInstanceIdentifier: spec.id,
          IsClusterWriter: members.length === 0,
          DBClusterParameterGroupStatus: "in-sync",
          PromotionTier: 1,
        };
        cluster.shape = { ...cluster.shape, DBClusterMembers: [...members, member] };
      }
      return shape;
    },
    addCluster(where, spec) {
      const { clusters: known } = regionOf(where);
      if (known.has(spec.id)) throw new Error(`cluster ${spec.id} exists already`);
      const shape = clusterOf(where, spec, now());
      known.set(spec.id, { shape, later: [] });
      return shape;
    },
    addCustomEndpoint(where, { cluster, id, type = "ANY" }) {
      const { shape } = clusterNamed(where, cluster);
      const endpoint: rds.DBClusterEndpoint = {
        DBClusterEndpointIdentifier: id,
        DBClusterIdentifier: cluster,
        DBClusterEndpointArn: arn(where, "cluster-endpoint", id),
        // <cluster>.cluster-<hash>.… becomes <id>.cluster-custom-<hash>.…
        Endpoint: shape.Endpoint?.replace(/^[^.]+\.cluster-/, `${id}.cluster-custom-`),
        Status: "available",
        EndpointType: "CUSTOM",
        CustomEndpointType: type,
        StaticMembers: [],
        ExcludedMembers: [],
      };
      regionOf(where).endpoints.set(id, endpoint);
      return endpoint;
    },
    change(where, id, fields) {
      const living = livingOf(where, id);
      // the caller knows which of the two it names
      living.shape = { ...living.shape, ...fields } as typeof living.shape;
    },
    setStatus(where, id, status, later = {}) {
      const living = livingOf(where, id);
      const named = (word: string) =>
        regionOf(where).instances.has(id) ? { DBInstanceStatus: word } : { Status: word };
      // the id tells which of the two it is
      living.later = [
        { at: now(), fields: named(status) },
        ...Object.entries(later).map(([next, afterMs]) => ({ at: now() + afterMs, fields: named(next) })),
      ].sort((a, b) => a.at - b.at) as typeof living.later & never[];
    },
    failover(where, cluster, to) {
      const living = clusterNamed(where, cluster);
      const members = living.shape.DBClusterMembers ?? [];
      if (!members.some((member) => member.DBInstanceIdentifier === to))
        throw new Error(`${to} is not a member of ${cluster}`);
      const moved = members.map((member) => ({ ...member, IsClusterWriter: member.DBInstanceIdentifier === to }));
      living.shape = { ...living.shape, DBClusterMembers: moved };
    },
    remove(where, id) {
      const region = regionOf(where);
      livingOf(where, id);
      region.instances.delete(id);
      region.clusters.delete(id);
      for (const [name, endpoint] of region.endpoints)
        if (endpoint.DBClusterIdentifier === id) region.endpoints.delete(name);
      for (const cluster of region.clusters.values()) {
        const members = cluster.shape.DBClusterMembers?.filter((member) => member.DBInstanceIdentifier !== id);
        cluster.shape = { ...cluster.shape, DBClusterMembers: members };
      }
    },
  };
}

const arn = (where: Where, type: string, id = "*"): string =>
  `arn:aws:rds:${where.region}:${where.accountId}:${type}:${id}`;
const clusterArn = (where: Where, id: string): string => arn(where, "cluster", id);
/** An identifier parameter is a name in any case, or an ARN. */
const idOf = (given: string | undefined): string | undefined => given?.split(":").at(-1)?.toLowerCase();
