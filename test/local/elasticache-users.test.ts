// ElastiCache's users with the real client: changes that take time and are refused meanwhile, permissions by resource and tag,
// throttling and faults.
import {
  CreateUserCommand,
  DeleteUserCommand,
  DescribeUserGroupsCommand,
  DescribeUsersCommand,
  type ModifyUserCommandInput,
} from "@aws-sdk/client-elasticache";
import { secret } from "@sallyport/core/secret";
import { awsRates } from "@sallyport/local/rate";
import { describe, expect, test } from "vitest";
import { appArn, openStage, password, words } from "./elasticache-stage.ts";

const stage = openStage();

describe("users", () => {
  test("are shown with their groups, their type and how many passwords they have, never a password", async () => {
    stage.addOrders();
    expect(await stage.user()).toMatchObject({
      UserId: "app",
      UserName: "app",
      Status: "active",
      Engine: "redis",
      AccessString: "on ~* +@read",
      UserGroupIds: ["writers"],
      Authentication: { Type: "password", PasswordCount: 1 },
      ARN: appArn,
    });
    expect((await stage.client.send(new DescribeUserGroupsCommand({}))).UserGroups).toMatchObject([
      { UserGroupId: "writers", UserIds: ["app", "default"], ReplicationGroups: ["orders"], Status: "active" },
    ]);
    expect(JSON.stringify((await stage.client.send(new DescribeUsersCommand({}))).Users)).not.toContain(words.one);
  });

  test("a change replaces the whole list of passwords and takes its time", async () => {
    stage.addOrders();
    expect(await stage.modify(password(words.two, words.three))).toMatchObject({
      Status: "modifying",
      Authentication: { Type: "password", PasswordCount: 2 },
    });
    const has = stage.held();
    expect(has).toEqual([words.two, words.three]);
    stage.clock.now += 59_999;
    expect((await stage.user())?.Status).toBe("modifying");
    stage.clock.now += 1;
    expect((await stage.user())?.Status).toBe("active");
  });

  test("a second change meanwhile is refused and changes nothing", async () => {
    stage.addOrders();
    await stage.modify(password(words.two));
    await expect(stage.modify(password(words.three))).rejects.toMatchObject({
      name: "InvalidUserStateFault",
      message: expect.stringContaining("has status modifying"),
      $metadata: { httpStatusCode: 400 },
    });
    expect(stage.held()).toEqual([words.two]);
  });

  test("a user's group is modifying with it", async () => {
    stage.addOrders();
    await stage.modify(password(words.two));
    expect((await stage.client.send(new DescribeUserGroupsCommand({}))).UserGroups?.[0]?.Status).toBe("modifying");
  });

  const refused: Readonly<Record<string, [Partial<ModifyUserCommandInput>, string]>> = {
    "three passwords": [password(words.one, words.two, words.three), "InvalidParameterValueException"],
    "no password": [password(), "InvalidParameterValueException"],
    "a password of 15 characters": [password("x".repeat(15)), "InvalidParameterValueException"],
    "a password of 129 characters": [password("x".repeat(129)), "InvalidParameterValueException"],
    "the same password twice": [password(words.one, words.one), "InvalidParameterValueException"],
    "passwords beside the mode": [
      { ...password(words.one), Passwords: [words.two] },
      "InvalidParameterCombinationException",
    ],
    "passwords for IAM": [
      { AuthenticationMode: { Type: "iam", Passwords: [words.one] } },
      "InvalidParameterCombinationException",
    ],
    "no mode's type": [{ AuthenticationMode: { Passwords: [words.one] } }, "InvalidParameterValueException"],
    nothing: [{}, "InvalidParameterCombinationException"],
    "a password in the access string": [
      { AccessString: "on ~* +@all >sixteen-characters" },
      "InvalidParameterValueException",
    ],
    "an access string that says neither on nor off": [{ AccessString: "~* +@all" }, "InvalidParameterValueException"],
  };
  test.each(Object.entries(refused))("a change to %s is refused", async (_, [input, name]) => {
    stage.addOrders();
    await expect(stage.modify(input)).rejects.toMatchObject({ name });
    expect((await stage.user())?.Status).toBe("active");
  });

  test("a user that authenticates with IAM takes passwords only with the type", async () => {
    stage.addOrders();
    stage.users.addUser(stage.place, { id: "worker", type: "iam" });
    stage.users.addUser(stage.place, {
      id: "named",
      name: "otherwise",
      type: "password",
      passwords: [secret(words.one)],
    });
    const UserId = "worker";
    await expect(stage.modify({ UserId, Passwords: [words.one] })).rejects.toMatchObject({
      name: "InvalidParameterCombinationException",
    });
    await stage.modify({ UserId, ...password(words.one) });
    expect((await stage.user(UserId))?.Authentication).toEqual({ Type: "password", PasswordCount: 1 });
    await expect(stage.modify({ UserId: "named", AuthenticationMode: { Type: "iam" } })).rejects.toThrow(
      /same user name/,
    );
  });

  test("the account's own default user is nobody's to change", async () => {
    await expect(stage.modify({ UserId: "default", ...password(words.one) })).rejects.toMatchObject({
      name: "InvalidParameterValueException",
    });
    await expect(stage.modify({ UserId: "none", ...password(words.one) })).rejects.toMatchObject({
      name: "UserNotFoundFault",
      $metadata: { httpStatusCode: 404 },
    });
  });

  test("a user is created once, active at once, and deleted with time", async () => {
    const create = (input = {}) =>
      stage.client.send(
        new CreateUserCommand({
          UserId: "New",
          UserName: "reader",
          Engine: "redis",
          AccessString: "on ~* +@read",
          ...password(words.one),
          Tags: [{ Key: "team", Value: "a" }],
          ...input,
        }),
      );
    expect(await create()).toMatchObject({ UserId: "new", UserName: "reader", Status: "active" });
    await expect(create()).rejects.toMatchObject({ name: "UserAlreadyExistsFault" });
    await expect(create({ UserId: "1st" })).rejects.toMatchObject({ name: "InvalidParameterValueException" });
    await expect(create({ UserId: "memory", Engine: "memcached" })).rejects.toThrow(/Unsupported engine/);
    await expect(create({ UserId: "open", AuthenticationMode: undefined })).rejects.toThrow(/password/);
    expect(await stage.tagsOf(`${appArn.slice(0, -3)}new`)).toEqual([{ Key: "team", Value: "a" }]);
    expect(await stage.client.send(new DeleteUserCommand({ UserId: "new" }))).toMatchObject({ Status: "deleting" });
    expect((await stage.user("new"))?.Status).toBe("deleting");
    await expect(stage.modify({ UserId: "new", ...password(words.two) })).rejects.toMatchObject({
      name: "InvalidUserStateFault",
    });
    stage.clock.now += 60_000;
    await expect(stage.user("new")).rejects.toMatchObject({ name: "UserNotFoundFault" });
  });
});

describe("permissions", () => {
  test("S-44 a role may change only users with the tag its policy asks for, and only to passwords", async () => {
    stage.addOrders();
    const { credentials } = stage.account.addUser({
      name: "rotate",
      statements: [
        {
          actions: ["elasticache:ModifyUser"],
          resources: ["arn:aws:elasticache:*:*:user:*"],
          conditions: {
            Null: { "aws:ResourceTag/sallyport/managed": "false" },
            StringEquals: { "elasticache:UserAuthenticationMode": "password" },
          },
        },
      ],
    });
    const role = stage.clientOf(credentials);
    await expect(stage.modify(password(words.two), role)).rejects.toMatchObject({
      name: "AccessDenied",
      $metadata: { httpStatusCode: 403 },
    });
    stage.users.setTags(appArn, { "sallyport/managed": "true" });
    await expect(stage.modify({ NoPasswordRequired: true }, role)).rejects.toMatchObject({ name: "AccessDenied" });
    expect(stage.held()).toEqual([words.one]);
    expect(await stage.modify(password(words.two), role)).toMatchObject({ Status: "modifying" });
    await expect(stage.tagsOf(appArn, role)).rejects.toThrow(/ListTagsForResource/);
  });

  test("another account's resource is nobody's here", async () => {
    await expect(stage.tagsOf(appArn.replace("111122223333", "444455556666"))).rejects.toMatchObject({
      name: "AccessDenied",
    });
  });
});

describe("things that go wrong", () => {
  test("ModifyUser is let through ten at once, then five a second", async () => {
    for (const rate of awsRates) stage.endpoint.fault.throttle(rate);
    stage.users.takes(0);
    stage.addOrders();
    const change = (at: number) => stage.modify(password(`${at}`.padStart(16, "x")));
    for (let at = 0; at < 10; at++) await change(at);
    await expect(change(10)).rejects.toMatchObject({ name: "Throttling", message: "Rate exceeded" });
    stage.clock.now += 200;
    await change(11);
    await expect(change(12)).rejects.toMatchObject({ name: "Throttling" });
    expect((await stage.user())?.Status).toBe("active");
  });

  test("a call can fail before its work, after it, or lose its answer", async () => {
    stage.users.takes(0);
    stage.addOrders();
    const call = { service: "elasticache", operation: "ModifyUser" };
    stage.endpoint.fault.fail({ ...call, code: "ServiceUnavailable", status: 503 });
    await expect(stage.modify(password(words.two))).rejects.toMatchObject({ $metadata: { httpStatusCode: 503 } });
    expect(stage.held()).toEqual([words.one]);
    stage.endpoint.fault.fail({ ...call, code: "InternalFailure", status: 500, after: true });
    await expect(stage.modify(password(words.two))).rejects.toMatchObject({ $metadata: { httpStatusCode: 500 } });
    expect(stage.held()).toEqual([words.two]);
    stage.endpoint.fault.drop(call);
    await expect(stage.modify(password(words.three))).rejects.toThrow();
    expect(stage.held()).toEqual([words.three]);
  });
});
