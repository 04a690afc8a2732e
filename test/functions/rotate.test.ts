// Managed users through the API: shown to administrators, changed by nobody, and rotated by hand through the function that does it.
import { keys } from "@sallyport/core/family";
import { type ManagedUser, managedKey, managedSecret, placeOf, type RotateAsked } from "@sallyport/core/managed";
import { openApi } from "@sallyport/functions/api";
import { describe, expect, it } from "vitest";
import { context, httpEvent, makeUser, openWorld } from "./world.ts";

const minute = 60_000;
const account = "111122223333";

/** `fresh`: no password was promoted yet. */
type Over = Partial<ManagedUser> & { readonly fresh?: true };
const managed = (now: number, { fresh, ...over }: Over = {}): ManagedUser => {
  const placed = { service: "elasticache", region: "eu-west-1", account, id: "app", ...over } as const;
  return {
    kind: "elasticache",
    arn: `arn:aws:elasticache:eu-west-1:${account}:user:${placed.id}`,
    partition: "aws",
    user: placed.id,
    secret: managedSecret("t", placed),
    caches: [{ arn: "arn:aws:elasticache:x", database: "sessions", endpoints: [] }],
    state: "current",
    fence: 3,
    revision: 9,
    nextDueAt: now + 5 * minute,
    ...(!fresh && { lastSuccessAt: now - 10 * minute }),
    failures: 0,
    budget: {
      scheduled: [0, now / minute - 25 * 60, now / minute - 30, now / minute - 15],
      spare: [now / minute - 60],
    },
    misses: 0,
    createdAt: now,
    ...placed,
  };
};

const open = async (...users: Over[]) => {
  const world = openWorld();
  const now = world.clock.now();
  for (const over of users) {
    const user = managed(now, over);
    await world.put(
      [keys.managedPlace(placeOf(user)), { place: placeOf(user), listedAt: now }],
      [managedKey(user), user],
    );
  }
  const root = await world.loginAs(makeUser("root", ["admin"]));
  const ana = await world.loginAs(makeUser("ana", []));
  const started: RotateAsked[] = [];
  let effect = async (): Promise<void> => {};
  const rotation = async (asked: RotateAsked) => {
    started.push(asked);
    await effect();
    return { managed: 1, due: 1, rotated: 0, failed: 0, waiting: 1, lagMs: 0, failing: 0 };
  };
  const api = openApi({ ...world.worldOf("api"), rotation }, world.log);
  const rotate = async (user: string, token = root) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await api(
      httpEvent({ method: "POST", path: "/v1/rotate", headers, body: JSON.stringify({ user }) }),
      context,
    );
    return { status: answer.statusCode, body: JSON.parse(answer.body) };
  };
  const get = (name: string, token = root) => world.call("getResource", { kind: "managed_user", name }, token);
  return {
    ...world,
    root,
    ana,
    started,
    rotate,
    get,
    whenStarted: (does: () => Promise<void>) => {
      effect = does;
    },
  };
};

const name = `app-elasticache-eu-west-1-${account}`;

describe("managed users", () => {
  it("are shown with their state, their times, what is left of their budget, and nothing of their records' inside", async () => {
    const world = await open({
      lastError: { at: 1_000, code: "too_many", message: "AWS asks for patience" },
      failures: 1,
    });
    const { status, body } = await world.get(name);
    const now = world.clock.now();
    expect([status, body]).toEqual([
      200,
      {
        kind: "managed_user",
        version: "v1",
        metadata: { name },
        spec: {
          ...{ service: "elasticache", account, region: "eu-west-1", id: "app", user: "app", databases: ["sessions"] },
          state: "current",
          last_success: new Date(now - 10 * minute).toISOString(),
          next_due: new Date(now + 5 * minute).toISOString(),
          failures: 1,
          last_error: { at: "1970-01-01T00:00:01.000Z", code: "too_many", message: "AWS asks for patience" },
          budget: { scheduled: { used: 2, most: 96 }, spare: { used: 1, most: 2 } },
          secret: `t/elasticache/eu-west-1/${account}/user/app/password`,
        },
      },
    ]);
  });
  it("are listed from every place that has some; one that is no longer managed is not", async () => {
    const world = await open({}, { id: "b", service: "memorydb", region: "us-east-1" }, { id: "gone", state: "ended" });
    const { body } = await world.call("listResources", { kind: "managed_user" }, world.root);
    const names = body.resources.map(({ metadata }: { metadata: { name: string } }) => metadata.name);
    expect(names).toEqual([name, `b-memorydb-us-east-1-${account}`]);
  });
  it("go by a short name where it is one user's alone", async () => {
    const world = await open({}, { id: "b" }, { id: "b", region: "us-east-1" }, { id: "other", user: "app2" });
    for (const text of ["app", name]) expect((await world.get(text)).body.metadata.name).toBe(name);
    expect((await world.get("app2")).body.spec.id).toBe("other");
    const several = await world.get("b");
    expect([several.status, several.body.error.hint]).toEqual([
      400,
      `name one of b-elasticache-eu-west-1-${account}, b-elasticache-us-east-1-${account}`,
    ]);
    expect((await world.get("nobody")).status).toBe(404);
  });
  it("are neither put nor removed, and the answer says who says which there are", async () => {
    const world = await open({});
    const { body: document } = await world.get(name);
    const put = await world.call("putResource", { kind: "managed_user", name, document }, world.root);
    const removed = await world.call("removeResource", { kind: "managed_user", name }, world.root);
    for (const { status, body } of [put, removed]) {
      expect([status, body.error.code]).toEqual([422, "unsupported"]);
      expect(body.error.hint).toContain("sallyport/managed");
    }
    expect((await world.get(name)).body).toEqual(document);
  });
  it("S-44 are administrators' to see", async () => {
    const world = await open({});
    expect((await world.get(name, world.ana)).status).toBe(403);
    expect((await world.call("listResources", { kind: "managed_user" }, world.ana)).status).toBe(403);
  });
});

describe("a rotation by hand", () => {
  it("is started by its whole name, recorded under who asked, and answered as it stands", async () => {
    const world = await open({});
    const { status, body } = await world.rotate("app");
    expect([status, body.metadata.name]).toEqual([200, name]);
    const user = `elasticache/eu-west-1/${account}/app`;
    expect(world.started).toEqual([{ user }]);
    expect(world.events("rotation.ask")).toMatchObject([{ actor: "root", details: { user } }]);
  });
  it("S-45 starts nothing for a name that is nobody's, and hands nothing on but the name in the table", async () => {
    const world = await open({});
    for (const text of ["nobody", "t/elasticache/secret", `elasticache/eu-west-1/${account}/nobody`, "../app"])
      expect((await world.rotate(text)).status).toBe(404);
    expect(world.started).toEqual([]);
    expect(world.events("rotation.ask")).toEqual([]);
  });
  it("S-44 is administrators' to ask for", async () => {
    const world = await open({});
    expect((await world.rotate("app", world.ana)).status).toBe(403);
    expect(world.started).toEqual([]);
  });
  it("S-49 may be asked for so often in a quarter of an hour, by whomever", async () => {
    const world = await open({});
    const window = Math.floor(world.clock.now() / (15 * minute));
    await world.put([keys.loginAttempts(`#rotate#${window}`), { count: 119 }]);
    expect([(await world.rotate("app")).status, (await world.rotate("app")).status]).toEqual([200, 429]);
  });
  it("is refused when those of a day are used up, whatever was wrong before", async () => {
    const message = "the rotations by hand of a day are used up: it goes on by the schedule";
    const lastError = (at: number) => ({ at, code: "too_many", message }) as const;
    const world = await open({ lastError: lastError(1) });
    expect((await world.rotate("app")).status).toBe(200);
    world.whenStarted(async () => {
      const user = managed(world.clock.now(), { lastError: lastError(2) });
      await world.put([managedKey(user), user]);
    });
    const { status, body } = await world.rotate("app");
    expect([status, body.error.code, body.error.message]).toEqual([429, "too_many", message]);
    expect(body.error.hint).toMatch(/^the next one by the schedule is due at \d{4}-/);
  });
  it("is refused with words where the deployment has no function for it", async () => {
    const world = await open({});
    const { status, body } = await world.call("rotate", { user: "app" }, world.root);
    expect([status, body.error.message]).toEqual([422, "this deployment rotates no passwords"]);
  });
});

describe("sally doctor", () => {
  const arn = "arn:aws:elasticache:eu-west-1:111122223333:replicationgroup:sessions";
  const caches = [{ arn, database: "sessions", endpoints: [] }];
  const told = async (users: Over[], database?: string) => {
    const world = await open(...users);
    await world.addDatabases({ name: "sessions", arn });
    const { body } = await world.call("doctor", database === undefined ? {} : { database }, world.root);
    const findings: readonly { about: string; text: string }[] = body.findings;
    return findings.filter(({ about }) => about.includes("-elasticache-"));
  };
  it("tells of a database how the users fare that it lets in and whose passwords rotate, and of no other", async () => {
    const findings = await told([{ caches }, { id: "b" }, { id: "c", caches, fresh: true }], "sessions");
    expect(findings).toEqual([
      { level: "ok", about: name, text: expect.stringMatching(/^rotated at \d{4}-/) },
      {
        level: "warning",
        about: `c-elasticache-eu-west-1-${account}`,
        text: expect.stringContaining("no password yet"),
      },
    ]);
  });
  it("tells of everything which rotations fail or are late, and what to do", async () => {
    const lastError = { at: 1, code: "conflict", message: "the secret was not made by this deployment" } as const;
    const findings = await told([
      {},
      { id: "b", state: "staged", failures: 2, lastError },
      { id: "c", nextDueAt: 1_000 },
    ]);
    expect(findings).toEqual([
      {
        level: "problem",
        about: `b-elasticache-eu-west-1-${account}`,
        text: "its rotation fails (2 in a row), and stands at staged: the secret was not made by this deployment",
        hint: `when it is mended: sally rotate b-elasticache-eu-west-1-${account}`,
      },
      {
        level: "problem",
        about: `c-elasticache-eu-west-1-${account}`,
        text: "its password was due at 1970-01-01T00:00:01.000Z, and its rotation stands at current",
        hint: "look at the schedule and the log of the rotate function",
      },
    ]);
  });
});
