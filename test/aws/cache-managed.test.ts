// Users whose passwords Sallyport keeps: which they are, how one stands, and the change of one, with exactly rotation's permissions.
import type { FoundUsers, Kind, Listing } from "@sallyport/core/kind";
import type { ManagedRef } from "@sallyport/core/managed";
import { managedTags, unmanagedWords } from "@sallyport/core/managed-tag";
import { statementsFor } from "@sallyport/core/permission";
import { type Secret, secret } from "@sallyport/core/secret";
import type { UserSpec } from "@sallyport/local/cache-user";
import { describe, expect, it } from "vitest";
import {
  addCache,
  addUsers,
  arnOf,
  type CacheKind,
  cacheKinds,
  elasticache,
  laptop,
  memorydb,
  open,
  pass,
  place,
  serviceOf,
  userArn,
  users,
  without,
} from "./cache-world.ts";
import { accountId, deployment, failureOf, region, where } from "./kinds-world.ts";

const passwords = (...values: string[]): readonly Secret[] => values.map((value) => secret(value.padEnd(16, "x")));
const typist = (
  id: string,
  tags: UserSpec["tags"] = { "sallyport/managed": "true" },
  more: Partial<UserSpec> = {},
): UserSpec => ({
  id,
  type: "password",
  passwords: passwords(`first-${id}`),
  tags,
  ...more,
});
const find = async (kind: Kind, listing: Listing = { region }): Promise<FoundUsers> => {
  const all: FoundUsers[] = [];
  for await (const page of kind.managedUsers?.(listing) ?? expect.unreachable("no users")) all.push(page);
  return {
    users: all.flatMap((page) => page.users),
    warnings: all.flatMap(({ warnings }) => warnings),
    ...(all.some(({ incomplete }) => incomplete) && { incomplete: true }),
  };
};
const names = async (kind: CacheKind) => (await find(open(kind, "rotate"))).users.map(({ id }) => id);
const refOf = (kind: CacheKind, id: string, user = id): ManagedRef => ({
  service: serviceOf(kind),
  arn: userArn(kind, id),
  account: accountId,
  region,
  id,
  user,
});
const stored = (kind: CacheKind, id: string) => users.user(place(kind), id);

describe.each(cacheKinds)("%s", (kind) => {
  const change = kind === "memorydb" ? "memorydb:UpdateUser" : "elasticache:ModifyUser";

  it("manages users that are tagged for it, log in by password and are let in by a cache", async () => {
    addUsers(
      kind,
      "people",
      typist("app"),
      typist("untagged", {}),
      { id: "token", type: "iam", tags: { "sallyport/managed": "true" } },
      { id: "open", type: "no-password", tags: { "sallyport/managed": "true" } },
    );
    addUsers(kind, "nobodys", typist("elsewhere"));
    addCache(kind, "orders", "people");
    const { users: found, warnings, incomplete } = await find(open(kind, "rotate"));
    expect([warnings, incomplete]).toEqual([[], undefined]);
    expect(found).toEqual([
      {
        service: serviceOf(kind),
        arn: userArn(kind, "app"),
        partition: "aws",
        account: accountId,
        region,
        id: "app",
        user: "app",
        caches: [{ arn: arnOf(kind, "orders"), endpoints: expect.any(Array) }],
      },
    ]);
    const asked = new Set(laptop.endpoint.calls().flatMap(({ actions = [] }) => actions));
    const may = statementsFor("rotate", deployment, [kind]).flatMap(({ actions }) => actions);
    expect(
      [...new Set(may)].filter((action) => /^(elasticache|memorydb):/.test(action) && action !== change).sort(),
    ).toEqual([...asked].sort());
  });

  it.each([
    ...managedTags.flatMap((tag) => ["true", "", "yes", "anything", "0"].map((value) => [tag, value, true] as const)),
    ...managedTags.flatMap((tag) => [...unmanagedWords, "FALSE", " No "].map((value) => [tag, value, false] as const)),
    ["sallyport/managedx", "true", false] as const,
  ])("reads the tag %s=%s as %s", async (tag, value, managed) => {
    addUsers(kind, "people", typist("app", { [tag]: value }));
    addCache(kind, "orders", "people");
    expect(await names(kind)).toEqual(managed ? ["app"] : []);
  });

  it("finds a user once, with every cache that lets it in, and the endpoints by which AWS says they are reached", async () => {
    addUsers(kind, "people", typist("app"));
    for (const id of ["orders", "billing"]) addCache(kind, id, "people");
    addCache(kind, "foreign", "others");
    const [app, ...more] = (await find(open(kind, "rotate"))).users;
    expect(more).toEqual([]);
    expect(app?.caches.map(({ arn }) => arn).sort()).toEqual([arnOf(kind, "billing"), arnOf(kind, "orders")]);
    for (const { endpoints } of app?.caches ?? []) {
      expect(endpoints.length).toBe(kind === "elasticache" ? 2 : 1);
      for (const { host, verifyName, roots } of endpoints) expect([verifyName, roots]).toEqual([host, "amazon"]);
    }
  });

  it("pages to the end", async () => {
    addUsers(kind, "people", ...Array.from({ length: 120 }, (_, at) => typist(`app${at}`)));
    addCache(kind, "orders", "people");
    expect(await names(kind)).toHaveLength(120);
  });

  it("a user that is being changed stays what it was: whether it is tagged is not told", async () => {
    addUsers(kind, "people", typist("app"), typist("free", {}));
    addCache(kind, "orders", "people");
    for (const id of ["app", "free"]) users.changeUser(place(kind), id, { accessString: "on ~* +@read" });
    expect((await find(open(kind, "rotate"))).users.map(({ id, withheld }) => [id, withheld])).toEqual([
      ["app", true],
      ["free", true],
    ]);
    pass(10_000);
    expect(await names(kind)).toEqual(["app"]);
  });

  it("without the permission to read tags nobody begins to be managed, and nobody is missed", async () => {
    addUsers(kind, "people", typist("app"));
    addCache(kind, "orders", "people");
    const tags = kind === "memorydb" ? "memorydb:ListTags" : "elasticache:ListTagsForResource";
    const found = await find(open(kind, "rotate", { statements: without(kind, "rotate", tags) }));
    expect(found).toMatchObject({ users: [], incomplete: true });
    expect(found.warnings).toEqual([expect.stringContaining(`"Action":"${tags}"`)]);
  });

  it("leaves out caches that can't be logged in to, and users that only those let in", async () => {
    addUsers(kind, "people", typist("app"));
    addCache(kind, "orders", "people");
    const gone = kind === "memorydb" ? memorydb : elasticache;
    gone.setStatus(where, "orders", "deleting");
    expect(await names(kind)).toEqual([]);
    gone.setStatus(where, "orders", "snapshotting");
    expect(await names(kind)).toEqual(["app"]);
    const at = { Address: "orders.example.com", Port: 6379 };
    if (kind === "memorydb") memorydb.change(where, "orders", { ClusterEndpoint: at });
    else if (kind === "elasticache") elasticache.change(where, "orders", { ConfigurationEndpoint: at });
    else elasticache.change(where, "orders", { Endpoint: at });
    expect(await names(kind)).toEqual([]);
  });

  it("says which permission is missing to list users", async () => {
    addUsers(kind, "people", typist("app"));
    addCache(kind, "orders", "people");
    const action = `${serviceOf(kind)}:DescribeUsers`;
    const failure = await failureOf(find(open(kind, "rotate", { statements: without(kind, "rotate", action) })));
    expect([failure.code, failure.hint]).toEqual(["denied", expect.stringContaining(`"Action":"${action}"`)]);
  });

  describe("a change", () => {
    const apply = (id: string, list: readonly Secret[], kinds = open(kind, "rotate")) =>
      kinds.apply?.(refOf(kind, id), list) ?? Promise.reject(new Error("no change"));
    const state = (id: string) => open(kind, "rotate").userState?.(refOf(kind, id));

    it("replaces the whole list, and is done when the user is active again", async () => {
      addUsers(kind, "people", typist("app"));
      addCache(kind, "orders", "people");
      expect(await state("app")).toBe("active");
      await apply("app", passwords("one", "two"));
      expect(await state("app")).toBe("modifying");
      expect(stored(kind, "app")?.passwords.map((one) => one.reveal().slice(0, 3))).toEqual(["one", "two"]);
      pass(10_000);
      expect(await state("app")).toBe("active");
      await apply("app", passwords("three"));
      expect(stored(kind, "app")?.passwords).toHaveLength(1);
      expect(stored(kind, "app")?.type).toBe("password");
    });

    it("of a user that is being changed is refused, and comes through later", async () => {
      addUsers(kind, "people", typist("app"));
      addCache(kind, "orders", "people");
      await apply("app", passwords("one"));
      expect((await failureOf(apply("app", passwords("two")))).code).toBe("conflict");
      pass(10_000);
      await apply("app", passwords("two"));
    });

    it("of a user that is gone says so, and so does its state; one of IAM is told apart", async () => {
      addUsers(kind, "people", { id: "token", type: "iam" });
      expect([await state("ghost"), await state("token")]).toEqual(["gone", "iam"]);
      const anyone = [{ actions: [change], resources: ["*"] }];
      const failure = await failureOf(apply("ghost", passwords("one"), open(kind, "rotate", { statements: anyone })));
      expect(failure.code).toBe("not_found");
    });

    it.each(["Throttling", "ThrottlingException"])("that is throttled (%s) says so", async (code) => {
      addUsers(kind, "people", typist("app"));
      addCache(kind, "orders", "people");
      laptop.endpoint.fault.fail({
        service: serviceOf(kind),
        operation: change.split(":")[1] ?? "",
        code,
        status: 400,
        times: 1,
      });
      expect((await failureOf(apply("app", passwords("one")))).code).toBe("too_many");
    });

    it("that fails is not sent again: what came of it is looked at first", async () => {
      addUsers(kind, "people", typist("app"));
      addCache(kind, "orders", "people");
      laptop.endpoint.fault.fail({
        service: serviceOf(kind),
        operation: change.split(":")[1] ?? "",
        code: "InternalFailure",
        status: 500,
        times: 1,
      });
      expect((await failureOf(apply("app", passwords("one")))).code).toBe("unavailable");
      expect(laptop.endpoint.calls().filter(({ operation }) => operation === change.split(":")[1])).toHaveLength(1);
    });

    it.each<[string, UserSpec["tags"]]>([
      ["no tag", {}],
      ...managedTags.flatMap((tag) =>
        ["false", "No", "DISABLED"].map((value): [string, UserSpec["tags"]] => [`${tag}=${value}`, { [tag]: value }]),
      ),
    ])("S-44 of a user with %s is not allowed to rotation", async (_, tags) => {
      addUsers(kind, "people", typist("app", tags));
      addCache(kind, "orders", "people");
      const failure = await failureOf(apply("app", passwords("one")));
      expect([failure.code, failure.hint]).toEqual(["denied", expect.stringContaining(`"Action":"${change}"`)]);
      expect(stored(kind, "app")?.passwords[0]?.reveal()).toContain("first");
    });

    it("S-44 is rotation's alone", async () => {
      addUsers(kind, "people", typist("app"));
      addCache(kind, "orders", "people");
      for (const principal of ["discover", "proxy", "api", "enable"] as const)
        expect((await failureOf(apply("app", passwords("one"), open(kind, principal)))).code).toBe("denied");
    });
  });
});

it("a user that a replication group and a serverless cache let in is the same in both listings", async () => {
  addUsers("elasticache", "people", typist("app"));
  addUsers("elasticache", "robots", typist("bot"));
  addCache("elasticache", "orders", "people");
  addCache("elasticache-serverless", "sessions", "people");
  addCache("elasticache-serverless", "pages", "robots");
  const both = [arnOf("elasticache", "orders"), arnOf("elasticache-serverless", "sessions")];
  const seen = async (kind: CacheKind) =>
    (await find(open(kind, "rotate"))).users.map(({ id, caches }) => [id, caches.map(({ arn }) => arn).sort()]);
  expect(await seen("elasticache")).toEqual([["app", both]]);
  expect(await seen("elasticache-serverless")).toEqual([
    ["app", both],
    ["bot", [arnOf("elasticache-serverless", "pages")]],
  ]);
});

it("a user is found by its id and logs in by its name", async () => {
  addUsers("elasticache", "people", typist("app-1", undefined, { name: "app" }));
  addCache("elasticache", "orders", "people");
  expect((await find(open("elasticache", "rotate"))).users).toMatchObject([{ id: "app-1", user: "app" }]);
});

it("of a group without cluster mode each node is told by its own name: its reader endpoint leads to one replica at a time", async () => {
  addUsers("elasticache", "people", typist("app"));
  elasticache.addReplicationGroup(where, { id: "orders", userGroups: ["people"], replicas: 3 });
  const [app] = (await find(open("elasticache", "rotate"))).users;
  const hosts = app?.caches.flatMap(({ endpoints }) => endpoints.map(({ host }) => host.split(".")[0]));
  expect(hosts).toEqual(["orders-001", "orders-002", "orders-003", "orders-004"]);
});
