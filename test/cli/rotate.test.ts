// sally rotate, and managed users as sally get shows them: in-process, against an API that answers by the contract.
import type { ManagedUserDocument } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { makeWorld, now, type World } from "./world.ts";

const at = (ms: number): string => new Date(ms).toISOString();
const minute = 60_000;
const name = "app-elasticache-eu-west-1-111122223333";
const before = now - 10 * minute;

const managed = (over: Partial<ManagedUserDocument["spec"]> = {}): ManagedUserDocument => ({
  kind: "managed_user",
  version: "v1",
  metadata: { name },
  spec: {
    ...{ service: "elasticache", account: "111122223333", region: "eu-west-1", id: "app", user: "app" },
    databases: ["sessions"],
    state: "current",
    last_success: at(before),
    next_due: at(before + 15 * minute),
    failures: 0,
    budget: { scheduled: { used: 40, most: 96 }, spare: { used: 0, most: 2 } },
    secret: "sallyport/elasticache/eu-west-1/111122223333/user/app/password",
    ...over,
  },
});

let world: World;
let api: Api;
/** What is answered each time it is looked at, the last for good. */
let looks: ManagedUserDocument[];
beforeEach(async () => {
  world = makeWorld();
  looks = [managed()];
  api = await serveApi({
    getResource: () => (looks.length > 1 ? looks.shift() : looks[0]) ?? expect.unreachable(),
    listResources: () => ({ resources: [...looks] }),
    rotate: () => managed({ state: "applied" }),
  });
  world.loggedIn(api.url);
});
afterEach(async () => {
  await api.close();
  world.close();
});
const called = (route: string) => api.calls.filter((call) => call.route === route).map(({ input }) => input);

describe("sally rotate", () => {
  it("begins a rotation, says at which step it stands, and waits until the new password is the current one", async () => {
    const done = managed({ last_success: at(now), next_due: at(now + 15 * minute) });
    looks = [
      managed(),
      managed({ state: "applied" }),
      managed({ state: "applied" }),
      managed({ state: "verified" }),
      done,
    ];
    expect(await world.run(["rotate", "app"])).toEqual({
      status: 0,
      stdout: `${name} rotated; next at ${at(now + 15 * minute)}\n`,
      stderr: [
        `${name} applied: AWS tells every node of the new password`,
        `${name} verified: the new password logs in at every node`,
        "",
      ].join("\n"),
    });
    expect(called("rotate")).toEqual([{ user: name }]);
    expect(world.slept).toEqual([5_000, 5_000, 5_000]);
  });
  it("is not done when only an older password is current", async () => {
    const { status, stderr } = await world.run(["rotate", "app", "--timeout", "12s"]);
    expect(status).toBe(1);
    expect(stderr).toContain(`error: ${name} is not rotated yet: it is current: logs in by its newest password\n`);
  });
  it("says why it does not come on, and that it goes on by itself, when patience ends", async () => {
    const error = { at: at(now), code: "upstream_unreachable", message: "10.0.0.9 does not answer" };
    looks = [managed(), managed({ state: "applied", failures: 2, last_error: error })];
    const { status, stdout, stderr } = await world.run(["rotate", "app", "--timeout", "1m"]);
    expect([status, stdout]).toEqual([1, ""]);
    const stands =
      "applied: AWS tells every node of the new password; the last attempt failed: 10.0.0.9 does not answer";
    expect(stderr).toBe(
      `${name} ${stands}\nerror: ${name} is not rotated yet: it is ${stands}\nhint: it goes on by itself: sally get managed_user/${name}\n`,
    );
    expect(world.slept.reduce((sum, ms) => sum + ms, 0)).toBe(minute);
  });
  it("does not wait when told not to, and prints what there is in any format", async () => {
    const { status, stdout, stderr } = await world.run(["rotate", "app", "--no-wait"]);
    expect([status, stdout]).toEqual([0, `${name} applied: AWS tells every node of the new password\n`]);
    expect(stderr).toBe(`how it goes on: sally get managed_user/${name}\n`);
    expect(world.slept).toEqual([]);
    const { stdout: json } = await world.run(["rotate", "app", "--no-wait", "-f", "json"]);
    expect(JSON.parse(json)).toEqual(managed({ state: "applied" }));
  });
  it("takes the name by which the log calls it", async () => {
    await world.run(["rotate", "elasticache/eu-west-1/111122223333/app", "--no-wait"]);
    expect(called("getResource")).toEqual([{ kind: "managed_user", name }]);
  });
  it("begins nothing for a user that is not managed, or without leave", async () => {
    api.answers.getResource = () => {
      throw new Failure("not_found", 'there is no managed user "app"', { hint: "sally get managed_user lists them" });
    };
    expect(await world.run(["rotate", "app"])).toMatchObject({ status: 1, stderr: /no managed user "app"\nhint: / });
    expect(called("rotate")).toEqual([]);
    api.answers.getResource = () => {
      throw new Failure("denied", "only administrators may do this");
    };
    expect((await world.run(["rotate", "app"])).status).toBe(3);
    expect((await world.run(["rotate"])).status).toBe(2);
    expect((await world.run(["rotate", "app", "--timeout", "soon"])).status).toBe(2);
  });
});

describe("sally get managed_user", () => {
  it("shows how each is: its state, its last success, when it is due, its budget, its last error", async () => {
    const error = { at: at(now), code: "too_many", message: "AWS asks for patience\u001b[2J" };
    looks = [managed(), managed({ state: "staged", failures: 3, last_error: error })];
    const { stdout } = await world.run(["get", "managed_users", "-f", "text"]);
    const [head, well, ill] = stdout.split("\n");
    expect(head).toMatch(/^Managed user +State +Last success +Next due +Budget +Last error$/);
    expect(well).toMatch(new RegExp(`^${name} +current +${at(before)} +\\S+ +40/96, by hand 0/2$`));
    expect(ill).toMatch(/staged, failed 3 times .* AWS asks for patience\\x1b\[2J$/);
  });
  it("prints one as yaml and json, by either of its names", async () => {
    expect((await world.run(["get", `managed_user/${name}`])).stdout).toContain("kind: managed_user\n");
    const whole = "managed_user/elasticache/eu-west-1/111122223333/app";
    expect(JSON.parse((await world.run(["get", whole, "-f", "json"])).stdout)).toEqual(managed());
    expect(called("getResource")).toEqual([
      { kind: "managed_user", name },
      { kind: "managed_user", name },
    ]);
  });
});
