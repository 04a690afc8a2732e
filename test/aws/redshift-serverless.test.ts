// Redshift Serverless: what is found, and credentials in the name of a role and of a person.
import { openKinds } from "@sallyport/aws/kinds";
import type { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import { canonicalUser, notRole, roleArnOf } from "@sallyport/core/iam-role";
import type { Sighting } from "@sallyport/core/kind";
import { labelsOf, namesOf } from "@sallyport/core/naming";
import { statementsFor, userRoleStatements } from "@sallyport/core/permission";
import { openAccount } from "@sallyport/local/account";
import { openRedshiftServerless, type RedshiftServerless } from "@sallyport/local/services/redshift-serverless";
import { openSts, type Sts } from "@sallyport/local/services/sts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeDatabase } from "../core/make.ts";
import { accountId, deployment, failureOf, list, region, where } from "./kinds-world.ts";
import { type Laptop, openLaptop } from "./laptop.ts";

const kind = "redshift-serverless";
let laptop: Laptop;
let redshift: RedshiftServerless;
let sts: Sts;
let now: number;
beforeEach(async () => {
  now = Date.now();
  redshift = openRedshiftServerless(() => now);
  const accounts = [openAccount({ id: accountId }), openAccount({ id: "444455556666" })];
  sts = openSts(accounts);
  laptop = await openLaptop([redshift.api, sts], accounts);
});
afterEach(() => laptop[Symbol.asyncDispose]());

const open = (principal: "discover" | "proxy", statements = statementsFor(principal, deployment, [kind])) =>
  openKinds({ clock: { now: () => now }, connection: laptop.as(principal, statements) })[kind];

describe("discovery", () => {
  it("finds workgroups and their VPC endpoints, which have the workgroup's tags, labels and certificate", async () => {
    redshift.addWorkgroup(where, { name: "sales", namespace: "shop", tags: { env: "dev" }, port: 5440 });
    redshift.addEndpoint(where, { name: "from-office", workgroup: "sales", vpcId: "vpc-2" });
    const { sightings, warnings } = await list(open("discover"));
    const host = `sales.${accountId}.${region}.redshift-serverless.amazonaws.com`;
    expect(warnings).toEqual([]);
    expect(sightings).toMatchObject([
      {
        identifier: "sales",
        endpointType: "workgroup",
        endpoint: { host, port: 5440, verifyName: host, roots: "amazon" },
      },
      {
        identifier: "sales",
        suffix: "from-office",
        endpointType: "vpc-endpoint",
        vpcId: "vpc-2",
        tags: { env: "dev" },
      },
    ]);
    expect(sightings[1]?.endpoint).toMatchObject({ verifyName: host, port: 5440 });
    expect(sightings[1]?.endpoint?.host).toMatch(/^from-office-endpoint-/);
    expect(sightings.map((one) => namesOf(kind, one).names[0])).toEqual([
      `sales-redshift-serverless-${region}-${accountId}`,
      `sales-from-office-redshift-serverless-${region}-${accountId}`,
    ]);
    expect(labelsOf(kind, sightings[1] as Sighting, "cloud")).toMatchObject({
      workgroup: "sales",
      namespace: "shop",
      env: "dev",
    });
  });

  it("pages to the end", async () => {
    for (let count = 0; count < 130; count++) redshift.addWorkgroup(where, { name: `wg-${count}` });
    expect((await list(open("discover"))).sightings).toHaveLength(130);
  });

  it("keeps a workgroup that is being created as unavailable, and an unknown state as usable with a warning", async () => {
    redshift.addWorkgroup(where, { name: "fresh", status: "CREATING" });
    redshift.addWorkgroup(where, { name: "odd", fields: { status: "PONDERING" as "AVAILABLE" } });
    const { sightings, warnings } = await list(open("discover"));
    expect(sightings.map(({ status, reason }) => [status, reason])).toEqual([
      ["unavailable", "AWS says it is creating"],
      ["available", "its status pondering is not known here: it counts as usable"],
    ]);
    expect(warnings).toEqual(["odd: its status pondering is not known here: it counts as usable"]);
  });

  it("registers what may not be asked for its tags without them, and says so", async () => {
    redshift.addWorkgroup(where, { name: "sales", tags: { env: "dev" } });
    const statements = statementsFor("discover", deployment, [kind]).filter(
      ({ actions }) => !actions.includes("redshift-serverless:ListTagsForResource"),
    );
    const { sightings, warnings } = await list(open("discover", statements));
    expect(sightings[0]?.tags).toEqual({});
    expect(warnings[0]).toContain('"Action":"redshift-serverless:ListTagsForResource"');
  });

  it("says which permission is missing", async () => {
    const failure = await failureOf(list(open("discover", [])));
    expect(failure.hint).toContain('"Action":"redshift-serverless:ListWorkgroups"');
  });

  it("S-35 an endpoint that is not the service's own is not registered as one", async () => {
    redshift.addWorkgroup(where, {
      name: "bent",
      fields: { endpoint: { address: "bent.example.com", port: 5439, vpcEndpoints: [] } },
    });
    const { sightings } = await list(open("discover"));
    expect(sightings).toMatchObject([{ status: "unsupported", reason: expect.stringContaining("bent.example.com") }]);
    expect(sightings[0]?.endpoint).toBeUndefined();
  });
});

describe("credentials", () => {
  const host = `sales.${accountId}.${region}.redshift-serverless.amazonaws.com`;
  const database = (over: Partial<Database> = {}): Database =>
    makeDatabase({
      kind,
      endpoint: { host, port: 5439, verifyName: host, roots: "amazon" },
      identifier: "sales",
      workgroup: { name: "sales", namespace: "shop" },
      ...over,
    });
  const addRole = (name: string, over: Parameters<(typeof laptop.accounts)[0]["addRole"]>[0] | object = {}) =>
    laptop.accounts[0]!.addRole({
      name,
      tags: { sallyport: "database-user" },
      trust: [{ principals: [accountId], actions: ["sts:AssumeRole", "sts:SetSourceIdentity"] }],
      statements: userRoleStatements(kind, deployment),
      ...over,
    });
  beforeEach(() => {
    redshift.addWorkgroup(where, { name: "sales" });
  });
  const asked = () => laptop.endpoint.calls().filter(({ operation }) => operation === "GetCredentials");

  it.each(["analyst", `arn:aws:iam::${accountId}:role/analyst`])(
    "as %s: the role's own, in the person's name",
    async (user) => {
      addRole("analyst");
      const credential = await open("proxy").credential(database(), user, { user: "ana" }, "dev");
      expect(credential).toMatchObject({ as: "password", user: "IAMR:analyst", methods: "challenge" });
      expect(redshift.temporary(where, "sales")).toMatchObject([{ user: "IAMR:analyst", database: "dev" }]);
      expect(asked().map(({ arn }) => arn)).toEqual([`arn:aws:sts::${accountId}:assumed-role/analyst/sally-ana`]);
      expect(sts.assumptions()).toMatchObject([{ sessionName: "sally-ana", sourceIdentity: "sally-ana" }]);
      expect(`${credential.as === "password" && credential.password}`).toBe("[secret]");
      expect(credential).toMatchObject({
        help: expect.stringContaining('CREATE USER "IAMR:analyst" PASSWORD DISABLE; GRANT'),
      });
    },
  );

  it("are kept per person, role, workgroup and name, asked for once by many, and dropped five minutes before their end", async () => {
    addRole("analyst");
    const proxy = open("proxy");
    const ask = (person: string, name: string) => proxy.credential(database(), "analyst", { user: person }, name);
    await Promise.all([ask("ana", "dev"), ask("ana", "dev"), ask("ana", "dev")]);
    expect(asked()).toHaveLength(1);
    await ask("bo", "dev");
    await ask("ana", "prod");
    expect(asked().map(({ arn }) => arn?.split("/").at(-1))).toEqual(["sally-ana", "sally-bo", "sally-ana"]);
    now += 10 * 60_000 - 1000;
    await ask("ana", "dev");
    expect(asked()).toHaveLength(3);
    now += 2000;
    await ask("ana", "dev");
    expect(asked()).toHaveLength(4);
    proxy.forget?.();
    await ask("ana", "dev");
    expect(asked()).toHaveLength(5);
  });

  it("name the custom domain instead of the workgroup where there is one", async () => {
    addRole("analyst");
    redshift.change(where, "sales", { customDomainName: "dwh.example.com" });
    const of = database({ workgroup: { name: "elsewhere", customDomain: "dwh.example.com" } });
    expect(await open("proxy").credential(of, "analyst", { user: "ana" })).toMatchObject({ user: "IAMR:analyst" });
  });

  it.each([
    "IAM:analyst",
    "IAMR:analyst",
    "arn:aws:iam::444455556666:role/analyst",
    "arn:aws-cn:iam::111122223333:role/a",
    "",
  ])("%s is no name of a role here", async (user) => {
    const failure = await failureOf(open("proxy").credential(database(), user, { user: "ana" }));
    expect(failure.message).toContain("expecting name or ARN of an AWS IAM role");
    expect(asked()).toEqual([]);
  });

  it("a role that may not ask for them is named with the statement it lacks", async () => {
    const { arn } = addRole("analyst", { statements: [] });
    const failure = await failureOf(open("proxy").credential(database(), "analyst", { user: "ana" }));
    expect([failure.code, failure.hint]).toEqual(["denied", expect.stringContaining(`add to the policy of ${arn}`)]);
    expect(failure.hint).toContain("redshift-serverless:GetCredentials");
  });

  it("a role that may not be assumed is answered with both halves of the trust and the line that tries it", async () => {
    const { arn } = addRole("analyst", { trust: [] });
    const failure = await failureOf(open("proxy").credential(database(), "analyst", { user: "ana" }));
    expect(failure.code).toBe("denied");
    expect(failure.hint).toContain(`the trust policy of ${arn} needs`);
    expect(failure.hint).toContain(`aws sts assume-role --role-arn ${arn} --role-session-name sally-ana`);
  });

  it("too many at once are waited for, and then said to be too many; nothing of it is kept", async () => {
    addRole("analyst");
    const proxy = open("proxy");
    const throttle = (times: number) =>
      laptop.endpoint.fault.fail({
        service: kind,
        operation: "GetCredentials",
        code: "ThrottlingException",
        status: 400,
        times,
      });
    throttle(1);
    expect(await proxy.credential(database(), "analyst", { user: "ana" }, "a")).toMatchObject({ user: "IAMR:analyst" });
    throttle(3);
    const failure = await failureOf(proxy.credential(database(), "analyst", { user: "ana" }, "b"));
    expect([failure.code, failure.hint]).toEqual(["too_many", "try again in a minute"]);
    expect(await proxy.credential(database(), "analyst", { user: "ana" }, "b")).toMatchObject({ user: "IAMR:analyst" });
  });

  it.each([
    { host: "sales.example.com" },
    { verifyName: "sales.example.com" },
    { host: "x.abc.eu-west-1.rds.amazonaws.com" },
  ])("S-35 nothing is asked for a host that is not Redshift's own: %o", async (odd) => {
    addRole("analyst");
    const { endpoint } = database();
    const failure = await failureOf(
      open("proxy").credential(database({ endpoint: { ...endpoint, ...odd } }), "analyst", { user: "ana" }),
    );
    expect(failure).toBeInstanceOf(Failure);
    expect([failure.code, asked()]).toEqual(["upstream_untrusted", []]);
  });
});

describe("a role's two names", () => {
  const home = { kind, partition: "aws", account: accountId } as const;
  it("are one user, in the database's own partition and account alone", () => {
    const arn = `arn:aws:iam::${accountId}:role/team/analyst`;
    expect(roleArnOf(home, "team/analyst")).toBe(arn);
    expect([canonicalUser(home, "team/analyst"), canonicalUser(home, arn)]).toEqual([arn, arn]);
    expect(roleArnOf(home, arn.replace(accountId, "444455556666"))).toBeUndefined();
    expect(canonicalUser({ ...home, kind: "rds" }, "analyst")).toBe("analyst");
  });
  it("IAM: and IAMR: are refused in AWS's words", () => {
    for (const user of ["IAM:a", "IAMR:a"])
      expect(notRole(home, user)).toContain("expecting name or ARN of an AWS IAM role");
    expect(notRole({ ...home, kind: "rds" }, "IAM:a")).toBeUndefined();
  });
});
