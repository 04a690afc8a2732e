// Amazon ElastiCache: replication groups, their clusters, serverless caches, users and the groups they are in. Users are in the
// store that the real servers follow. Rule: what AWS validates is validated, tags are not read while a resource is in transition,
// and only an active user is changed. https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/Welcome.html
import * as elasticache from "@aws-sdk/client-elasticache";
import { type Api, type Call, operation, sdkApi, unused } from "../api.ts";
import { invalidValue } from "../cache-change.ts";
import { openShelf, type Where } from "../cache-shelf.ts";
import { addTags, needOn, removeTags, requestTags, tagList } from "../cache-tags.ts";
import type { CacheRef } from "../cache-user.ts";
import type { CacheUsers } from "../cache-users.ts";
import {
  type CacheClusterSpec,
  type ClusterRecord,
  clusterOf,
  memberClustersOf,
  type ReplicationGroupSpec,
  replicationGroupOf,
  type ServerlessSpec,
  serverlessOf,
} from "../elasticache-record.ts";
import { arnOf, placeOf, userNamed, userOperations } from "../elasticache-user.ts";
import type { Context, Need } from "../iam.ts";
import { page, pageAfter } from "../listing.ts";
import { Refusal } from "../refusal.ts";

export interface Elasticache {
  readonly api: Api;
  /** Adds a group and a cluster for each of its nodes. Its user groups guard it from now on. */
  addReplicationGroup(where: Where, spec: ReplicationGroupSpec): elasticache.ReplicationGroup;
  addServerlessCache(where: Where, spec: ServerlessSpec): elasticache.ServerlessCache;
  /** A cluster that is in no group. */
  addCacheCluster(where: Where, spec: CacheClusterSpec): void;
  /** Overlays fields of a replication group or serverless cache; what guards it is the store's to say. */
  change(
    where: Where,
    id: string,
    fields: Partial<elasticache.ReplicationGroup> | Partial<elasticache.ServerlessCache>,
  ): void;
  /** Says which port every endpoint of it has; readers of a serverless cache have one of their own. */
  setPort(where: Where, id: string, port: number, readerPort?: number): void;
  /** Sets a status now, and others later: `["modifying", {"available": 120_000}]` in milliseconds from now. */
  setStatus(where: Where, id: string, status: string, later?: Readonly<Record<string, number>>): void;
  remove(where: Where, id: string): void;
}

export const groupRef = (where: Where, id: string): CacheRef => ({ ...placeOf(where), type: "replicationgroup", id });
export const serverlessRef = (where: Where, id: string): CacheRef => ({
  ...placeOf(where),
  type: "serverlesscache",
  id,
});

export function openElasticache(users: CacheUsers, now: () => number = Date.now): Elasticache {
  const groups = openShelf<elasticache.ReplicationGroup>(now);
  const clusters = openShelf<ClusterRecord>(now);
  const serverless = openShelf<elasticache.ServerlessCache>(now);

  const groupShown = (where: Where, group: elasticache.ReplicationGroup): elasticache.ReplicationGroup => ({
    ...group,
    UserGroupIds: [...users.guardOf(groupRef(where, group.ReplicationGroupId ?? "")).groups],
  });
  const serverlessShown = (where: Where, cache: elasticache.ServerlessCache): elasticache.ServerlessCache => ({
    ...cache,
    UserGroupId: users.guardOf(serverlessRef(where, cache.ServerlessCacheName ?? "")).groups[0],
  });
  const clusterShown = ({ Status, ...cluster }: ClusterRecord, nodes: boolean): elasticache.CacheCluster => ({
    ...cluster,
    CacheClusterStatus: Status,
    CacheNodes: nodes ? cluster.CacheNodes : [],
  });

  function describeGroups(
    input: elasticache.DescribeReplicationGroupsMessage,
    call: Call,
  ): elasticache.ReplicationGroupMessage {
    const id = input.ReplicationGroupId?.toLowerCase();
    const found = groups.list(call).filter((group) => id === undefined || group.ReplicationGroupId === id);
    if (id !== undefined && found.length === 0)
      throw new Refusal("ReplicationGroupNotFoundFault", `ReplicationGroup ${id} not found.`, 404);
    const { items, Marker } = page(found, (group) => group.ReplicationGroupId ?? "", input);
    return { ReplicationGroups: items.map((group) => groupShown(call, group)), Marker };
  }

  function describeClusters(
    input: elasticache.DescribeCacheClustersMessage,
    call: Call,
  ): elasticache.CacheClusterMessage {
    const id = input.CacheClusterId?.toLowerCase();
    const found = clusters
      .list(call)
      .filter((cluster) => id === undefined || cluster.CacheClusterId === id)
      .filter((cluster) => !input.ShowCacheClustersNotInReplicationGroups || !cluster.ReplicationGroupId);
    if (id !== undefined && found.length === 0)
      throw new Refusal("CacheClusterNotFoundFault", `CacheCluster not found: ${id}`, 404);
    const { items, Marker } = page(found, (cluster) => cluster.CacheClusterId ?? "", input);
    return { CacheClusters: items.map((cluster) => clusterShown(cluster, input.ShowCacheNodeInfo ?? false)), Marker };
  }

  function describeServerless(
    input: elasticache.DescribeServerlessCachesRequest,
    call: Call,
  ): elasticache.DescribeServerlessCachesResponse {
    const { MaxResults = 50, NextToken } = input;
    if (!(Number.isInteger(MaxResults) && MaxResults >= 1 && MaxResults <= 50))
      throw invalidValue(`Invalid value ${MaxResults} for MaxResults. Must be between 1 and 50`);
    const name = input.ServerlessCacheName?.toLowerCase();
    const found = serverless.list(call).filter((cache) => name === undefined || cache.ServerlessCacheName === name);
    if (name !== undefined && found.length === 0)
      throw new Refusal("ServerlessCacheNotFoundFault", `Serverless Cache ${name} not found.`, 404);
    const { items, next } = pageAfter(
      found,
      (cache) => cache.ServerlessCacheName ?? "",
      MaxResults,
      NextToken,
      invalidValue,
    );
    return { ServerlessCaches: items.map((cache) => serverlessShown(call, cache)), NextToken: next };
  }

  /** Throws for an ARN of nothing here, and of what is in no state to be asked for its tags. */
  function taggable(arn: string, call: Call): string {
    const [, type = "", id = ""] = new RegExp(
      `^arn:aws:elasticache:${call.region}:${call.accountId}:(\\w+):([\\w-]+)$`,
    ).exec(arn) ?? ["", "", ""];
    if (type === "replicationgroup") {
      const status = groups.find(call, id)?.Status;
      if (status === undefined) throw new Refusal("ReplicationGroupNotFoundFault", `${id} is not present`, 404);
      if (status !== "available") throw inTransition("InvalidReplicationGroupStateFault", "Cluster not in available");
    } else if (type === "cluster") {
      const status = clusters.find(call, id)?.Status;
      if (status === undefined) throw new Refusal("CacheClusterNotFoundFault", `${id} is not present`, 404);
      if (status !== "available") throw inTransition("InvalidCacheClusterStateFault", "Cluster not in available");
    } else if (type === "serverlesscache") {
      const status = serverless.find(call, id)?.Status;
      if (status === undefined) throw new Refusal("ServerlessCacheNotFoundFault", `${id} is not present`, 404);
      if (status !== "available" && status !== "modifying")
        throw inTransition("InvalidServerlessCacheStateFault", "Serverless cache is not in an available");
    } else if (type === "usergroup") {
      if (!users.group(placeOf(call), id)) throw new Refusal("UserGroupNotFoundFault", `${id} not found`, 404);
    } else if (type === "user") {
      const user = userNamed(users, call, id);
      // AWS says of a user in transition that it is not found
      if (users.status(placeOf(call), user.id) !== "active")
        throw new Refusal("UserNotFoundFault", `${user.id} is not available for tagging`, 404);
    } else throw new Refusal("InvalidARNFault", `The ARN ${arn} is not valid for this service or region.`, 400);
    return arn.toLowerCase();
  }

  const need = (action: string, arn: string, context: Context = {}): readonly Need[] => [
    needOn(users, `elasticache:${action}`, arn, context),
  ];

  const api = sdkApi({
    name: "elasticache",
    client: new elasticache.ElastiCacheClient(unused),
    module: elasticache,
    operations: {
      DescribeReplicationGroups: operation<elasticache.DescribeReplicationGroupsMessage>({
        needs: (input, call) =>
          need("DescribeReplicationGroups", arnOf(call, "replicationgroup", input.ReplicationGroupId)),
        run: describeGroups,
      }),
      DescribeCacheClusters: operation<elasticache.DescribeCacheClustersMessage>({
        needs: (input, call) => need("DescribeCacheClusters", arnOf(call, "cluster", input.CacheClusterId)),
        run: describeClusters,
      }),
      DescribeServerlessCaches: operation<elasticache.DescribeServerlessCachesRequest>({
        needs: (input, call) =>
          need("DescribeServerlessCaches", arnOf(call, "serverlesscache", input.ServerlessCacheName)),
        run: describeServerless,
      }),
      ...userOperations(users),
      ListTagsForResource: operation<elasticache.ListTagsForResourceMessage>({
        needs: (input) => need("ListTagsForResource", input.ResourceName ?? ""),
        run: (input, call) => ({ TagList: tagList(users.tags(taggable(input.ResourceName ?? "", call))) }),
      }),
      AddTagsToResource: operation<elasticache.AddTagsToResourceMessage>({
        needs: (input) => need("AddTagsToResource", input.ResourceName ?? "", requestTags(input.Tags)),
        run: (input, call) => addTags(users, taggable(input.ResourceName ?? "", call), input.Tags),
      }),
      RemoveTagsFromResource: operation<elasticache.RemoveTagsFromResourceMessage>({
        needs: (input) => need("RemoveTagsFromResource", input.ResourceName ?? "", { "aws:TagKeys": input.TagKeys }),
        run: (input, call) => removeTags(users, taggable(input.ResourceName ?? "", call), input.TagKeys),
      }),
    },
  });

  return {
    api,
    addReplicationGroup(where, { tags = {}, ...given }) {
      const spec = { ...given, id: given.id.toLowerCase() };
      const group = groups.add(where, spec.id, replicationGroupOf(where, spec, now()));
      for (const cluster of memberClustersOf(where, spec, group))
        clusters.add(where, cluster.CacheClusterId ?? "", cluster);
      users.guard(groupRef(where, spec.id), {
        groups: (spec.userGroups ?? []).map((id) => id.toLowerCase()),
        ...(spec.authToken && { authToken: spec.authToken }),
      });
      users.setTags(arnOf(where, "replicationgroup", spec.id), tags);
      return group;
    },
    addServerlessCache(where, { tags = {}, ...given }) {
      const spec = { ...given, name: given.name.toLowerCase() };
      const cache = serverless.add(where, spec.name, serverlessOf(where, spec, now()));
      users.guard(serverlessRef(where, spec.name), { groups: spec.userGroup ? [spec.userGroup.toLowerCase()] : [] });
      users.setTags(arnOf(where, "serverlesscache", spec.name), tags);
      return cache;
    },
    addCacheCluster(where, { tags = {}, ...spec }) {
      clusters.add(where, spec.id, clusterOf(where, spec));
      users.setTags(arnOf(where, "cluster", spec.id), tags);
    },
    change(where, id, fields) {
      // the caller knows which of the two it names
      if (groups.find(where, id)) groups.change(where, id, fields as Partial<elasticache.ReplicationGroup>);
      else serverless.change(where, id, fields as Partial<elasticache.ServerlessCache>);
    },
    setPort(where, id, port, readerPort = port) {
      const group = groups.find(where, id);
      if (!group) {
        const { Endpoint, ReaderEndpoint } = serverless.find(where, id) ?? {};
        serverless.change(where, id, {
          Endpoint: { ...Endpoint, Port: port },
          ReaderEndpoint: { ...ReaderEndpoint, Port: readerPort },
        });
        return;
      }
      groups.change(where, id, portsOf(group, port));
      for (const member of group.MemberClusters ?? []) {
        const nodes = clusters.find(where, member)?.CacheNodes?.map((node) => ({
          ...node,
          Endpoint: { ...node.Endpoint, Port: port },
        }));
        clusters.change(where, member, { CacheNodes: nodes });
      }
    },
    setStatus(where, id, ...change) {
      if (serverless.find(where, id)) return serverless.setStatus(where, id, ...change);
      const group = groups.find(where, id);
      if (group) groups.setStatus(where, id, ...change);
      for (const member of group?.MemberClusters ?? [id]) clusters.setStatus(where, member, ...change);
    },
    remove(where, id) {
      if (serverless.find(where, id)) {
        serverless.remove(where, id);
        users.unguard(serverlessRef(where, id));
        users.setTags(arnOf(where, "serverlesscache", id), {});
        return;
      }
      const group = groups.find(where, id);
      if (group) groups.remove(where, id);
      for (const member of group?.MemberClusters ?? [id]) clusters.remove(where, member);
      users.unguard(groupRef(where, id));
      for (const type of ["replicationgroup", "cluster"] as const) users.setTags(arnOf(where, type, id), {});
    },
  };
}

const inTransition = (code: string, words: string): Refusal =>
  new Refusal(code, `${words} state to perform tagging operations.`, 400);

const portsOf = (group: elasticache.ReplicationGroup, port: number): Partial<elasticache.ReplicationGroup> => {
  const moved = (endpoint: elasticache.Endpoint | undefined) => endpoint && { ...endpoint, Port: port };
  return {
    ConfigurationEndpoint: moved(group.ConfigurationEndpoint),
    NodeGroups: group.NodeGroups?.map((node) => ({
      ...node,
      PrimaryEndpoint: moved(node.PrimaryEndpoint),
      ReaderEndpoint: moved(node.ReaderEndpoint),
      NodeGroupMembers: node.NodeGroupMembers?.map((one) => ({ ...one, ReadEndpoint: moved(one.ReadEndpoint) })),
    })),
  };
};
