// Aurora PostgreSQL clusters: the primary when there is a writer, and the reader when there is one. Custom endpoints and
// Multi-AZ DB clusters are not listed yet.
import type { DBCluster } from "@aws-sdk/client-rds";
import type { Kind, Listing, Sighting } from "@sallyport/core/kind";
import { credentialOf, endpointOf, isNowhere, judge, openRdsApi, partsOf, tagsOf, type World } from "../rds.ts";

const engine = "aurora-postgresql";

const usable = new Set([
  ...["active", "available", "backing-up", "backtracking", "failing-over", "maintenance", "migrating", "modifying"],
  ...["promoting", "renaming", "resetting-master-credentials", "update-iam-db-auth", "upgrading"],
]);

/** What only other calls tell about a cluster. */
interface Beside {
  /** VPC by cluster identifier: known from the members alone. */
  readonly vpcs: ReadonlyMap<string, string>;
  /** States of endpoints, lower-case, by host. */
  readonly states: ReadonlyMap<string, string>;
}

export const openAurora = (world: World): Kind => {
  const api = openRdsApi(world);

  const readBeside = async (listing: Listing): Promise<Beside> => {
    const vpcs = new Map<string, string>();
    for await (const page of api.instances(listing))
      for (const { DBClusterIdentifier: cluster, DBSubnetGroup } of page)
        if (cluster && DBSubnetGroup?.VpcId) vpcs.set(cluster, DBSubnetGroup.VpcId);
    const states = new Map<string, string>();
    for await (const page of api.endpoints(listing))
      for (const { Endpoint, Status } of page) if (Endpoint && Status) states.set(Endpoint, Status.toLowerCase());
    return { vpcs, states };
  };

  return {
    name: "aurora",
    credential: credentialOf(world),
    async *discover(listing) {
      try {
        const beside = await readBeside(listing);
        for await (const page of api.clusters(listing)) {
          const all = page
            .filter((cluster) => cluster.Engine === engine)
            .map((cluster) => sightingsOf(cluster, listing, beside));
          yield {
            sightings: all.flatMap(({ sightings = [] }) => sightings),
            warnings: all.flatMap(({ warning }) => warning ?? []),
          };
        }
      } catch (thrown) {
        if (!isNowhere(thrown)) throw thrown;
        yield { sightings: [], warnings: [`RDS has no address in ${listing.region}`], incomplete: true };
      }
    },
  };
};

const sightingsOf = (
  cluster: DBCluster,
  { region }: Listing,
  { vpcs, states }: Beside,
): { sightings?: readonly Sighting[]; warning?: string } => {
  const { DBClusterIdentifier: identifier, DBClusterArn: arn, DbClusterResourceId: resourceId } = cluster;
  if (!identifier || !arn || !resourceId) return { warning: `a cluster in ${region} has no identifier or ARN` };
  const where = partsOf(arn);
  if (where.region !== region) return { warning: `${arn} was listed in ${region}: it is left out` };
  const state = (cluster.Status ?? "").toLowerCase();
  const judged = judge(identifier, state, usable);
  const vpcId = vpcs.get(identifier);
  const shared = {
    ...where,
    protocol: "postgres" as const,
    arn,
    identifier,
    resourceId,
    engine,
    engineVersion: cluster.EngineVersion ?? "",
    state,
    tags: tagsOf(cluster.TagList),
    ...(vpcId !== undefined && { vpcId }),
  };
  const sightings = endpointsOf(cluster).map(({ host, endpointType, suffix }): Sighting => {
    const endpoint = endpointOf(host, cluster.Port, where);
    const hindrance = hindranceOf(cluster, region, host !== undefined && !endpoint ? host : undefined);
    const own = judge(identifier, states.get(host ?? "") ?? state, usable);
    const worst = judged.status === "available" ? own : judged;
    const reason = hindrance ?? worst.reason;
    return {
      ...shared,
      endpointType,
      status: hindrance === undefined ? worst.status : "unsupported",
      ...(suffix !== undefined && { suffix }),
      ...(reason !== undefined && { reason }),
      ...(endpoint && { endpoint }),
    };
  });
  return { sightings, ...(judged.warning !== undefined && { warning: judged.warning }) };
};

const isServerlessV1 = ({ EngineMode }: DBCluster): boolean => EngineMode === "serverless";

/** A reader endpoint exists without a reader too, and then leads to the writer: it is left out. */
const endpointsOf = (cluster: DBCluster): readonly { host?: string; endpointType: string; suffix?: string }[] => {
  const members = cluster.DBClusterMembers ?? [];
  const hasWriter = isServerlessV1(cluster) || members.some(({ IsClusterWriter }) => IsClusterWriter);
  const hasReader = members.some(({ IsClusterWriter }) => !IsClusterWriter);
  const hostOf = (host: string | undefined) => (host === undefined ? {} : { host });
  return [
    ...(hasWriter ? [{ ...hostOf(cluster.Endpoint), endpointType: "primary" }] : []),
    ...(hasReader ? [{ ...hostOf(cluster.ReaderEndpoint), endpointType: "reader", suffix: "reader" }] : []),
  ];
};

/** What keeps it from being reached until somebody changes it, and how. */
const hindranceOf = (cluster: DBCluster, region: string, foreign: string | undefined): string | undefined => {
  if (foreign !== undefined) return `its endpoint ${foreign} is not an address of RDS in ${region}`;
  if (isServerlessV1(cluster))
    return "Aurora Serverless v1 has no IAM authentication: migrate it to Serverless v2 (engine mode provisioned)";
  if (cluster.IAMDatabaseAuthenticationEnabled) return undefined;
  const fix = `aws rds modify-db-cluster --region ${region} --db-cluster-identifier ${cluster.DBClusterIdentifier}`;
  return `IAM authentication is off: ${fix} --enable-iam-database-authentication --apply-immediately`;
};
