// AssumeRole with the real client: trust policies, external ids, tags, durations, and keys that really carry the role.
import {
  AssumeRoleCommand,
  type AssumeRoleCommandInput,
  GetCallerIdentityCommand,
  STSClient,
} from "@aws-sdk/client-sts";
import { type Credentials, openAccount, type Trust } from "@sallyport/local/account";
import { type Endpoint, openEndpoint } from "@sallyport/local/endpoint";
import { openSts } from "@sallyport/local/services/sts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const [home, other] = [openAccount({ id: "111122223333" }), openAccount({ id: "444455556666" })];
const target = "arn:aws:iam::111122223333:role/target";
const foreign = "arn:aws:iam::444455556666:role/foreign";
const mayAssume = [{ actions: ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"], resources: ["*"] }];
const all = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];
home.addRole({ name: "target" });
home.addRole({ name: "long", trust: [{ principals: ["111122223333"] }], maxSessionFor: 43_200_000 });
other.addRole({ name: "foreign" });
const caller = home.addUser({ name: "caller", statements: mayAssume });
const powerless = home.addUser({ name: "powerless" });
home.addRole({ name: "base", statements: mayAssume });

let endpoint: Endpoint;
beforeAll(async () => {
  endpoint = await openEndpoint({ accounts: [home, other], services: [openSts([home, other])] });
});
afterAll(() => endpoint.close());

const use = async <Answer>(credentials: Credentials, work: (client: STSClient) => Promise<Answer>): Promise<Answer> => {
  const client = new STSClient({ endpoint: endpoint.url, region: "eu-west-1", credentials, maxAttempts: 1 });
  try {
    return await work(client);
  } finally {
    client.destroy();
  }
};
const assume = (credentials: Credentials, input: Partial<AssumeRoleCommandInput> = {}) =>
  use(credentials, (client) =>
    client.send(new AssumeRoleCommand({ RoleArn: target, RoleSessionName: "sally-ann", ...input })),
  );
const keysOf = (answer: Awaited<ReturnType<typeof assume>>): Credentials => {
  const { AccessKeyId = "", SecretAccessKey = "", SessionToken = "" } = answer.Credentials ?? {};
  return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken };
};
const whoami = (credentials: Credentials) =>
  use(credentials, (client) => client.send(new GetCallerIdentityCommand({})));
const trusting = (...trust: Trust[]) => home.trust(target, trust);

test("the caller is who its keys say", async () => {
  expect(await whoami(caller.credentials)).toMatchObject({
    Account: "111122223333",
    Arn: "arn:aws:iam::111122223333:user/caller",
  });
});

test("assumed keys carry the role, and only with their session token", async () => {
  trusting({ principals: ["111122223333"] });
  const answer = await assume(caller.credentials);
  const keys = keysOf(answer);
  expect(answer.AssumedRoleUser?.Arn).toBe("arn:aws:sts::111122223333:assumed-role/target/sally-ann");
  expect(await whoami(keys)).toMatchObject({ Arn: "arn:aws:sts::111122223333:assumed-role/target/sally-ann" });
  const { accessKeyId, secretAccessKey } = keys;
  await expect(whoami({ accessKeyId, secretAccessKey })).rejects.toMatchObject({ name: "InvalidClientTokenId" });
});

describe("two doors", () => {
  test.each<[string, Trust[], "caller" | "powerless", boolean]>([
    ["nobody is trusted", [], "caller", false],
    [
      "the account is trusted, the caller may assume",
      [{ principals: ["arn:aws:iam::111122223333:root"] }],
      "caller",
      true,
    ],
    [
      "the account is trusted, the caller may not assume",
      [{ principals: ["arn:aws:iam::111122223333:root"] }],
      "powerless",
      false,
    ],
    [
      "the caller is trusted by name and needs no more",
      [{ principals: ["arn:aws:iam::111122223333:user/powerless"] }],
      "powerless",
      true,
    ],
    ["another user is trusted", [{ principals: ["arn:aws:iam::111122223333:user/else"] }], "caller", false],
    ["another account is trusted", [{ principals: ["999999999999"] }], "caller", false],
    ["anyone is trusted, the caller may assume", [{ principals: ["*"] }], "caller", true],
    ["a service is trusted", [{ principals: ["lambda.amazonaws.com"] }], "caller", false],
    ["another action is trusted", [{ principals: ["*"], actions: ["sts:TagSession"] }], "caller", false],
  ])("%s", async (_, trust, who, works) => {
    trusting(...trust);
    const attempt = assume((who === "caller" ? caller : powerless).credentials);
    if (works) expect((await attempt).Credentials?.SessionToken).toBeTruthy();
    else await expect(attempt).rejects.toMatchObject({ name: "AccessDenied", $metadata: { httpStatusCode: 403 } });
  });

  test("a refusal names both sides", async () => {
    trusting();
    await expect(assume(caller.credentials)).rejects.toThrow(
      `User: arn:aws:iam::111122223333:user/caller is not authorized to perform: sts:AssumeRole on resource: ${target}`,
    );
  });

  test("a role that is not there is refused like one that does not trust", async () => {
    await expect(assume(caller.credentials, { RoleArn: "arn:aws:iam::111122223333:role/none" })).rejects.toMatchObject({
      name: "AccessDenied",
    });
  });

  test("across accounts both doors are needed, even for a principal named outright", async () => {
    other.trust(foreign, [
      { principals: ["arn:aws:iam::111122223333:user/caller", "arn:aws:iam::111122223333:user/powerless"] },
    ]);
    const answer = await assume(caller.credentials, { RoleArn: foreign });
    expect(await whoami(keysOf(answer))).toMatchObject({ Account: "444455556666" });
    await expect(assume(powerless.credentials, { RoleArn: foreign })).rejects.toMatchObject({ name: "AccessDenied" });
  });
});

describe("conditions of trust", () => {
  test("an external id must be the one asked for", async () => {
    trusting({ principals: ["*"], conditions: { StringEquals: { "sts:ExternalId": "tenant-1" } } });
    expect((await assume(caller.credentials, { ExternalId: "tenant-1" })).Credentials).toBeDefined();
    await expect(assume(caller.credentials)).rejects.toMatchObject({ name: "AccessDenied" });
    await expect(assume(caller.credentials, { ExternalId: "tenant-2" })).rejects.toMatchObject({
      name: "AccessDenied",
    });
  });

  test("session names can be prescribed", async () => {
    trusting({ principals: ["*"], conditions: { StringLike: { "sts:RoleSessionName": "sally-*" } } });
    expect((await assume(caller.credentials)).Credentials).toBeDefined();
    await expect(assume(caller.credentials, { RoleSessionName: "other" })).rejects.toMatchObject({
      name: "AccessDenied",
    });
  });

  test("tags and a source identity need trust of their own", async () => {
    const tagged = { Tags: [{ Key: "team", Value: "a" }] };
    trusting({ principals: ["*"] });
    await expect(assume(caller.credentials, tagged)).rejects.toThrow(/sts:TagSession/);
    await expect(assume(caller.credentials, { SourceIdentity: "ann" })).rejects.toThrow(/sts:SetSourceIdentity/);
    trusting({ principals: ["*"], actions: all });
    expect((await assume(caller.credentials, { ...tagged, SourceIdentity: "ann" })).SourceIdentity).toBe("ann");
  });

  test("transitive tags and the source identity travel along the chain and cannot be changed", async () => {
    trusting({
      principals: ["*"],
      actions: all,
      conditions: { StringEquals: { "aws:PrincipalTag/team": "a", "aws:SourceIdentity": "ann" } },
    });
    home.addRole({ name: "hop", statements: mayAssume, trust: [{ principals: ["*"], actions: all }] });
    const hop = {
      RoleArn: "arn:aws:iam::111122223333:role/hop",
      SourceIdentity: "ann",
      Tags: [{ Key: "team", Value: "a" }],
      TransitiveTagKeys: ["team"],
    };
    const first = keysOf(await assume(caller.credentials, hop));
    const second = await assume(first);
    expect(second.SourceIdentity).toBe("ann");
    expect(home.key(second.Credentials?.AccessKeyId ?? "")?.identity.tags).toEqual({ team: "a" });
    await expect(assume(first, { SourceIdentity: "bob" })).rejects.toThrow(/SourceIdentity/);
    await expect(assume(first, { Tags: [{ Key: "Team", Value: "b" }] })).rejects.toThrow(/transitive/);
  });
});

describe("input", () => {
  test.each<[string, Partial<AssumeRoleCommandInput>, RegExp]>([
    ["too short a session", { DurationSeconds: 899 }, /greater than or equal to 900/],
    ["longer than the role allows", { DurationSeconds: 3601 }, /MaxSessionDuration/],
    ["longer than any role allows", { DurationSeconds: 43_201 }, /less than or equal to 43200/],
    ["a session name with a space", { RoleSessionName: "a b" }, /roleSessionName/],
    ["a session name too long", { RoleSessionName: "a".repeat(65) }, /roleSessionName/],
    ["no session name", { RoleSessionName: undefined }, /Value null at 'roleSessionName'/],
    ["an external id with a space", { ExternalId: "a b" }, /externalId/],
    ["a session policy, which is not emulated", { Policy: "{}" }, /session policies/],
  ])("%s is refused", async (_, input, message) => {
    trusting({ principals: ["*"] });
    await expect(assume(caller.credentials, input)).rejects.toThrow(message);
  });

  test("a chained session lasts an hour at most, whatever the role allows", async () => {
    const long = { RoleArn: "arn:aws:iam::111122223333:role/long", DurationSeconds: 7200 };
    const { credentials } = home.session("base", { sessionName: "lambda" });
    expect((await assume(caller.credentials, long)).Credentials).toBeDefined();
    await expect(assume(credentials, long)).rejects.toThrow(/1 hour session limit/);
    expect((await assume(credentials, { ...long, DurationSeconds: 3600 })).Credentials).toBeDefined();
  });
});

test("S-50 a session ends by the account's clock", async () => {
  const clock = { now: Date.now() };
  const account = openAccount({ now: () => clock.now });
  account.addRole({ name: "r" });
  const own = await openEndpoint({ accounts: [account], services: [openSts([account])], now: () => clock.now });
  const { credentials } = account.session("r", { sessionName: "s", lifetimeMs: 900_000 });
  const client = new STSClient({ endpoint: own.url, region: "eu-west-1", credentials, maxAttempts: 2 });
  try {
    expect((await client.send(new GetCallerIdentityCommand({}))).Arn).toContain("/s");
    clock.now += 900_000;
    await expect(client.send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({ name: "ExpiredToken" });
  } finally {
    client.destroy();
    await own.close();
  }
});
