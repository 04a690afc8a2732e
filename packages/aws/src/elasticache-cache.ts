// What ElastiCache's objects are as caches: replication groups (Redis OSS, Valkey), serverless caches, and the user groups that
// guard them. One set of users serves both.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ReplicationGroup.html
import type { NodeGroup, ReplicationGroup, ServerlessCache } from "@aws-sdk/client-elasticache";
import type { Listing } from "@sallyport/core/kind";
import type { Guarded } from "./cache-managed.ts";
import type { Cache, Place } from "./cache-sighting.ts";
import type { ElasticacheApi } from "./elasticache.ts";
import { word } from "./rds.ts";

/** The engine of a group, which only its members tell in full. */
export interface Version {
  readonly engine: string;
  readonly engineVersion: string;
}
export type Grouped = readonly [group: ReplicationGroup, version: Version | undefined];

/** One node group has no number; several would have a configuration endpoint, but for what AWS says otherwise. */
const placesOf = (
  { PrimaryEndpoint, ReaderEndpoint, NodeGroupId = "" }: NodeGroup,
  only: boolean,
): readonly Place[] => {
  const [mark, suffix] = only ? ["", {}] : [`-${NodeGroupId}`, { suffix: NodeGroupId }];
  return [
    { endpointType: `primary${mark}`, at: PrimaryEndpoint, ...suffix },
    ...(ReaderEndpoint
      ? [{ endpointType: `reader${mark}`, at: ReaderEndpoint, suffix: only ? "reader" : `${NodeGroupId}-reader` }]
      : []),
  ];
};

export const groupOf = ([group, version]: Grouped, { region }: Listing): Cache => {
  const { ReplicationGroupId: identifier, ConfigurationEndpoint: configuration, NodeGroups: nodes = [] } = group;
  const clustered = configuration !== undefined || group.ClusterEnabled === true;
  const command =
    `aws elasticache modify-replication-group --region ${region} --replication-group-id ${word(identifier ?? "")} ` +
    "--transit-encryption-enabled --transit-encryption-mode preferred --apply-immediately";
  return {
    arn: group.ARN,
    identifier,
    state: group.Status,
    engine: (group.Engine ?? version?.engine ?? "redis").toLowerCase(),
    engineVersion: version?.engineVersion ?? "",
    madeAt: group.ReplicationGroupCreateTime,
    ...(identifier !== undefined && { cluster: identifier }),
    unfit:
      group.TransitEncryptionEnabled === true
        ? undefined
        : `encryption in transit is off: ${command} (before Redis OSS 7.0.5 it must be made anew with it)`,
    places: clustered
      ? [{ endpointType: "configuration", at: configuration }]
      : nodes.length === 0
        ? [{ endpointType: "primary" }]
        : nodes.flatMap((node) => placesOf(node, nodes.length === 1)),
    // a reader endpoint leads to one replica at a time
    nodes: nodes.flatMap(({ NodeGroupMembers: members = [] }) => members.flatMap((one) => one.ReadEndpoint ?? [])),
  };
};

export const serverlessOf = (cache: ServerlessCache): Cache => {
  const engine = (cache.Engine ?? "").toLowerCase();
  return {
    arn: cache.ARN,
    identifier: cache.ServerlessCacheName,
    state: cache.Status,
    engine,
    engineVersion: cache.FullEngineVersion ?? cache.MajorEngineVersion ?? "",
    madeAt: cache.CreateTime,
    unfit: engine === "memcached" ? "memcached is not spoken here: use a cache of Valkey or Redis OSS" : undefined,
    places: [{ endpointType: "serverless", at: cache.Endpoint }],
  };
};

/** Replication groups with their versions. */
export async function* groupsIn(api: ElasticacheApi, listing: Listing): AsyncGenerator<readonly Grouped[]> {
  const versions = new Map<string, Version>();
  for await (const page of api.members(listing))
    for (const { ReplicationGroupId: id, Engine: engine = "", EngineVersion: engineVersion = "" } of page)
      if (id !== undefined && !versions.has(id)) versions.set(id, { engine, engineVersion });
  for await (const page of api.groups(listing))
    yield page.map((group) => [group, versions.get(group.ReplicationGroupId ?? "")] as const);
}

/** All caches and the user groups that guard them; `own` says which of them the asking kind is about. */
export const guardedIn = async (
  api: ElasticacheApi,
  listing: Listing,
  own: "replicationgroup" | "serverlesscache",
): Promise<readonly Guarded[]> => {
  const all: Guarded[] = [];
  for await (const page of api.groups(listing))
    for (const group of page)
      all.push({
        cache: groupOf([group, undefined], listing),
        groups: group.UserGroupIds ?? [],
        own: own === "replicationgroup",
      });
  for await (const page of api.serverless(listing))
    for (const cache of page)
      all.push({
        cache: serverlessOf(cache),
        groups: cache.UserGroupId === undefined ? [] : [cache.UserGroupId],
        own: own === "serverlesscache",
      });
  return all;
};
