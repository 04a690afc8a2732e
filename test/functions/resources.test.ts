import type { Document, ResourceKind } from "@sallyport/core/api";
import { keys } from "@sallyport/core/family";
import { describe, expect, it } from "vitest";
import { hour, makeLock } from "../core/make.ts";
import { makeUser, openWorld } from "./world.ts";

const role = (name: string, over: object = {}, version = "v7"): Document =>
  ({
    kind: "role",
    version,
    metadata: { name },
    spec: { allow: { db_labels: { env: "dev" }, db_users: ["reader"], db_names: ["orders"] } },
    ...over,
  }) as Document;
const user = (name: string, spec: object, revision?: number): Document =>
  ({
    kind: "user",
    version: "v1",
    metadata: { name, ...(revision === undefined ? {} : { revision }) },
    spec: { roles: [], ...spec },
  }) as Document;
const lock = (name: string, spec: object): Document =>
  ({ kind: "lock", version: "v1", metadata: { name }, spec }) as Document;
const db = (name: string): Document => ({
  kind: "db",
  version: "v1",
  metadata: { name },
  spec: { kind: "rds", account: "111122223333", region: "eu-west-1", identifier: name, labels: { env: "dev" } },
});
const discovery = (name: string): Document => ({
  kind: "discovery_config",
  version: "v1",
  metadata: { name },
  spec: { aws: [{ types: ["rds"], regions: ["eu-west-1"], tags: { "*": ["*"] } }] },
});

const open = async () => {
  const world = openWorld();
  const root = await world.loginAs(makeUser("root", ["admin"]));
  return {
    ...world,
    root,
    put: (document: Document, token = root) =>
      world.call("putResource", { kind: document.kind, name: document.metadata.name, document }, token),
    get: (kind: ResourceKind, name: string) => world.call("getResource", { kind, name }, root),
    list: async (kind: ResourceKind) => (await world.call("listResources", { kind }, root)).body.resources,
    remove: (kind: ResourceKind, name: string, token = root) => world.call("removeResource", { kind, name }, token),
    store: world.put,
  };
};

describe.each<[ResourceKind, Document, boolean, string, string]>([
  ["role", role("one"), true, "role.change", "role.remove"],
  ["user", user("one", {}), true, "user.change", "user.remove"],
  ["lock", lock("one", { target: { user: "ana" } }), true, "lock.create", "lock.remove"],
  ["db", db("one"), false, "database.change", "database.remove"],
  ["discovery_config", discovery("one"), false, "discovery_config.change", "discovery_config.remove"],
])("%s", (kind, document, access, changeEvent, removeEvent) => {
  it("is created, read, listed, changed against its revision and removed, each change recorded", async () => {
    const world = await open();
    const created = await world.put(document);
    expect(created.status).toBe(200);
    expect(created.body.metadata.revision).toBe(1);
    expect((await world.get(kind, "one")).body).toEqual(created.body);
    expect(await world.list(kind)).toContainEqual(created.body);
    const changed = { ...created.body, metadata: { ...created.body.metadata, description: "what for" } };
    const { body } = await world.put(changed);
    expect(body.metadata).toEqual({ name: "one", description: "what for", revision: 2 });
    expect((await world.remove(kind, "one")).status).toBe(200);
    expect((await world.get(kind, "one")).status).toBe(404);
    expect((await world.remove(kind, "one")).status).toBe(404);
    expect(world.events(changeEvent).length).toBe(2);
    expect(world.events(removeEvent)[0]).toMatchObject({ actor: "root", details: { name: "one", revision: 2 } });
    // three changes, three steps, where it can move a decision
    expect(world.epoch()).toBe(access ? 3 : 0);
  });
  it("is not overwritten by somebody who did not read it, and nothing is recorded then", async () => {
    const world = await open();
    const { body } = await world.put(document);
    const again = await world.put(document);
    expect([again.status, again.body.error.code]).toEqual([409, "conflict"]);
    await world.put(body);
    expect((await world.put(body)).status).toBe(409);
    expect((await world.put({ ...body, metadata: { name: "two", revision: 1 } })).status).toBe(409);
    expect(world.events(changeEvent).length).toBe(2);
  });
  it("of two changes at the same moment one wins", async () => {
    const world = await open();
    const { body } = await world.put(document);
    const both = await Promise.all([world.put(body), world.put(body)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
  });
  it("S-10 is put only under its own kind and name", async () => {
    const world = await open();
    const other = kind === "role" ? "user" : "role";
    for (const [at, name] of [
      [kind, "two"],
      [other, "one"],
    ] as const)
      expect((await world.call("putResource", { kind: at, name, document }, world.root)).status).toBe(400);
    expect(await world.list(kind)).toHaveLength(kind === "user" ? 1 : 0);
  });
  it("S-10 what is listed is what can be got", async () => {
    const world = await open();
    await world.put(document);
    await world.put({ ...document, metadata: { name: "two" } } as Document);
    for (const listed of await world.list(kind))
      expect((await world.get(kind, listed.metadata.name)).body).toEqual(listed);
  });
});

describe("roles", () => {
  it.each<[string, object, number]>([
    ["S-01 an unknown db_ field, which would deny nothing", { spec: { deny: { db_user: ["admin"] } } }, 400],
    ["S-01 a key * with another value", { spec: { allow: { db_labels: { "*": "dev" } } } }, 400],
    ["S-06 a regular expression RE2 does not know", { spec: { deny: { db_labels: { env: "^(?=x)$" } } } }, 400],
    ["S-06 a pattern over a kilobyte", { spec: { allow: { db_labels: { env: `^${"a".repeat(1024)}$` } } } }, 400],
    ["a label expression", { spec: { allow: { db_labels_expression: 'labels.env == "dev"' } } }, 422],
    ["a template", { spec: { deny: { db_users: ["{{internal.db_users}}"] } } }, 422],
    ["another version", { version: "v9" }, 400],
    ["a lock mode nobody knows", { spec: { options: { lock: "loose" } } }, 400],
  ])("%s is refused", async (_, over, status) => {
    const world = await open();
    expect((await world.put(role("r", over))).status).toBe(status);
    expect(await world.list("role")).toEqual([]);
  });
  it("are shown with their members in order, however they were written", async () => {
    const world = await open();
    await world.put(
      role("r", { spec: { options: {}, allow: { db_users: ["b", "a"], db_labels: { team: "x", env: "y" } } } }),
    );
    const spec = JSON.stringify((await world.list("role"))[0]?.spec);
    expect(spec).toBe('{"allow":{"db_labels":{"env":"y","team":"x"},"db_users":["b","a"]},"options":{}}');
  });
  it("S-01 the empty role is a role, and reaches nothing", async () => {
    const world = await open();
    await world.addDatabases({});
    expect((await world.put(role("empty", { spec: {} }))).status).toBe(200);
    const ana = await world.loginAs(makeUser("ana", ["empty"]));
    expect((await world.call("databases", {}, ana)).body.databases).toEqual([]);
  });
  it("the built-in one can't be written", async () => {
    const world = await open();
    expect((await world.put(role("admin"))).status).toBe(400);
  });
  it("held by somebody can't be removed, and who that is is said", async () => {
    const world = await open();
    await world.put(role("r"));
    await world.put(user("ana", { roles: ["r"] }));
    const { status, body } = await world.remove("role", "r");
    expect([status, body.error.details.users]).toEqual([409, ["ana"]]);
  });
  it("can't be given and removed at the same moment", async () => {
    const world = await open();
    await world.put(role("r"));
    const [given, removed] = await Promise.all([world.put(user("ana", { roles: ["r"] })), world.remove("role", "r")]);
    expect([given.status, removed.status].filter((status) => status === 200).length).toBe(1);
  });
  it("S-06 names alike to the eye are refused", async () => {
    const world = await open();
    for (const name of ["rо1e", "role ", "role.", "ｒole", "a..b", "constructor", "a/b", "a#b", "a:b"])
      expect((await world.put(role(name))).status).toBe(400);
  });
});

describe("users", () => {
  it("S-08 hold only roles that exist", async () => {
    const world = await open();
    const { status, body } = await world.put(user("ana", { roles: ["nosuch"] }));
    expect([status, body.error.message]).toEqual([400, "there is no role nosuch"]);
    expect((await world.call("invite", { user: "ana", roles: ["nosuch"] }, world.root)).status).toBe(400);
  });
  it("become active by an invitation only", async () => {
    const world = await open();
    expect((await world.put(user("ana", { state: "active" }))).status).toBe(400);
    const { body } = await world.put(user("ana", {}));
    expect(body.spec.state).toBe("invited");
    expect((await world.put(user("ana", { state: "active" }, 1))).status).toBe(400);
    expect((await world.put(user("ana", { state: "disabled" }, 1))).status).toBe(200);
    expect((await world.put(user("ana", { state: "active" }, 2))).status).toBe(400);
    await world.store([keys.password("ana"), { user: "ana", hash: "x", changedAt: 0 }]);
    expect((await world.put(user("ana", { state: "active" }, 2))).status).toBe(200);
    expect((await world.put(user("ana", { state: "invited" }, 3))).status).toBe(400);
  });
  it("can't be invited twice by the same name, in another case they are somebody else", async () => {
    const world = await open();
    expect((await world.call("invite", { user: "ana", roles: [] }, world.root)).status).toBe(200);
    expect((await world.call("invite", { user: "ana", roles: [] }, world.root)).status).toBe(409);
    expect((await world.call("invite", { user: "Ana", roles: [] }, world.root)).status).toBe(200);
  });
  it("S-10 show neither password nor token", async () => {
    const world = await open();
    const { body } = await world.call("invite", { user: "ana", roles: [] }, world.root);
    await world.call("acceptInvite", { invite: body.invite, password: "correct horse battery" });
    const listed = JSON.stringify(await world.list("user"));
    expect(listed).not.toContain("argon2");
    expect(listed).not.toContain("sly_");
    expect(Object.keys((await world.get("user", "ana")).body.spec).sort()).toEqual(["roles", "state", "traits"]);
  });
  it("S-08 a removed user's logins are refused and their password is gone", async () => {
    const world = await open();
    const ana = await world.loginAs(makeUser("ana", []));
    await world.store([keys.password("ana"), { user: "ana", hash: "x", changedAt: 0 }]);
    expect((await world.remove("user", "ana")).status).toBe(200);
    expect((await world.call("status", {}, ana)).status).toBe(401);
    expect(await world.table.get(keys.password("ana"))).toBeUndefined();
  });
});

describe("the last active administrator", () => {
  const tries: [string, (world: Awaited<ReturnType<typeof open>>) => Promise<{ status: number }>][] = [
    ["removed", (world) => world.remove("user", "root")],
    ["disabled", (world) => world.put(user("root", { roles: ["admin"], state: "disabled" }, 1))],
    ["stripped", (world) => world.put(user("root", { roles: [] }, 1))],
    ["reset", (world) => world.call("reset", { user: "root" }, world.root)],
    ["locked", (world) => world.put(lock("l", { target: { user: "root" } }))],
  ];
  it.each(tries)("can't be %s", async (_, attempt) => {
    const world = await open();
    await world.loginAs(makeUser("invited", ["admin"], { state: "invited" }));
    await world.loginAs(makeUser("locked", ["admin"]));
    await world.store([keys.lock("l9"), makeLock({ user: "locked" }, { name: "l9" })]);
    expect((await attempt(world)).status).toBe(409);
    expect((await world.call("status", {}, world.root)).status).toBe(200);
  });
  it.each(tries)("but one of two can be %s", async (_, attempt) => {
    const world = await open();
    await world.loginAs(makeUser("other", ["admin"]));
    expect((await attempt(world)).status).toBe(200);
  });
  it("of two who remove each other at once one stays", async () => {
    const world = await open();
    const other = await world.loginAs(makeUser("other", ["admin"]));
    const both = await Promise.all([world.remove("user", "other"), world.remove("user", "root", other)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
  });
  it("nor can the role be locked for everybody", async () => {
    const world = await open();
    expect((await world.put(lock("l", { target: { role: "admin" } }))).status).toBe(400);
  });
});

describe("locks", () => {
  it("S-08 deny from the next call on, and end when they are removed", async () => {
    const world = await open();
    const ana = await world.loginAs(makeUser("ana", []));
    await world.put(lock("l", { target: { user: "ana" }, message: "look into it" }));
    expect((await world.call("status", {}, ana)).status).toBe(403);
    await world.remove("lock", "l");
    expect((await world.call("status", {}, ana)).status).toBe(200);
  });
  it("S-50 expire by the clock, and are not made in the past", async () => {
    const world = await open();
    const at = (ms: number) => new Date(world.clock.now() + ms).toISOString();
    expect((await world.put(lock("l", { target: { user: "ana" }, expires: at(0) }))).status).toBe(400);
    const { body } = await world.put(lock("l", { target: { user: "ana" }, expires: at(hour) }));
    expect(body.spec.expires).toBe(at(hour));
  });
  it.each([{}, { target: {} }, { target: { user: "ana", role: "r" } }, { target: { host: "x" } }, { target: "ana" }])(
    "are about exactly one thing: not %j",
    async (spec) => {
      const world = await open();
      expect((await world.put(lock("l", spec))).status).toBe(400);
    },
  );
});

describe("databases", () => {
  it("found by discovery are listed with those put, without what nobody needs to see, and can't be put or removed", async () => {
    const world = await open();
    await world.addDatabases({ name: "orders", assume: { roleArn: "arn:aws:iam::1:role/r", externalId: "sesame" } });
    await world.put(db("mine"));
    const listed = await world.list("db");
    expect(listed.map(({ metadata }: Document) => metadata.name)).toEqual(["mine", "orders"]);
    expect(JSON.stringify(listed)).not.toContain("sesame");
    expect((await world.get("db", "orders")).body.spec.labels).toEqual({ env: "dev", team: "shop" });
    expect((await world.remove("db", "orders")).status).toBe(409);
    expect((await world.put(db("orders"))).status).toBe(409);
  });
  it("say why one that was found is not available", async () => {
    const world = await open();
    const reason = "IAM authentication is off".padEnd(600, "!");
    await world.addDatabases({ name: "orders", status: "unsupported", reason });
    const { description } = (await world.get("db", "orders")).body.metadata;
    expect(description).toBe(`unsupported: ${reason}`.slice(0, 500));
  });
  it("S-35 name an AWS object: an endpoint in the document is refused", async () => {
    const world = await open();
    const document = db("mine") as Document & { spec: object };
    for (const extra of [{ endpoint: { host: "evil.test", port: 5432 } }, { host: "evil.test" }])
      expect((await world.put({ ...document, spec: { ...document.spec, ...extra } } as Document)).status).toBe(400);
  });
});

describe("discovery", () => {
  it.each([{}, { dryRun: true }])("on request starts the function with %j", async (input) => {
    const world = await open();
    expect((await world.call("discover", input, world.root)).body).toEqual({ runs: [] });
    expect(world.runs).toEqual([{ dryRun: input.dryRun ?? false }]);
  });
});
