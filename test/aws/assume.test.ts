import { hopsOf, openAssumedRoles, sessionName } from "@sallyport/aws/assume";
import { Failure } from "@sallyport/core/failure";
import { openAccount } from "@sallyport/local/account";
import { openSts, type Sts } from "@sallyport/local/services/sts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Laptop, openLaptop } from "./laptop.ts";

const region = "eu-west-1";
let laptop: Laptop;
let sts: Sts;
let now: number;
beforeEach(async () => {
  now = Date.now();
  const accounts = [openAccount({ id: "111122223333" }), openAccount({ id: "444455556666" })];
  sts = openSts(accounts);
  laptop = await openLaptop([sts], accounts);
});
afterEach(() => laptop[Symbol.asyncDispose]());

/** A role in the other account that our account may assume with this external id, and our way to it. */
const open = (externalId?: string) => {
  const { arn } = laptop.accounts[1]!.addRole({
    name: "reach",
    trust: [
      {
        principals: ["111122223333"],
        ...(externalId !== undefined && { conditions: { StringEquals: { "sts:ExternalId": externalId } } }),
      },
    ],
  });
  const connection = laptop.as("proxy", [{ actions: ["sts:AssumeRole"], resources: [arn] }]);
  return { arn, connection, roles: openAssumedRoles({ connection, clock: { now: () => now } }) };
};
const arnOf = (accessKeyId: string) =>
  laptop.accounts.map((account) => account.key(accessKeyId)?.identity.arn).find((found) => found !== undefined);
const assumptions = () => laptop.endpoint.calls().filter(({ operation }) => operation === "AssumeRole");

describe("assumed roles", () => {
  it("are those of the person, by name", async () => {
    const { arn, roles } = open("ext-1");
    const hops = hopsOf({ roleArn: arn, externalId: "ext-1" });
    const [ana, bo] = await Promise.all(["ana", "bo"].map((person) => roles.keys({ hops, person, region })));
    expect(arnOf(ana!.accessKeyId)).toBe("arn:aws:sts::444455556666:assumed-role/reach/sally-ana");
    expect(arnOf(bo!.accessKeyId)).toBe("arn:aws:sts::444455556666:assumed-role/reach/sally-bo");
  });

  it("are asked for once by many at a time, and kept until five minutes before they end", async () => {
    const { arn, roles } = open();
    const of = { hops: [{ roleArn: arn }], person: "ana", region };
    const all = await Promise.all(Array.from({ length: 5 }, () => roles.keys(of)));
    expect(new Set(all.map(({ accessKeyId }) => accessKeyId)).size).toBe(1);
    now = (all[0]?.expiration?.getTime() ?? 0) - 5 * 60_000 - 1;
    await roles.keys(of);
    expect(assumptions()).toHaveLength(1);
    now += 1;
    await roles.keys(of);
    expect(assumptions()).toHaveLength(2);
  });

  it("are kept apart by chain, external id, person and region, and forgotten with the person's access", async () => {
    const { arn, roles } = open();
    const of = { hops: [{ roleArn: arn }], person: "ana", region };
    await roles.keys(of);
    await roles.keys({ ...of, person: "bo" });
    await roles.keys({ ...of, region: "eu-west-2" });
    await roles.keys({ ...of, hops: [{ roleArn: arn, externalId: "ext-2" }] });
    expect(assumptions()).toHaveLength(4);
    roles.forget("ana");
    await roles.keys({ ...of, person: "bo" });
    expect(assumptions()).toHaveLength(4);
    await roles.keys(of);
    expect(assumptions()).toHaveLength(5);
  });

  it("follow a chain, each hop with the keys of the one before", async () => {
    const { arn, roles } = open("ext-1");
    const [, other] = laptop.accounts;
    const last = other!.addRole({ name: "analyst", trust: [{ principals: [arn] }] });
    const keys = await roles.keys({
      hops: hopsOf({ roleArn: arn, externalId: "ext-1" }, last.arn),
      person: "ana",
      region,
    });
    expect(arnOf(keys.accessKeyId)).toBe("arn:aws:sts::444455556666:assumed-role/analyst/sally-ana");
  });

  it("without a hop are the process's own", async () => {
    const { connection, roles } = open();
    expect(await roles.keys({ hops: [], person: "ana", region })).toEqual(await connection.keys?.());
  });

  it("a refusal is answered with both halves of the trust and a way to try, without the external id", async () => {
    const { arn, roles } = open("ext-1");
    const of = { hops: [{ roleArn: arn, externalId: "ext-wrong" }], person: "ana", region };
    const failure = await roles.keys(of).catch((thrown: unknown) => thrown);
    if (!(failure instanceof Failure)) throw new Error("no Failure");
    expect(failure.code).toBe("denied");
    expect(failure.hint?.split("\n")).toEqual([
      `the policy of arn:aws:iam::111122223333:user/proxy needs {"Effect":"Allow","Action":"sts:AssumeRole","Resource":"${arn}"}`,
      `the trust policy of ${arn} needs {"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/proxy"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"<external id>"}}}`,
      `try it as arn:aws:iam::111122223333:user/proxy: aws sts assume-role --role-arn ${arn} --role-session-name sally-ana --region eu-west-1 --external-id '<external id>'`,
    ]);
  });

  it("a failure is not kept: the next one asks again", async () => {
    const { arn, roles } = open();
    const of = { hops: [{ roleArn: arn }], person: "ana", region };
    laptop.endpoint.fault.fail({ service: "sts", code: "ServiceUnavailable", status: 503, times: 3 });
    await expect(roles.keys(of)).rejects.toMatchObject({ code: "unavailable" });
    expect(arnOf((await roles.keys(of)).accessKeyId)).toContain("sally-ana");
  });
});

describe("a person's own role", () => {
  const all = ["sts:AssumeRole", "sts:SetSourceIdentity"];
  const tagged = { StringEquals: { "iam:ResourceTag/sallyport": "database-user" } };
  /** Somebody who may assume the account's tagged roles, as proxies may. */
  const openHere = () => {
    const statements = [{ actions: all, resources: ["arn:aws:iam::111122223333:role/*"], conditions: tagged }];
    const connection = laptop.as("proxy", statements);
    return openAssumedRoles({ connection, clock: { now: () => now } });
  };
  const addRole = (name: string, actions: readonly string[] = all, tags = { sallyport: "database-user" }) =>
    laptop.accounts[0]!.addRole({ name, tags, trust: [{ principals: ["111122223333"], actions }] }).arn;

  it("two people on one role never share keys, and CloudTrail tells them apart", async () => {
    const roles = openHere();
    const hops = hopsOf(undefined, addRole("analyst"));
    const [ana, bo, again] = await Promise.all(
      ["ana", "bo", "ana"].map((person) => roles.keys({ hops, person, region })),
    );
    expect(ana!.accessKeyId).toBe(again!.accessKeyId);
    expect(ana!.accessKeyId).not.toBe(bo!.accessKeyId);
    expect(
      sts
        .assumptions()
        .map(({ sessionName, sourceIdentity, accessKeyId }) => [sessionName, sourceIdentity, accessKeyId]),
    ).toEqual(
      expect.arrayContaining([
        ["sally-ana", "sally-ana", ana!.accessKeyId],
        ["sally-bo", "sally-bo", bo!.accessKeyId],
      ]),
    );
    expect(sts.assumptions()).toHaveLength(2);
  });

  it("is assumed without a source identity where its trust policy takes none, and it is not asked twice", async () => {
    const roles = openHere();
    const hops = hopsOf(undefined, addRole("plain", ["sts:AssumeRole"]));
    await roles.keys({ hops, person: "ana", region });
    await roles.keys({ hops, person: "bo", region });
    expect(sts.assumptions().map(({ sessionName, sourceIdentity }) => [sessionName, sourceIdentity])).toEqual([
      ["sally-ana", undefined],
      ["sally-bo", undefined],
    ]);
    expect(assumptions()).toHaveLength(3);
  });

  it("without the tag is nobody's", async () => {
    const roles = openHere();
    const arn = addRole("untagged", all, { sallyport: "no" });
    const failure = await roles.keys({ hops: hopsOf(undefined, arn), person: "ana", region }).catch((thrown) => thrown);
    expect([failure.code, failure.hint]).toEqual([
      "denied",
      expect.stringContaining(`aws sts assume-role --role-arn ${arn}`),
    ]);
    expect(sts.assumptions()).toEqual([]);
  });

  it("the external id goes to the account's role alone, and everybody's keys are dropped together", async () => {
    const other = laptop.accounts[1]!;
    const reach = other.addRole({
      name: "reach",
      trust: [{ principals: ["111122223333"], conditions: { StringEquals: { "sts:ExternalId": "ext" } } }],
    });
    const last = other.addRole({ name: "analyst", trust: [{ principals: [reach.arn], actions: all }] });
    const connection = laptop.as("hopper", [{ actions: ["sts:AssumeRole"], resources: [reach.arn] }]);
    const roles = openAssumedRoles({ connection, clock: { now: () => now } });
    const of = { hops: hopsOf({ roleArn: reach.arn, externalId: "ext" }, last.arn), person: "ana", region };
    await roles.keys(of);
    expect(sts.assumptions().map(({ roleArn, externalId, by }) => [roleArn, externalId, by])).toEqual([
      [reach.arn, "ext", "arn:aws:iam::111122223333:user/hopper"],
      [last.arn, undefined, "arn:aws:sts::444455556666:assumed-role/reach/sally-ana"],
    ]);
    roles.forget();
    await roles.keys(of);
    expect(sts.assumptions()).toHaveLength(4);
  });
});

describe("hops", () => {
  const assume = { roleArn: "arn:aws:iam::444455556666:role/reach", externalId: "ext" };
  it("use the external id once, on the first", () => {
    expect(hopsOf(undefined)).toEqual([]);
    expect(hopsOf(assume)).toEqual([{ roleArn: assume.roleArn, externalId: "ext" }]);
    expect(hopsOf(assume, "user-role")).toEqual([
      { roleArn: assume.roleArn, externalId: "ext" },
      { roleArn: "user-role", externalId: undefined, personal: true },
    ]);
    expect(hopsOf(undefined, "user-role", "ext")).toEqual([
      { roleArn: "user-role", externalId: "ext", personal: true },
    ]);
  });
});

describe("session names", () => {
  it.each([
    ["ana", "sally-ana"],
    ["ana.b+c@d-e_f=g,h", "sally-ana.b+c@d-e_f=g,h"],
    ["x".repeat(58), `sally-${"x".repeat(58)}`],
  ])("%s is said as it is", (user, name) => expect(sessionName(user)).toBe(name));

  it("what is replaced or cut is told apart by a hash", () => {
    expect(sessionName("ana lee")).toMatch(/^sally-ana-lee=[0-9a-f]{8}$/);
    expect(sessionName("ana/lee")).not.toBe(sessionName("ana lee"));
    expect(sessionName("é")).toMatch(/^sally--=[0-9a-f]{8}$/);
    const long = sessionName("x".repeat(59));
    expect(long).toMatch(/^sally-x+=[0-9a-f]{8}$/);
    expect(long).toHaveLength(64);
    expect(long).not.toBe(sessionName("x".repeat(60)));
  });
});
