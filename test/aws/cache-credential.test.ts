// What logs in to a cache: a managed user's password, an IAM token, or nothing of ours, in this order.
import type { Credential } from "@sallyport/core/credential";
import type { FindManaged } from "@sallyport/core/managed-password";
import { statementsFor } from "@sallyport/core/permission";
import { secret } from "@sallyport/core/secret";
import { verifyToken } from "@sallyport/local/signature";
import { describe, expect, it } from "vitest";
import {
  addUsers,
  arnOf,
  type CacheKind,
  cacheDatabase,
  cacheKinds,
  laptop,
  now,
  open,
  pass,
  place,
  serviceOf,
  userArn,
  users,
  without,
} from "./cache-world.ts";
import { accountId, deployment, failureOf, region } from "./kinds-world.ts";

const ana = { user: "ana" };
const iam = (id = "app") => ({ id, type: "iam" as const });
const asked = () => laptop.endpoint.calls().filter(({ operation }) => operation === "DescribeUsers");
const verify = (kind: CacheKind, credential: Credential, user = "app", host = "orders") => {
  if (credential.as !== "password") return expect.unreachable("no password");
  return verifyToken({
    token: credential.password.reveal(),
    service: serviceOf(kind),
    host,
    region,
    expect: {
      Action: "connect",
      User: user,
      ...(kind === "elasticache-serverless" && { ResourceType: "ServerlessCache" }),
    },
    credentials: (id) => laptop.accounts.map((account) => account.key(id)).find((key) => key !== undefined),
    now: now(),
  });
};

describe.each(cacheKinds)("%s", (kind) => {
  const log = (over: Parameters<typeof cacheDatabase>[1] = {}, user = "app", kinds = open(kind, "proxy")) =>
    kinds.credential(cacheDatabase(kind, over), user, ana);

  it("a user of IAM logs in by a token that AWS takes, with exactly the proxies' permissions", async () => {
    addUsers(kind, "people", iam());
    const credential = await log();
    expect(credential).toMatchObject({ as: "password", user: "app", methods: "clear" });
    expect(`${credential.as === "password" && credential.password}`).toBe("[secret]");
    expect(verify(kind, credential).arn).toBe(`arn:aws:iam::${accountId}:user/proxy-${kind}`);
    if (credential.as === "password") expect(credential.password.reveal()).not.toContain("http");
    const connect = statementsFor("proxy", deployment, [kind]).flatMap(({ actions }) => actions);
    expect(connect).toContain(`${serviceOf(kind)}:Connect`);
  });

  it("says which policy and which group it may lack, where the cache refuses the token", async () => {
    addUsers(kind, "people", iam());
    const { help } = (await log()) as { help?: string };
    const statement = {
      Effect: "Allow",
      Action: `${serviceOf(kind)}:Connect`,
      Resource: [arnOf(kind, "orders"), userArn(kind, "app")],
    };
    expect(help).toContain(JSON.stringify(statement));
    expect(help).toContain(kind === "memorydb" ? "in an ACL of orders" : "in a user group of orders");
  });

  it("names of caches are signed in lower case", async () => {
    addUsers(kind, "people", iam());
    expect(verify(kind, await log({ identifier: "Orders" })).region).toBe(region);
  });

  it("a token is used for ten minutes, and AWS is asked about a user once in five by many", async () => {
    addUsers(kind, "people", iam());
    const kinds = open(kind, "proxy");
    const [first, second] = await Promise.all([log({}, "app", kinds), log({}, "app", kinds)]);
    expect(asked()).toHaveLength(1);
    expect(second).toMatchObject({ password: first.as === "password" && first.password });
    pass(4 * 60_000);
    expect(await log({}, "app", kinds)).toMatchObject({ password: first.as === "password" && first.password });
    expect(asked()).toHaveLength(1);
    pass(7 * 60_000);
    const later = await log({}, "app", kinds);
    expect(
      later.as === "password" && first.as === "password" && later.password.reveal() === first.password.reveal(),
    ).toBe(false);
    expect(asked()).toHaveLength(2);
  });

  it.each([
    ["is not there", "ghost", "has no user with the id"],
    ["logs in by password", "typist", "logs in by password, not by IAM"],
  ])("a user who %s gets nothing of ours, with what to do", async (_, user, why) => {
    addUsers(kind, "people", { id: "typist", type: "password", passwords: [secret("0123456789abcdef")] });
    const credential = await log({}, user);
    expect(credential).toMatchObject({ as: "none", user, help: expect.stringContaining(why) });
    const help = credential.as === "none" ? (credential.help ?? "") : "";
    expect(help).toContain("--authentication-mode Type=iam");
    expect(help).toContain(userArn(kind, user));
    expect(help).toContain("own_auth");
  });

  it("a user that was made one of IAM is let in half a minute later", async () => {
    const kinds = open(kind, "proxy");
    expect((await log({}, "app", kinds)).as).toBe("none");
    addUsers(kind, "people", iam());
    pass(31_000);
    expect((await log({}, "app", kinds)).as).toBe("password");
  });

  it("the server's default user needs nothing, and nobody is asked about it", async () => {
    expect(await log({}, "default")).toMatchObject({ as: "none", user: "default" });
    expect(asked()).toEqual([]);
  });

  it.each([
    ["redis", "6.2.6", "none"],
    ["redis", "7.0.7", "password"],
    ["redis", "7.1", "password"],
    ["valkey", "7.2.6", "password"],
    ["valkey", "8", "password"],
    ["redis", "7", "password"],
    ["redis", "", "password"],
    ["somethingelse", "1.0", "password"],
  ])("%s %s is logged in to by %s", async (engine, version, as) => {
    addUsers(kind, "people", iam());
    const credential = await log({ labels: { engine, "engine-version": version } });
    expect(credential.as).toBe(as);
    if (credential.as === "none")
      expect(credential.help).toContain(`${engine} ${version} takes no IAM token, as 7.0 and later do`);
  });

  it("says which permission is missing to ask about a user", async () => {
    const action = `${serviceOf(kind)}:DescribeUsers`;
    const failure = await failureOf(
      log({}, "app", open(kind, "proxy", { statements: without(kind, "proxy", action) })),
    );
    expect([failure.code, failure.hint]).toEqual(["denied", expect.stringContaining(`"Action":"${action}"`)]);
  });

  it("an answer that did not come is not remembered", async () => {
    addUsers(kind, "people", iam());
    const kinds = open(kind, "proxy");
    laptop.endpoint.fault.fail({
      service: serviceOf(kind),
      operation: "DescribeUsers",
      code: "InternalFailure",
      status: 500,
      times: 3,
    });
    expect((await failureOf(log({}, "app", kinds))).code).toBe("unavailable");
    expect((await log({}, "app", kinds)).as).toBe("password");
  });

  it("in another account a token is the person's own", async () => {
    addUsers(kind, "people", iam());
    const theirs = { ...deployment, account: "444455556666" };
    laptop.accounts[1]!.addRole({
      name: "reach",
      trust: [{ principals: [accountId] }],
      statements: statementsFor("proxy", theirs, [kind]),
    });
    users.addUser({ ...place(kind), accountId: "444455556666" }, iam());
    const assume = { roleArn: "arn:aws:iam::444455556666:role/reach" };
    const credential = await log({ account: "444455556666", assume });
    expect(verify(kind, credential).arn).toBe("arn:aws:sts::444455556666:assumed-role/reach/sally-ana");
  });

  it("S-35 nothing is asked or made for a host that is not the service's own", async () => {
    addUsers(kind, "people", iam());
    const { host } = cacheDatabase(kind).endpoint;
    const kinds = open(kind, "proxy", { managed: () => expect.unreachable("nobody looks for a password") });
    const odd = [
      ...[`${host}.evil.example`, `${host}.`, host.toUpperCase(), "evil.example", "", "localhost", "127.0.0.1"],
      ...[
        host.replace("eu-west-1", "us-east-1").replace("euw1", "use1"),
        `${host}.cn`,
        "orders.abc.eu-west-1.rds.amazonaws.com",
      ],
      ...[host.replace(/^[^.]+\.(.*)$/, "x/$1"), "169.254.169.254", "[::ffff:a9fe:a9fe]"],
      kind === "memorydb" ? ".memorydb.eu-west-1.amazonaws.com" : ".euw1.cache.amazonaws.com",
      kind === "memorydb" ? "x.y.euw1.cache.amazonaws.com" : "x.y.memorydb.eu-west-1.amazonaws.com",
    ];
    for (const evil of odd)
      for (const member of ["host", "verifyName"]) {
        const endpoint = { ...cacheDatabase(kind).endpoint, [member]: evil };
        const failure = await failureOf(log({ endpoint }, "app", kinds));
        expect([member, evil, failure.code]).toEqual([member, evil, "upstream_untrusted"]);
      }
    for (const partition of ["aws-cn", "aws-mars", "constructor", ""])
      expect((await failureOf(log({ partition }, "app", kinds))).code).toBe("upstream_untrusted");
    expect(asked()).toEqual([]);
  });

  describe("a managed user", () => {
    const rotated = (current?: string, previous?: string) => {
      const reads: string[] = [];
      const give = (stage: string, value?: string) => async () => {
        reads.push(stage);
        return value === undefined ? undefined : secret(value);
      };
      const managed: FindManaged = async (service, { arn }, user) => {
        reads.push(`${service} ${arn} ${user}`);
        return user === "app" ? { current: give("current", current), previous: give("previous", previous) } : undefined;
      };
      return { managed, reads };
    };

    it("comes before IAM, and its password is read afresh at each login, the one before it only when asked for", async () => {
      addUsers(kind, "people", iam());
      const { managed, reads } = rotated("now", "before");
      const kinds = open(kind, "proxy", { managed });
      const credential = await log({}, "app", kinds);
      if (credential.as !== "password") return expect.unreachable("no password");
      expect([credential.user, credential.methods, credential.password.reveal()]).toEqual(["app", "clear", "now"]);
      expect(reads).toEqual([`${serviceOf(kind)} ${arnOf(kind, "orders")} app`, "current"]);
      expect((await credential.previous?.())?.reveal()).toBe("before");
      expect(credential.help).toContain("sally rotate app");
      await log({}, "app", kinds);
      expect(reads.filter((read) => read === "current")).toHaveLength(2);
      expect(asked()).toEqual([]);
      expect(JSON.stringify(credential)).not.toMatch(/now|before/);
    });

    it("without a password yet is told to wait, and nothing else is tried", async () => {
      addUsers(kind, "people", iam());
      const failure = await failureOf(log({}, "app", open(kind, "proxy", { managed: rotated().managed })));
      expect([failure.code, failure.message]).toEqual(["unavailable", "rotation has not set a password of app yet"]);
      expect(asked()).toEqual([]);
    });

    it("is another than the user beside it, who logs in by IAM", async () => {
      addUsers(kind, "people", iam("other"));
      const credential = await log({}, "other", open(kind, "proxy", { managed: rotated("now").managed }));
      expect(verify(kind, credential, "other").region).toBe(region);
      expect(credential).not.toHaveProperty("previous");
    });

    it("that can't be looked up lets nobody in", async () => {
      addUsers(kind, "people", iam());
      const managed: FindManaged = () => Promise.reject(new Error("the table is away"));
      await expect(log({}, "app", open(kind, "proxy", { managed }))).rejects.toThrow("the table is away");
    });
  });
});

it("a user whose id is not its name can't log in by IAM", async () => {
  addUsers("elasticache", "people", { id: "app", name: "someone", type: "iam" });
  expect(await open("elasticache", "proxy").credential(cacheDatabase("elasticache"), "app", ana)).toMatchObject({
    as: "none",
    help: expect.stringContaining("the user with the id app is called someone: IAM needs both alike"),
  });
});
