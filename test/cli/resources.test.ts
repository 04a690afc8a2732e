// Users, resources, locks and discovery, in-process, against an API that answers by the contract.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Document, Input } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { hour, makeWorld, now, type World } from "./world.ts";

let world: World;
let api: Api;
beforeEach(async () => {
  world = makeWorld();
  api = await serveApi({});
});
afterEach(async () => {
  await api.close();
  world.close();
});
const inputs = (route: string) => api.calls.filter((call) => call.route === route).map(({ input }) => input);
describe("users", () => {
  beforeEach(() => world.loggedIn(api.url));
  it("are added by an invite that is shown once, with the command to use it", async () => {
    api.answers.invite = ({ user }) => ({ invite: "sly_i_x", user, expiresAt: now + 24 * hour });
    const args = ["users", "add", "bo", "--roles", "dev-read,ops", "--db-users", "reader", "--db-names", "a,b"];
    const { status, stdout, stderr } = await world.run(args);
    expect([status, stdout]).toEqual([0, "invite for bo: sly_i_x\n"]);
    expect(stderr).toContain(`sally login --server ${api.url} --user bo --invite sly_i_x`);
    const traits = { db_users: ["reader"], db_names: ["a", "b"] };
    expect(inputs("invite")).toEqual([{ user: "bo", roles: ["dev-read", "ops"], traits }]);
  });
  it("are listed, reset and removed", async () => {
    const spec = { roles: ["dev-read"], state: "active", traits: { db_users: ["a", "b"] } } as const;
    api.answers.listResources = () => ({
      resources: [
        {
          kind: "user",
          version: "v1",
          metadata: { name: "bo", revision: 2 },
          spec: { ...spec, roles: [...spec.roles], traits: { db_users: [...spec.traits.db_users] } },
        },
      ],
    });
    api.answers.reset = ({ user }) => ({ invite: "sly_i_y", user, expiresAt: now + hour });
    api.answers.removeResource = () => ({});
    expect((await world.run(["users", "ls"])).stdout).toMatch(/bo +active +dev-read +db_users=a\|b\n/);
    expect((await world.run(["users", "reset", "bo", "-f", "json"])).stdout).toContain('"invite": "sly_i_y"');
    expect((await world.run(["users", "rm", "bo"])).stdout).toBe("user bo removed\n");
    expect(inputs("removeResource")).toEqual([{ kind: "user", name: "bo" }]);
  });
});

describe("resources", () => {
  const role = "kind: role\nversion: v7\nmetadata:\n  name: dev-read\nspec:\n  allow: {}\n";
  const lock = "kind: lock\nmetadata: { name: l1 }\nspec: { target: { user: bo } }\n";
  let stored: Map<string, Document>;
  beforeEach(() => {
    world.loggedIn(api.url);
    stored = new Map();
    api.answers.getResource = ({ kind, name }) => {
      const found = stored.get(`${kind}/${name}`);
      if (!found) throw new Failure("not_found", "no such resource");
      return found;
    };
    api.answers.putResource = ({ kind, name, document }: Input<"putResource">) => {
      const before = stored.get(`${kind}/${name}`)?.metadata.revision;
      if (document.metadata.revision !== before) throw new Failure("conflict", "somebody else changed it first");
      const after = { ...document, metadata: { ...document.metadata, revision: (before ?? 0) + 1 } } as Document;
      stored.set(`${kind}/${name}`, after);
      return after;
    };
    api.answers.listResources = ({ kind }) => ({
      resources: [...stored.values()].filter((document) => document.kind === kind),
    });
  });
  it("are created from several documents, in order", async () => {
    const { status, stdout } = await world.run(["create", "-f", "-"], { input: `${role}---\n# nothing\n---\n${lock}` });
    expect([status, stdout]).toEqual([0, "role dev-read created\nlock l1 created\n"]);
  });
  it("are created from a file", async () => {
    const file = join(world.folder, "role.yaml");
    writeFileSync(file, role);
    expect((await world.run(["create", "-f", file])).status).toBe(0);
    const gone = await world.run(["create", "-f", `${file}.gone`]);
    expect(gone).toMatchObject({ status: 2, stderr: expect.stringContaining("can't read") });
  });
  it("are not replaced unless told to, and then only as they were read", async () => {
    await world.run(["create", "-f", "-"], { input: role });
    const again = await world.run(["create", "-f", "-"], { input: role });
    expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining("hint: replace it with --force") });
    expect((await world.run(["create", "--force", "-f", "-"], { input: role })).stdout).toBe("role dev-read updated\n");
    expect((await world.run(["create", "--force", "-f", "-"], { input: lock })).stdout).toBe("lock l1 created\n");
    expect(stored.get("role/dev-read")?.metadata.revision).toBe(2);
    const stale = role.replace("name: dev-read", "name: dev-read\n  revision: 1");
    expect(await world.run(["create", "-f", "-"], { input: stale })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("somebody else"),
    });
  });
  it.each([
    ["a syntax error", `${role}---\nkind: [role\n`, /standard input:9: /],
    ["a duplicate key", "kind: role\nkind: lock\n", /standard input:2: /],
    ["no kind", "version: v7\n", /standard input:1: no kind/],
    ["an unknown kind", `${role}---\n\nkind: roles\n`, /standard input:9: unknown kind "roles"/],
    ["an unknown member", role.replace("spec:", "specs: {}\nspec:"), /standard input:1: .*specs/],
    ["a bad name", role.replace("dev-read", "-x"), /standard input:4: metadata\.name: /],
    ["a wrong version", role.replace("v7", "v99"), /standard input:2: version: /],
    [
      "a member that is missing",
      role.replace("  name: dev-read", "  description: x"),
      /standard input:4: metadata\.name: /,
    ],
    ["a list for a document", "- a\n", /standard input:1: no kind/],
    ["nothing", "# nothing\n", /holds no document/],
    [
      "an alias bomb",
      `a: &a [x,x,x,x,x,x,x,x,x,x]\n${"bcdefgh".replace(
        /./g,
        (k) =>
          `${k}: &${k} [${Array(9)
            .fill(`*${String.fromCharCode(k.charCodeAt(0) - 1)}`)
            .join(",")}]\n`,
      )}`,
      /alias/,
    ],
  ])("names the line of %s, and sends nothing", async (_, input, message) => {
    const { status, stderr } = await world.run(["create", "-f", "-"], { input });
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
    expect(api.calls).toEqual([]);
  });
  it("are printed in the form that create reads", async () => {
    await world.run(["create", "-f", "-"], { input: `${role}---\n${role.replace("dev-read", "ops")}` });
    const { stdout } = await world.run(["get", "roles"]);
    expect(stdout.split("---\n")).toHaveLength(2);
    expect((await world.run(["create", "-f", "-"], { input: stdout })).stdout).toBe(
      "role dev-read updated\nrole ops updated\n",
    );
    expect(JSON.parse((await world.run(["get", "role/ops", "-f", "json"])).stdout).metadata.name).toBe("ops");
    expect((await world.run(["get", "role", "-f", "text"])).stdout).toMatch(/role +ops +2\n/);
  });
  it("are removed by kind and name", async () => {
    api.answers.removeResource = () => ({});
    expect((await world.run(["rm", "role/ops"])).stdout).toBe("role ops removed\n");
    for (const reference of ["role", "role/", "thing/x", "constructor/x"])
      expect((await world.run(["rm", reference])).status).toBe(2);
    expect((await world.run(["get", "role/../users"])).status).toBe(2);
    expect((await world.run(["get", "role/gone"])).status).toBe(1);
  });
  it("lock one thing, for a time", async () => {
    const found = { kind: "rds", account: "111122223333", region: "eu-west-1", identifier: "orders" } as const;
    const name = "orders-rds-eu-west-1-111122223333";
    const there: readonly Document[] = [
      { kind: "user", version: "v1", metadata: { name: "bo" }, spec: { roles: [] } },
      { kind: "role", version: "v7", metadata: { name: "ops" }, spec: {} },
      { kind: "db", version: "v1", metadata: { name }, spec: found },
    ];
    for (const document of there) stored.set(`${document.kind}/${document.metadata.name}`, document);
    const locks = () => [...stored.values()].filter(({ kind }) => kind === "lock");
    const { status, stdout, stderr } = await world.run(["lock", "--user", "bo", "--ttl", "1h", "--message", "left"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^user bo is locked until \S+Z \(in 1h\)\n$/);
    const [document] = locks();
    expect(document?.spec).toEqual({
      target: { user: "bo" },
      message: "left",
      expires: new Date(now + hour).toISOString(),
    });
    expect(stderr).toContain(`sally rm lock/${document?.metadata.name}`);
    // by its short name, and stored by its whole one: no other would lock anything
    expect((await world.run(["lock", "--db", "orders"])).stdout).toBe(`database ${name} is locked\n`);
    await world.run(["lock", "--role", "ops"]);
    expect(locks().map(({ spec }) => "target" in spec && spec.target)).toEqual([
      { user: "bo" },
      { database: name },
      { role: "ops" },
    ]);
    // a misspelt name is an error, not a lock on nobody
    for (const misspelt of [
      ["--user", "bob"],
      ["--role", "opps"],
      ["--db", "order"],
    ] as const)
      expect((await world.run(["lock", ...misspelt])).status).toBe(1);
    const twin = { kind: "db", version: "v1", metadata: { name: "orders-rds-eu-west-2-111122223333" } } as const;
    stored.set("db/twin", { ...twin, spec: { ...found, region: "eu-west-2" } });
    expect((await world.run(["lock", "--db", "orders"])).status).toBe(2);
    expect(locks()).toHaveLength(3);
    expect((await world.run(["lock"])).status).toBe(2);
    expect((await world.run(["lock", "--user", "a", "--db", "b"])).status).toBe(2);
    expect((await world.run(["lock", "--user", "a", "--ttl", "soon"])).status).toBe(2);
  });
});

describe("discover", () => {
  const run = {
    listing: "rds eu-west-1",
    at: now,
    complete: true,
    found: 2,
    written: ["orders"],
    removed: [],
    warnings: ["w"],
  };
  beforeEach(() => world.loggedIn(api.url));
  it("says what was found and changed, or would be", async () => {
    api.answers.discover = () => ({ runs: [run] });
    const { status, stdout, stderr } = await world.run(["discover", "--dry-run"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Listing +Found +Would write +Would remove\nrds eu-west-1 +2 +orders\n$/);
    expect(stderr).toBe("warning: rds eu-west-1: w\n");
    expect(inputs("discover")).toEqual([{ dryRun: true }]);
  });
  it("fails when a listing failed", async () => {
    api.answers.discover = () => ({ runs: [{ ...run, complete: false, error: "AccessDenied" }] });
    expect(await world.run(["discover"])).toMatchObject({ status: 1, stderr: expect.stringContaining("AccessDenied") });
  });
});
