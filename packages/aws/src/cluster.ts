// What the two kinds of RDS clusters (Aurora, Multi-AZ) have in common: their endpoints, each a database of its own, their
// states, and what keeps one from being logged in to. Pure: from what the API says to sightings.
import type { DBCluster, DBClusterEndpoint, DBInstance } from "@aws-sdk/client-rds";
import type { Found, Listing, Sighting } from "@sallyport/core/kind";
import type { auroraEngines } from "./engine.ts";
import { tooOld } from "./engine.ts";
import { aging, endpointOf, iamOff, isSwitching, judge, partsOf, tagsOf, waitingIn } from "./rds.ts";

const usable = new Set([
  ...["active", "available", "backing-up", "backtracking", "failing-over", "maintenance", "migrating", "modifying"],
  ...["promoting", "renaming", "resetting-master-credentials", "update-iam-db-auth", "upgrading"],
]);

/** What only other calls tell about clusters; identifiers of clusters are the keys. */
export interface Beside {
  readonly vpcs: ReadonlyMap<string, string>;
  /** The member whose certificate must be rotated. */
  readonly aged: ReadonlyMap<string, string>;
  readonly custom: ReadonlyMap<string, readonly DBClusterEndpoint[]>;
  /** States of endpoints, lower-case, by host. */
  readonly states: ReadonlyMap<string, string>;
}

/** Collects what the members and endpoints of clusters tell, page by page. */
export const openBeside = () => {
  const vpcs = new Map<string, string>();
  const aged = new Map<string, string>();
  const custom = new Map<string, DBClusterEndpoint[]>();
  const states = new Map<string, string>();
  return {
    beside: { vpcs, aged, custom, states } satisfies Beside,
    addMembers(instances: readonly DBInstance[]): void {
      for (const { DBClusterIdentifier: cluster, DBInstanceIdentifier: id, ...member } of instances) {
        if (!cluster) continue;
        if (member.DBSubnetGroup?.VpcId) vpcs.set(cluster, member.DBSubnetGroup.VpcId);
        if (id && member.CACertificateIdentifier === "rds-ca-2019") aged.set(cluster, id);
      }
    },
    addEndpoints(endpoints: readonly DBClusterEndpoint[]): void {
      for (const endpoint of endpoints) {
        const { Endpoint: host, Status, DBClusterIdentifier: cluster, EndpointType } = endpoint;
        if (host && Status) states.set(host, Status.toLowerCase());
        if (cluster && EndpointType === "CUSTOM") custom.set(cluster, [...(custom.get(cluster) ?? []), endpoint]);
      }
    },
  };
};

/** The sightings of the clusters whose engine is one of these. */
export const foundClusters = (
  clusters: readonly DBCluster[],
  engines: typeof auroraEngines,
  listing: Listing,
  beside: Beside,
): Found => {
  const all = clusters
    .filter(({ Engine = "" }) => engines.has(Engine))
    .map((cluster) => sightingsOf(cluster, engines, listing, beside));
  return {
    sightings: all.flatMap(({ sightings = [] }) => sightings),
    warnings: all.flatMap(({ warning }) => warning ?? []),
  };
};

const sightingsOf = (
  cluster: DBCluster,
  engines: typeof auroraEngines,
  { region }: Listing,
  beside: Beside,
): { sightings?: readonly Sighting[]; warning?: string } => {
  const { DBClusterIdentifier: identifier, DBClusterArn: arn, DbClusterResourceId: resourceId } = cluster;
  const { Engine: engine = "" } = cluster;
  const known = engines.get(engine);
  if (!identifier || !arn || !resourceId || !known)
    return { warning: `a cluster in ${region} has no identifier or ARN` };
  const where = partsOf(arn);
  if (where.region !== region) return { warning: `${arn} was listed in ${region}: it is left out` };
  const state = (cluster.Status ?? "").toLowerCase();
  const judged = judge(identifier, state, usable);
  const vpcId = beside.vpcs.get(identifier);
  const engineVersion = cluster.EngineVersion ?? "";
  const shared = {
    ...where,
    protocol: known.protocol,
    identifier,
    resourceId,
    engine,
    engineVersion,
    state,
    cluster: identifier,
    tags: tagsOf(cluster.TagList),
    ...(vpcId !== undefined && { vpcId }),
  };
  const unfit = unfitFor(cluster, tooOld(engine, known, engineVersion));
  const off = unfit === undefined && !known.roles && !cluster.IAMDatabaseAuthenticationEnabled;
  const switching = isSwitching(state, cluster.PendingModifiedValues);
  const waiting = waitingIn(cluster.PendingModifiedValues);
  const mayAsk = off && !switching && waiting.length === 0 && state === "available";
  const member = beside.aged.get(identifier);
  const sightings = endpointsOf(cluster, beside).map(({ host, endpointType, ...own }): Sighting => {
    const address = endpointOf(host, cluster.Port, where, known.service);
    const endpoint = address && own.verify !== undefined ? { ...address, verifyName: own.verify } : address;
    const foreign =
      host !== undefined && !address
        ? `its endpoint ${host} is not an address of ${known.service === "docdb" ? "DocumentDB" : "RDS"} in ${region}`
        : undefined;
    const hindrance = foreign ?? unfit ?? (off ? iamOff("cluster", region, identifier, switching, waiting) : undefined);
    const itself = judge(identifier, beside.states.get(host ?? "") ?? state, usable);
    const worst = judged.status === "available" ? itself : judged;
    const reason = hindrance ?? worst.reason ?? (member === undefined ? undefined : aging(region, member));
    return {
      ...shared,
      arn: own.arn ?? arn,
      endpointType,
      status: hindrance === undefined ? worst.status : "unsupported",
      ...(own.suffix !== undefined && { suffix: own.suffix }),
      ...(reason !== undefined && { reason }),
      ...(endpoint && { endpoint }),
      ...(own.verify !== undefined &&
        cluster.Port !== undefined && { signFor: { host: own.verify, port: cluster.Port } }),
      ...(mayAsk && foreign === undefined && { iamOff: true as const }),
    };
  });
  return { sightings, ...(judged.warning !== undefined && { warning: judged.warning }) };
};

const isServerlessV1 = ({ EngineMode }: DBCluster): boolean => EngineMode === "serverless";

interface Place {
  readonly host?: string | undefined;
  readonly endpointType: string;
  readonly suffix?: string;
  /** Its own ARN, where it has one. */
  readonly arn?: string | undefined;
  /** The name that its certificate and its tokens carry, where it is not its own. */
  readonly verify?: string | undefined;
}

/** A reader endpoint exists without a reader too, and then leads to the writer: it is left out. */
const endpointsOf = (cluster: DBCluster, { custom }: Beside): readonly Place[] => {
  const members = cluster.DBClusterMembers ?? [];
  const hasWriter = isServerlessV1(cluster) || members.some(({ IsClusterWriter }) => IsClusterWriter);
  const hasReader = members.some(({ IsClusterWriter }) => !IsClusterWriter);
  const primary = cluster.Endpoint;
  // AWS refuses a custom endpoint as the host of a token, and its certificates carry the cluster's name. That a token of the
  // cluster is taken at a custom endpoint has not been seen on AWS itself.
  const own = (custom.get(cluster.DBClusterIdentifier ?? "") ?? []).flatMap((endpoint): readonly Place[] => {
    const { DBClusterEndpointIdentifier: id, DBClusterEndpointArn: arn, Endpoint: host } = endpoint;
    return id && arn && host && primary
      ? [{ host, endpointType: "custom", suffix: `custom-${id}`, arn, verify: primary }]
      : [];
  });
  return [
    ...(hasWriter ? [{ host: primary, endpointType: "primary" }] : []),
    ...(hasReader ? [{ host: cluster.ReaderEndpoint, endpointType: "reader", suffix: "reader" }] : []),
    ...own,
  ];
};

/** What no setting mends. */
const unfitFor = (cluster: DBCluster, old: string | undefined): string | undefined =>
  isServerlessV1(cluster)
    ? "Aurora Serverless v1 has no IAM authentication: migrate it to Serverless v2 (engine mode provisioned)"
    : old;
