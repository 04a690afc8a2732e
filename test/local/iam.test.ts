// Policy evaluation as a table: what a statement allows, what it does not, and what it refuses to judge.
import type { Statement } from "@sallyport/core/permission";
import { openAccount } from "@sallyport/local/account";
import { allows, type Context, matches, matchesArn, unbounded } from "@sallyport/local/iam";
import { describe, expect, test } from "vitest";

const table = "arn:aws:dynamodb:eu-west-1:111122223333:table/sallyport";
const on = (conditions: NonNullable<Statement["conditions"]>): Statement => ({
  actions: ["dynamodb:GetItem"],
  resources: [table],
  conditions,
});
const asked = (context: Context) => ({ action: "dynamodb:GetItem", resource: table, context });
const keys = (...values: string[]): Context => ({ "dynamodb:LeadingKeys": values });

describe("actions and resources", () => {
  test.each([
    ["s3:Get*", "s3:GetObject", true],
    ["s3:get?bject", "S3:GetObject", true],
    ["s3:*", "s3:GetObject", true],
    ["*", "s3:GetObject", true],
    ["s3:Get", "s3:GetObject", false],
    ["s3:GetObject?", "s3:GetObject", false],
  ])("action %s on %s: %s", (pattern, action, allowed) => {
    expect(allows([{ actions: [pattern], resources: ["*"] }], { action, resource: table })).toBe(allowed);
  });

  test.each([
    ["*", "arn:aws:rds:eu-west-1:1:db:orders", true],
    ["arn:aws:rds:*:*:db:orders", "arn:aws:rds:eu-west-1:1:db:orders", true],
    ["arn:aws:rds:eu-west-1:1:db:*", "arn:aws:rds:eu-west-1:1:db:a:b/c", true],
    ["arn:aws:rds-db:*:1:dbuser:*/*", "arn:aws:rds-db:eu-west-1:1:dbuser:db-ABC/app", true],
    ["arn:aws:rds:eu-west-1:1:db:order?", "arn:aws:rds:eu-west-1:1:db:orders", true],
    ["arn:aws:rds:eu-west-1:1:db:ORDERS", "arn:aws:rds:eu-west-1:1:db:orders", false],
    // A star does not reach into the next segment before the resource.
    ["arn:aws:rds:*:db:orders", "arn:aws:rds:eu-west-1:1:db:orders", false],
    ["arn:*", "arn:aws:rds:eu-west-1:1:db:orders", false],
    ["arn:aws:rds:eu-west-1:2:*", "arn:aws:rds:eu-west-1:1:db:orders", false],
  ])("resource %s on %s: %s", (pattern, resource, allowed) => {
    expect(allows([{ actions: ["*"], resources: [pattern] }], { action: "rds:X", resource })).toBe(allowed);
  });

  test("nothing is allowed by nothing", () => {
    expect(allows([], asked({}))).toBe(false);
    expect(allows([{ actions: [], resources: ["*"] }], asked({}))).toBe(false);
    expect(allows([{ actions: ["*"], resources: [] }], asked({}))).toBe(false);
  });

  test("action and resource must be allowed by the same statement", () => {
    const [a, b] = [
      { actions: ["dynamodb:GetItem"], resources: ["arn:aws:dynamodb:eu-west-1:1:table/other"] },
      { actions: ["dynamodb:PutItem"], resources: [table] },
    ];
    expect(allows([a, b], asked({}))).toBe(false);
  });
});

describe("conditions", () => {
  const leading = on({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["access#*", "epoch#*"] } });
  test.each<[string, Statement, Context, boolean]>([
    ["every key in a family", leading, keys("access#user", "epoch#"), true],
    ["one key outside", leading, keys("access#user", "login#x"), false],
    ["a key that only contains the family", leading, keys("xaccess#user"), false],
    ["keys nobody can tell", leading, { "dynamodb:LeadingKeys": unbounded }, false],
    ["no such key in the request: AWS's ForAllValues is true of nothing", leading, {}, true],
    [
      "ForAnyValue with one match",
      on({ "ForAnyValue:StringEquals": { "aws:TagKeys": ["a"] } }),
      { "aws:TagKeys": ["b", "a"] },
      true,
    ],
    [
      "ForAnyValue with none",
      on({ "ForAnyValue:StringEquals": { "aws:TagKeys": ["a"] } }),
      { "aws:TagKeys": ["b"] },
      false,
    ],
    ["ForAnyValue without the key", on({ "ForAnyValue:StringEquals": { "aws:TagKeys": ["a"] } }), {}, false],
    [
      "StringEquals, case matters",
      on({ StringEquals: { "sts:ExternalId": "abc" } }),
      { "sts:ExternalId": "ABC" },
      false,
    ],
    [
      "StringEquals takes no wildcard",
      on({ StringEquals: { "sts:ExternalId": "a*" } }),
      { "sts:ExternalId": "abc" },
      false,
    ],
    [
      "StringEqualsIgnoreCase",
      on({ StringEqualsIgnoreCase: { "sts:ExternalId": "abc" } }),
      { "sts:ExternalId": "ABC" },
      true,
    ],
    [
      "the key's own case does not matter",
      on({ StringEquals: { "STS:externalid": "abc" } }),
      { "sts:ExternalId": "abc" },
      true,
    ],
    [
      "one of several values",
      on({ StringLike: { "sts:RoleSessionName": ["x", "sally-*"] } }),
      { "sts:RoleSessionName": "sally-ann" },
      true,
    ],
    ["StringEquals without the key", on({ StringEquals: { "sts:ExternalId": "abc" } }), {}, false],
    [
      "StringNotEquals with another value",
      on({ StringNotEquals: { "sts:ExternalId": "abc" } }),
      { "sts:ExternalId": "x" },
      true,
    ],
    [
      "StringNotEquals with that value",
      on({ StringNotEquals: { "sts:ExternalId": ["abc", "x"] } }),
      { "sts:ExternalId": "x" },
      false,
    ],
    ["StringNotEquals without the key", on({ StringNotEquals: { "sts:ExternalId": "abc" } }), {}, true],
    [
      "StringNotLike of keys nobody can tell",
      on({ "ForAllValues:StringNotLike": { "dynamodb:LeadingKeys": ["x"] } }),
      { "dynamodb:LeadingKeys": unbounded },
      false,
    ],
    ["IfExists without the key", on({ StringEqualsIfExists: { "sts:ExternalId": "abc" } }), {}, true],
    [
      "IfExists with another value",
      on({ StringEqualsIfExists: { "sts:ExternalId": "abc" } }),
      { "sts:ExternalId": "x" },
      false,
    ],
    ["Null true, absent", on({ Null: { "sts:ExternalId": "true" } }), {}, true],
    ["Null true, present", on({ Null: { "sts:ExternalId": "true" } }), { "sts:ExternalId": "x" }, false],
    ["Null false, present", on({ Null: { "sts:ExternalId": "false" } }), { "sts:ExternalId": "x" }, true],
    ["Bool", on({ Bool: { "aws:PrincipalTag/admin": "true" } }), { "aws:PrincipalTag/admin": "True" }, true],
    [
      "ArnLike",
      on({ ArnLike: { "aws:PrincipalArn": "arn:aws:iam::*:role/proxy-*" } }),
      { "aws:PrincipalArn": "arn:aws:iam::1:role/proxy-a" },
      true,
    ],
    [
      "ArnLike across a colon",
      on({ ArnLike: { "aws:PrincipalArn": "arn:aws:iam*:role/x" } }),
      { "aws:PrincipalArn": "arn:aws:iam::1:role/x" },
      false,
    ],
    [
      "a single-valued operator on several values",
      on({ StringEquals: { "aws:TagKeys": "a" } }),
      { "aws:TagKeys": ["a", "a"] },
      false,
    ],
    [
      "all operators together",
      on({ StringEquals: { "sts:ExternalId": "a" }, Null: { "sts:SourceIdentity": "true" } }),
      { "sts:ExternalId": "a" },
      true,
    ],
    [
      "one of them failing",
      on({ StringEquals: { "sts:ExternalId": "a" }, Null: { "sts:SourceIdentity": "false" } }),
      { "sts:ExternalId": "a" },
      false,
    ],
    [
      "a policy variable",
      on({ StringEquals: { "sts:RoleSessionName": "${aws:username}" } }),
      { "aws:username": "ann", "sts:RoleSessionName": "ann" },
      true,
    ],
    [
      "a policy variable without a value",
      on({ StringNotEquals: { "sts:RoleSessionName": "${aws:username}" } }),
      { "sts:RoleSessionName": "ann" },
      false,
    ],
    [
      "a star that came from a variable is a star",
      on({ StringLike: { "sts:RoleSessionName": "${aws:username}" } }),
      { "aws:username": "*", "sts:RoleSessionName": "ann" },
      false,
    ],
    ["an escaped star", on({ StringLike: { "sts:RoleSessionName": "a${*}" } }), { "sts:RoleSessionName": "ab" }, false],
  ])("%s", (_, statement, context, allowed) => {
    expect(allows([statement], asked(context))).toBe(allowed);
  });

  test("what is not known is an error, not a verdict", () => {
    expect(() => allows([on({ DateLessThan: { "aws:userid": "2030" } })], asked({}))).toThrow(/operator DateLessThan/);
    expect(() => allows([on({ "ForAllValues:Null": { "aws:userid": "true" } })], asked({}))).toThrow(/operator/);
    expect(() => allows([on({ toString: { "aws:userid": "x" } })], asked({}))).toThrow(/operator toString/);
    expect(() => allows([on({ StringEquals: { "aws:SourceVpc": "vpc-1" } })], asked({}))).toThrow(
      /condition key aws:SourceVpc/,
    );
    expect(() => allows([on({ "ForAllValues:StringEquals": { "dynamodb:Attributes": ["pk"] } })], asked({}))).toThrow(
      /condition key dynamodb:Attributes/,
    );
  });
});

test("patterns match in linear time", () => {
  const text = "a".repeat(20_000);
  expect(matches("*a*a*a*a*a*a*a*b", text)).toBe(false);
  expect(matches("*a*a*a", text)).toBe(true);
  expect(matchesArn("not-an-arn", "not-an-arn")).toBe(false);
});

test("rds-db:connect is judged per database and user, for the account's own identities", () => {
  const account = openAccount();
  account.addRole({
    name: "proxy",
    statements: [
      { actions: ["rds-db:connect"], resources: ["arn:aws:rds-db:eu-west-1:111122223333:dbuser:db-ORDERS/app"] },
    ],
  });
  const { identity } = account.session("proxy", { sessionName: "t" });
  const user = (path: string, accountId = "111122223333") => `arn:aws:rds-db:eu-west-1:${accountId}:dbuser:${path}`;
  expect(account.may(identity, "rds-db:connect", user("db-ORDERS/app"))).toBe(true);
  expect(account.may(identity, "rds-db:connect", user("db-ORDERS/admin"))).toBe(false);
  expect(account.may(identity, "rds-db:connect", user("db-OTHER/app"))).toBe(false);
  expect(account.may(identity, "rds-db:connect", user("db-ORDERS/app", "999999999999"))).toBe(false);
  expect(
    openAccount({ id: "999999999999" }).may(identity, "rds-db:connect", user("db-ORDERS/app", "999999999999")),
  ).toBe(false);
});

test("a session follows its role: other statements, and no role at all", () => {
  const account = openAccount();
  const role = account.addRole({ name: "r", statements: [{ actions: ["rds:*"], resources: ["*"] }] });
  const { identity, credentials } = account.session("r", { sessionName: "s" });
  expect(account.may(identity, "rds:DescribeDBInstances", "*")).toBe(true);
  account.attach(role.arn, []);
  expect(account.may(identity, "rds:DescribeDBInstances", "*")).toBe(false);
  account.remove(role.arn);
  expect(account.key(credentials.accessKeyId)).toBeUndefined();
});
