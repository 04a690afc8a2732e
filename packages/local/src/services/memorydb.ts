// Amazon MemoryDB: clusters, users and the access control lists they are in. Users are in the store that the real servers follow.
// Rule: what AWS validates is validated, tags are not read while a resource is in transition, and only an active user is changed.
// https://docs.aws.amazon.com/memorydb/latest/APIReference/Welcome.html
import * as memorydb from "@aws-sdk/client-memorydb";
import { type Api, type Call, operation, sdkApi, unused } from "../api.ts";
import { changeOf, contradiction, invalidValue, requireChangeable } from "../cache-change.ts";
import { openShelf, type Where } from "../cache-shelf.ts";
import { addTags, needOn, removeTags, requestTags, tagList, tagsOf } from "../cache-tags.ts";
import { type CacheGroup, type CachePlace, type CacheRef, type CacheUser, cacheArn } from "../cache-user.ts";
import type { CacheUsers } from "../cache-users.ts";
import type { Context, Need } from "../iam.ts";
import { pageAfter } from "../listing.ts";
import { type ClusterSpec, clusterOf } from "../memorydb-record.ts";
import { Refusal } from "../refusal.ts";

export interface Memorydb {
  readonly api: Api;
  /** Adds a cluster. Its ACL guards it from now on. */
  addCluster(where: Where, spec: ClusterSpec): memorydb.Cluster;
  /** Overlays fields; the ACL is the store's to say. */
  change(where: Where, name: string, fields: Partial<memorydb.Cluster>): void;
  /** Says which port every endpoint of it has. */
  setPort(where: Where, name: string, port: number): void;
  /** Sets a status now, and others later: `["updating", {"available": 120_000}]` in milliseconds from now. */
  setStatus(where: Where, name: string, status: string, later?: Readonly<Record<string, number>>): void;
  remove(where: Where, name: string): void;
}

const placeOf = ({ accountId, region }: Where): CachePlace => ({ service: "memorydb", accountId, region });
const arnOf = (where: Where, type: Parameters<typeof cacheArn>[1], name = "*"): string =>
  cacheArn(placeOf(where), type, name.toLowerCase());
export const clusterRef = (where: Where, id: string): CacheRef => ({ ...placeOf(where), type: "cluster", id });

/** The ACL that every account has, and whose clusters anybody may log in to. */
const openAccess = "open-access";

export function openMemorydb(users: CacheUsers, now: () => number = Date.now): Memorydb {
  const clusters = openShelf<memorydb.Cluster>(now);

  const clusterShown = (where: Where, cluster: memorydb.Cluster, shards = true): memorydb.Cluster => ({
    ...cluster,
    Shards: shards ? cluster.Shards : undefined,
    ACLName: users.guardOf(clusterRef(where, cluster.Name ?? "")).groups[0] ?? openAccess,
  });
  const userShown = (where: Where, user: CacheUser): memorydb.User => ({
    Name: user.name,
    Status: users.status(placeOf(where), user.id),
    AccessString: user.accessString,
    ACLNames: users.groupsOf(placeOf(where), user.id).map(({ id }) => id),
    MinimumEngineVersion: user.type === "iam" ? "7.0" : "6.2",
    Authentication: {
      Type: user.type,
      ...(user.type === "password" && { PasswordCount: user.passwords.length }),
    },
    ARN: user.arn,
  });
  const aclShown = (where: Where, { id, userIds }: Pick<CacheGroup, "id" | "userIds">): memorydb.ACL => ({
    Name: id,
    Status: userIds.every((name) => users.status(placeOf(where), name) === "active") ? "active" : "modifying",
    UserNames: [...userIds],
    MinimumEngineVersion: "6.2",
    Clusters: clusters
      .list(where)
      .filter((cluster) => clusterShown(where, cluster).ACLName === id)
      .map(({ Name = "" }) => Name),
    ARN: arnOf(where, "acl", id),
  });

  const userNamed = (where: Where, name = ""): CacheUser => {
    const user = users.user(placeOf(where), name);
    if (!user) throw new Refusal("UserNotFoundFault", `User ${name} not found.`, 404);
    return user;
  };

  /** An active user that is not the account's own. */
  const changeable = (where: Where, name: string | undefined): CacheUser => {
    const user = userNamed(where, name);
    requireChangeable(user, users.status(placeOf(where), user.id));
    return user;
  };

  function createUser(input: memorydb.CreateUserRequest, call: Call): memorydb.CreateUserResponse {
    const name = (input.UserName ?? "").toLowerCase();
    if (!/^[a-z][a-z0-9-]{0,39}$/.test(name)) throw invalidValue(`Invalid user name: ${name}`);
    if (users.user(placeOf(call), name))
      throw new Refusal("UserAlreadyExistsFault", `User ${name} already exists.`, 400);
    const change = changeOf(given(input), { id: name, name, accessString: "" });
    return {
      User: userShown(call, users.addUser(placeOf(call), { ...change, id: name, tags: tagsOf(input.Tags) })),
    };
  }

  function updateUser(input: memorydb.UpdateUserRequest, call: Call): memorydb.UpdateUserResponse {
    const user = changeable(call, input.UserName);
    const changed = users.changeUser(placeOf(call), user.id, changeOf(given(input), user));
    return { User: { ...userShown(call, changed), Status: "modifying" } };
  }

  function deleteUser(input: memorydb.DeleteUserRequest, call: Call): memorydb.DeleteUserResponse {
    const user = changeable(call, input.UserName);
    const shown = userShown(call, user);
    users.removeUser(placeOf(call), user.id);
    return { User: { ...shown, Status: "deleting", ACLNames: [] } };
  }

  function describeUsers(input: memorydb.DescribeUsersRequest, call: Call): memorydb.DescribeUsersResponse {
    if (input.Filters?.length) throw invalidValue(`Unrecognized filter name: ${input.Filters[0]?.Name}`);
    const named = input.UserName === undefined ? users.users(placeOf(call)) : [userNamed(call, input.UserName)];
    const { items, next } = paged(named, ({ id }) => id, input);
    return { Users: items.map((user) => userShown(call, user)), NextToken: next };
  }

  function describeAcls(input: memorydb.DescribeACLsRequest, call: Call): memorydb.DescribeACLsResponse {
    const all = [{ id: openAccess, userIds: ["default"] }, ...users.groups(placeOf(call))];
    const name = input.ACLName?.toLowerCase();
    const found = all.filter(({ id }) => name === undefined || id === name);
    if (name !== undefined && found.length === 0) throw new Refusal("ACLNotFoundFault", `ACL ${name} not found.`, 404);
    const { items, next } = paged(found, ({ id }) => id, input);
    return { ACLs: items.map((acl) => aclShown(call, acl)), NextToken: next };
  }

  function describeClusters(input: memorydb.DescribeClustersRequest, call: Call): memorydb.DescribeClustersResponse {
    const name = input.ClusterName?.toLowerCase();
    const found = clusters.list(call).filter((cluster) => name === undefined || cluster.Name === name);
    if (name !== undefined && found.length === 0)
      throw new Refusal("ClusterNotFoundFault", `Cluster ${name} not found.`, 404);
    const { items, next } = paged(found, (cluster) => cluster.Name ?? "", input);
    return {
      Clusters: items.map((cluster) => clusterShown(call, cluster, input.ShowShardDetails ?? false)),
      NextToken: next,
    };
  }

  /** Throws for an ARN of nothing here, and of what is in no state to be asked for its tags. */
  function taggable(arn: string, call: Call): string {
    const [, type = "", name = ""] =
      new RegExp(`^arn:aws:memorydb:${call.region}:${call.accountId}:(\\w+)/([\\w-]+)$`).exec(arn) ?? [];
    if (type === "cluster") {
      const status = clusters.find(call, name)?.Status;
      if (status === undefined) throw new Refusal("ClusterNotFoundFault", `Cluster ${name} not found.`, 404);
      if (status !== "available")
        throw new Refusal("InvalidClusterStateFault", `Cluster ${name} is not in available state.`, 400);
    } else if (type === "acl") {
      if (name !== openAccess && !users.group(placeOf(call), name))
        throw new Refusal("ACLNotFoundFault", `ACL ${name} not found.`, 404);
    } else if (type === "user") {
      const user = userNamed(call, name);
      // as in ElastiCache: the only error about a user that listing tags has is that it is not found
      if (users.status(placeOf(call), user.id) !== "active")
        throw new Refusal("UserNotFoundFault", `${user.id} is not available for tagging`, 404);
    } else throw new Refusal("InvalidARNFault", `The ARN ${arn} is not valid for this service or region.`, 400);
    return arn.toLowerCase();
  }

  const need = (action: string, arn: string, context: Context = {}): readonly Need[] => [
    needOn(users, `memorydb:${action}`, arn, context),
  ];
  const ofMode = (mode: memorydb.AuthenticationMode | undefined): Context => ({
    "memorydb:UserAuthenticationMode": mode?.Type,
  });

  const api = sdkApi({
    name: "memorydb",
    client: new memorydb.MemoryDBClient(unused),
    module: memorydb,
    throttle: { code: "ThrottlingException", message: "Rate exceeded", status: 400 },
    operations: {
      DescribeClusters: operation<memorydb.DescribeClustersRequest>({
        needs: (input, call) => need("DescribeClusters", arnOf(call, "cluster", input.ClusterName)),
        run: describeClusters,
      }),
      DescribeUsers: operation<memorydb.DescribeUsersRequest>({
        needs: (input, call) => need("DescribeUsers", arnOf(call, "user", input.UserName)),
        run: describeUsers,
      }),
      DescribeACLs: operation<memorydb.DescribeACLsRequest>({
        needs: (input, call) => need("DescribeACLs", arnOf(call, "acl", input.ACLName)),
        run: describeAcls,
      }),
      CreateUser: operation<memorydb.CreateUserRequest>({
        needs: (input, call) => {
          const arn = arnOf(call, "user", input.UserName);
          const context = { ...ofMode(input.AuthenticationMode), ...requestTags(input.Tags) };
          return [
            ...need("CreateUser", arn, context),
            ...(input.Tags?.length ? need("TagResource", arn, context) : []),
          ];
        },
        run: createUser,
      }),
      UpdateUser: operation<memorydb.UpdateUserRequest>({
        needs: (input, call) =>
          need("UpdateUser", arnOf(call, "user", input.UserName), ofMode(input.AuthenticationMode)),
        run: updateUser,
      }),
      DeleteUser: operation<memorydb.DeleteUserRequest>({
        needs: (input, call) => need("DeleteUser", arnOf(call, "user", input.UserName)),
        run: deleteUser,
      }),
      ListTags: operation<memorydb.ListTagsRequest>({
        needs: (input) => need("ListTags", input.ResourceArn ?? ""),
        run: (input, call) => ({ TagList: tagList(users.tags(taggable(input.ResourceArn ?? "", call))) }),
      }),
      TagResource: operation<memorydb.TagResourceRequest>({
        needs: (input) => need("TagResource", input.ResourceArn ?? "", requestTags(input.Tags)),
        run: (input, call) => addTags(users, taggable(input.ResourceArn ?? "", call), input.Tags),
      }),
      UntagResource: operation<memorydb.UntagResourceRequest>({
        needs: (input) => need("UntagResource", input.ResourceArn ?? "", { "aws:TagKeys": input.TagKeys }),
        run: (input, call) => removeTags(users, taggable(input.ResourceArn ?? "", call), input.TagKeys),
      }),
    },
  });

  return {
    api,
    addCluster(where, { tags = {}, acl = openAccess, ...rest }) {
      const spec = { ...rest, name: rest.name.toLowerCase() };
      const cluster = clusters.add(where, spec.name, clusterOf(where, spec, now()));
      users.guard(clusterRef(where, spec.name), { groups: acl === openAccess ? [] : [acl.toLowerCase()] });
      users.setTags(arnOf(where, "cluster", spec.name), tags);
      return clusterShown(where, cluster);
    },
    change: clusters.change,
    setPort(where, name, port) {
      const cluster = clusters.find(where, name);
      const moved = (endpoint: memorydb.Endpoint | undefined) => ({ ...endpoint, Port: port });
      clusters.change(where, name, {
        ClusterEndpoint: moved(cluster?.ClusterEndpoint),
        Shards: cluster?.Shards?.map((shard) => ({
          ...shard,
          Nodes: shard.Nodes?.map((node) => ({ ...node, Endpoint: moved(node.Endpoint) })),
        })),
      });
    },
    setStatus: clusters.setStatus,
    remove(where, name) {
      clusters.remove(where, name);
      users.unguard(clusterRef(where, name));
      users.setTags(arnOf(where, "cluster", name), {});
    },
  };
}

/** MemoryDB has no other way than the mode, and no user without a password but its own. */
const given = ({
  AuthenticationMode,
  AccessString,
}: Pick<memorydb.UpdateUserRequest, "AuthenticationMode" | "AccessString">) => {
  if (AuthenticationMode?.Type !== undefined && !["password", "iam"].includes(AuthenticationMode.Type))
    throw contradiction(`Invalid authentication type: ${AuthenticationMode.Type}`);
  return { AuthenticationMode, AccessString };
};

const paged = <Item>(
  items: readonly Item[],
  key: (item: Item) => string,
  { MaxResults = 100, NextToken }: { MaxResults?: number | undefined; NextToken?: string | undefined },
) => {
  if (!(Number.isInteger(MaxResults) && MaxResults >= 1 && MaxResults <= 100))
    throw invalidValue(`Invalid value ${MaxResults} for MaxResults. Must be between 1 and 100`);
  return pageAfter(items, key, MaxResults, NextToken, invalidValue);
};
