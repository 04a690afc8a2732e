// What the ElastiCache API does with users and the groups they are in, over the store that the real servers follow.
// Rule: only an active user is changed, and a change takes its time.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyUser.html
import type * as elasticache from "@aws-sdk/client-elasticache";
import { type Call, type Operation, operation } from "./api.ts";
import { changeOf, engineOf, invalidValue, requireChangeable, type UserInput } from "./cache-change.ts";
import type { Where } from "./cache-shelf.ts";
import { needOn, requestTags, tagsOf } from "./cache-tags.ts";
import { type CachePlace, type CacheRef, type CacheUser, cacheArn } from "./cache-user.ts";
import type { CacheUsers } from "./cache-users.ts";
import type { Context, Need } from "./iam.ts";
import { filtered, page } from "./listing.ts";
import { Refusal } from "./refusal.ts";

export const placeOf = ({ accountId, region }: Where): CachePlace => ({ service: "elasticache", accountId, region });
export const arnOf = (where: Where, type: Parameters<typeof cacheArn>[1], id = "*"): string =>
  cacheArn(placeOf(where), type, id.toLowerCase());

export const userNamed = (users: CacheUsers, where: Where, id: string): CacheUser => {
  const user = users.user(placeOf(where), id);
  if (!user) throw new Refusal("UserNotFoundFault", `User ${id} not found.`, 404);
  return user;
};

/** The operations on users and user groups. */
export function userOperations(users: CacheUsers): Readonly<Record<string, Operation<unknown>>> {
  const userShown = (where: Where, user: CacheUser): elasticache.User => ({
    UserId: user.id,
    UserName: user.name,
    Status: users.status(placeOf(where), user.id),
    Engine: user.engine,
    MinimumEngineVersion: user.type === "iam" ? "7.0" : "6.0",
    AccessString: user.accessString,
    UserGroupIds: users.groupsOf(placeOf(where), user.id).map(({ id }) => id),
    Authentication: {
      Type: user.type,
      ...(user.type === "password" && { PasswordCount: user.passwords.length }),
    },
    ARN: user.arn,
  });
  const userGroupShown = (where: Where, id: string, userIds: readonly string[]): elasticache.UserGroup => {
    const place = placeOf(where);
    const caches = users.guarded(place, id);
    const idsOf = (type: CacheRef["type"]) => caches.filter((one) => one.type === type).map((one) => one.id);
    return {
      UserGroupId: id,
      Status: userIds.every((userId) => users.status(place, userId) === "active") ? "active" : "modifying",
      Engine: "redis",
      UserIds: [...userIds],
      MinimumEngineVersion: "6.0",
      ReplicationGroups: idsOf("replicationgroup"),
      ServerlessCaches: idsOf("serverlesscache"),
      ARN: arnOf(where, "usergroup", id),
    };
  };

  /** An active user that is not the account's own. */
  const changeable = (where: Where, given: string | undefined): CacheUser => {
    const user = userNamed(users, where, given ?? "");
    requireChangeable(user, users.status(placeOf(where), user.id));
    return user;
  };

  function createUser(input: elasticache.CreateUserMessage, call: Call): elasticache.User {
    const id = (input.UserId ?? "").toLowerCase();
    const name = input.UserName ?? "";
    if (!/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/.test(id) || name === "") throw invalidValue(`Invalid user id: ${id}`);
    if (users.user(placeOf(call), id)) throw new Refusal("UserAlreadyExistsFault", `User ${id} already exists.`, 400);
    const change = changeOf(input, { id, name, accessString: "" });
    if (change.type === undefined) throw invalidValue("Input a password or choose that none is required.");
    const engine = engineOf(input.Engine ?? "");
    const tags = tagsOf(input.Tags);
    return userShown(call, users.addUser(placeOf(call), { ...change, id, name, engine, tags }));
  }

  function modifyUser(input: elasticache.ModifyUserMessage, call: Call): elasticache.User {
    const user = changeable(call, input.UserId);
    const changed = users.changeUser(placeOf(call), user.id, changeOf(input as UserInput, user));
    return { ...userShown(call, changed), Status: "modifying" };
  }

  function deleteUser(input: elasticache.DeleteUserMessage, call: Call): elasticache.User {
    const user = changeable(call, input.UserId);
    if (user.name === "default" && users.groupsOf(placeOf(call), user.id).length > 0)
      throw new Refusal(
        "DefaultUserAssociatedToUserGroupFault",
        "The default user assigned to the user group cannot be deleted.",
        400,
      );
    const shown = userShown(call, user);
    users.removeUser(placeOf(call), user.id);
    return { ...shown, Status: "deleting", UserGroupIds: [] };
  }

  function describeUsers(input: elasticache.DescribeUsersMessage, call: Call): elasticache.DescribeUsersResult {
    const named = input.UserId === undefined ? users.users(placeOf(call)) : [userNamed(users, call, input.UserId)];
    const found = filtered(
      named.filter(({ engine }) => input.Engine === undefined || engine === input.Engine.toLowerCase()),
      input.Filters,
      {},
    );
    const { items, Marker } = page(found, ({ id }) => id, input);
    return { Users: items.map((user) => userShown(call, user)), Marker };
  }

  function describeUserGroups(
    input: elasticache.DescribeUserGroupsMessage,
    call: Call,
  ): elasticache.DescribeUserGroupsResult {
    const id = input.UserGroupId?.toLowerCase();
    const found = users.groups(placeOf(call)).filter((group) => id === undefined || group.id === id);
    if (id !== undefined && found.length === 0)
      throw new Refusal("UserGroupNotFoundFault", `UserGroup ${id} not found.`, 404);
    const { items, Marker } = page(found, (group) => group.id, input);
    return { UserGroups: items.map((group) => userGroupShown(call, group.id, group.userIds)), Marker };
  }

  const need = (action: string, arn: string, context: Context = {}): readonly Need[] => [
    needOn(users, `elasticache:${action}`, arn, context),
  ];
  const ofUser = (action: string, input: { UserId?: string | undefined }, call: Call, context: Context = {}) =>
    need(action, arnOf(call, "user", input.UserId), context);
  const ofMode = (mode: elasticache.AuthenticationMode | undefined): Context => ({
    "elasticache:UserAuthenticationMode": mode?.Type,
  });

  return {
    DescribeUsers: operation<elasticache.DescribeUsersMessage>({
      needs: (input, call) => ofUser("DescribeUsers", input, call),
      run: describeUsers,
    }),
    DescribeUserGroups: operation<elasticache.DescribeUserGroupsMessage>({
      needs: (input, call) => need("DescribeUserGroups", arnOf(call, "usergroup", input.UserGroupId)),
      run: describeUserGroups,
    }),
    CreateUser: operation<elasticache.CreateUserMessage>({
      needs: (input, call) => {
        const context = { ...ofMode(input.AuthenticationMode), ...requestTags(input.Tags) };
        return [
          ...ofUser("CreateUser", input, call, context),
          ...(input.Tags?.length ? ofUser("AddTagsToResource", input, call, context) : []),
        ];
      },
      run: createUser,
    }),
    ModifyUser: operation<elasticache.ModifyUserMessage>({
      needs: (input, call) => ofUser("ModifyUser", input, call, ofMode(input.AuthenticationMode)),
      run: modifyUser,
    }),
    DeleteUser: operation<elasticache.DeleteUserMessage>({
      needs: (input, call) => ofUser("DeleteUser", input, call),
      run: deleteUser,
    }),
  };
}
