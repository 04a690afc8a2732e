// MemoryDB clusters: one database each, always in cluster mode. A user logs in by a rotated password or, from engine 7.0 on, by
// IAM; a cluster that is open to everybody has no users to log in as.
// https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html
import type { Cluster } from "@aws-sdk/client-memorydb";
import type { Kind, Listing } from "@sallyport/core/kind";
import { type CacheWorld, cacheCredential } from "../cache.ts";
import { type Guarded, managedUsersOf, managingOf } from "../cache-managed.ts";
import { type Cache, discoverCaches } from "../cache-sighting.ts";
import { type MemorydbApi, openMemorydbApi } from "../memorydb.ts";
import { word } from "../rds.ts";

const openAccess = "open-access";

/** What no login gets past, and what mends it. */
const unfitFor = ({ Name: name = "", TLSEnabled, ACLName }: Cluster, { region }: Listing): string | undefined => {
  if (TLSEnabled !== true)
    return "TLS is off, and can't be switched on: make it anew from a snapshot with --tls-enabled";
  if (ACLName !== openAccess) return undefined;
  const command = `aws memorydb update-cluster --region ${region} --cluster-name ${word(name)} --acl-name`;
  return `its ACL is ${openAccess}, which asks nobody who they are: make an ACL of its users, then ${command} <it>`;
};

const clusterOf = (cluster: Cluster, listing: Listing): Cache => ({
  arn: cluster.ARN,
  identifier: cluster.Name,
  state: cluster.Status,
  engine: (cluster.Engine ?? "redis").toLowerCase(),
  engineVersion: cluster.EnginePatchVersion ?? cluster.EngineVersion ?? "",
  // AWS does not tell
  madeAt: undefined,
  ...(cluster.Name !== undefined && { cluster: cluster.Name }),
  unfit: unfitFor(cluster, listing),
  places: [{ endpointType: "cluster", at: cluster.ClusterEndpoint }],
});

const guardedIn = async (api: MemorydbApi, listing: Listing): Promise<readonly Guarded[]> => {
  const all: Guarded[] = [];
  for await (const page of api.clusters(listing))
    for (const cluster of page)
      all.push({ cache: clusterOf(cluster, listing), groups: [cluster.ACLName ?? openAccess], own: true });
  return all;
};

export const openMemorydb = (world: CacheWorld): Kind => {
  const api = openMemorydbApi(world);
  return {
    name: "memorydb",
    credential: cacheCredential(world, api),
    ...managingOf(api),
    managedUsers: (listing) => managedUsersOf(api, listing, () => guardedIn(api, listing)),
    discover: (listing) =>
      discoverCaches(api, listing, api.clusters(listing), (cluster) => clusterOf(cluster, listing)),
  };
};
