import { keys } from "@sallyport/core/family";
import { expect, it } from "vitest";
import { hour, makeLock, makeRole } from "../core/make.ts";
import { context, makeUser, openWorld, type TestWorld } from "./world.ts";

const password = "correct horse battery";
const minute = 60_000;
const day = 24 * hour;

/** An administrator's session, and a user who has set that password. */
const withAna = async (roles: string[] = []) => {
  const world = openWorld();
  await world.addRoles(makeRole("r", {}));
  const root = await world.loginAs(makeUser("root", ["admin"]));
  const { body } = await world.call("invite", { user: "ana", roles }, root);
  await world.call("acceptInvite", { invite: body.invite, password });
  return { ...world, root };
};
const login = (world: TestWorld, over: { password?: string; user?: string; ttl?: number } = {}, from?: string) =>
  world.call("login", { user: "ana", password, ...over }, undefined, from === undefined ? {} : { from });

it("an invited user sets a password, logs in, is told who they are and logs out", async () => {
  const world = await withAna(["r"]);
  const { status, body } = await login(world);
  expect(status).toBe(200);
  expect(body).toMatchObject({ user: "ana", roles: ["r"], expiresAt: world.clock.now() + 12 * hour });
  expect((await world.call("status", {}, body.token)).body).toEqual({
    user: "ana",
    roles: ["r"],
    traits: {},
    expiresAt: body.expiresAt,
    admin: false,
  });
  expect((await world.call("logout", {}, body.token)).status).toBe(200);
  expect((await world.call("status", {}, body.token)).status).toBe(401);
  for (const name of ["user.invite", "user.password", "login.success", "logout"])
    expect(world.events(name).length).toBe(1);
});

it("the table keeps neither password nor token, only what they are checked by", async () => {
  const world = await withAna();
  const { body } = await login(world);
  const kept = JSON.stringify(world.table.items());
  expect(kept).not.toContain(password);
  expect(kept).not.toContain(body.token);
  expect(kept).toContain("$argon2id$v=19$m=19456,t=2,p=1$");
});

it("a wrong password, an unknown user and a user who never accepted hear the same", async () => {
  const world = await withAna();
  await world.call("invite", { user: "ben", roles: [] }, world.root);
  const answers = await Promise.all([
    login(world, { password: "something else" }),
    login(world, { user: "nobody" }),
    login(world, { user: "ben" }),
  ]);
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  expect(answers.map(({ status }) => status)).toEqual([401, 401, 401]);
  // what was typed as a user may be a password
  expect(world.events("login.failure").map((event) => event["actor"])).not.toContain("nobody");
});

it("S-48 an unknown user costs the same reads, writes and hashing as a known one", async () => {
  const world = await withAna();
  const costOf = async (user: string) => {
    const [changes, reads, times] = [world.table.changes.length, world.reads(), [] as number[]];
    for (let at = 0; at < 3; at++) {
      const startedAt = performance.now();
      await login(world, { user, password: "something else" });
      times.push(performance.now() - startedAt);
    }
    const counts = { changes: world.table.changes.length - changes, reads: world.reads() - reads };
    return { counts, fastest: Math.min(...times) };
  };
  const [known, unknown] = [await costOf("ana"), await costOf("nobody")];
  expect(unknown.counts).toEqual(known.counts);
  // argon2 is nearly all of it; without it this would be a hundredth
  expect(unknown.fastest).toBeGreaterThan(known.fastest / 5);
});

it("a login asks for less time than roles allow, not for more", async () => {
  const world = await withAna();
  expect((await login(world, { ttl: hour })).body.expiresAt).toBe(world.clock.now() + hour);
  expect((await login(world, { ttl: 31 * hour })).status).toBe(403);
});

it("the smallest max_session_ttl of the user's roles bounds a login", async () => {
  const world = openWorld();
  await world.addRoles(makeRole("short", { options: { max_session_ttl: "2h" } }), makeRole("long", {}));
  const root = await world.loginAs(makeUser("root", ["admin"]));
  const { body } = await world.call("invite", { user: "ana", roles: ["short", "long"] }, root);
  await world.call("acceptInvite", { invite: body.invite, password });
  expect((await login(world)).body.expiresAt).toBe(world.clock.now() + 2 * hour);
  const refused = await login(world, { ttl: 3 * hour });
  expect(refused.status).toBe(403);
  expect(refused.body.error.hint).toContain("2h");
});

it("S-50 a login, an invitation and a lock end by the clock, whatever is still in the table", async () => {
  const world = await withAna();
  const { body } = await login(world);
  const invited = await world.call("invite", { user: "ben", roles: [] }, world.root);
  world.clock.pass(12 * hour - 1);
  expect((await world.call("status", {}, body.token)).status).toBe(200);
  world.clock.pass(1);
  expect((await world.call("status", {}, body.token)).status).toBe(401);
  world.clock.pass(7 * day - 12 * hour);
  const late = await world.call("acceptInvite", { invite: invited.body.invite, password });
  expect([late.status, late.body.error.code]).toEqual([401, "bad_token"]);
});

it("S-50 a clock that jumps back five minutes refuses nobody, one that jumps further trusts nothing from its future", async () => {
  const world = await withAna();
  const { body } = await login(world);
  world.clock.pass(-5 * minute);
  expect((await world.call("status", {}, body.token)).status).toBe(200);
  world.clock.pass(-1);
  expect((await world.call("status", {}, body.token)).status).toBe(401);
});

it("an invitation works once, and of two at the same moment one wins", async () => {
  const world = openWorld();
  const root = await world.loginAs(makeUser("root", ["admin"]));
  const { body } = await world.call("invite", { user: "ana", roles: [] }, root);
  const accept = () => world.call("acceptInvite", { invite: body.invite, password });
  const both = await Promise.all([accept(), accept()]);
  expect(both.map(({ status }) => status).sort()).toEqual([200, 401]);
  expect((await accept()).status).toBe(401);
});

it("a short password is refused and leaves the invitation good", async () => {
  const world = openWorld();
  const root = await world.loginAs(makeUser("root", ["admin"]));
  const { body } = await world.call("invite", { user: "ana", roles: [] }, root);
  expect((await world.call("acceptInvite", { invite: body.invite, password: "short" })).status).toBe(400);
  expect((await world.call("acceptInvite", { invite: body.invite, password })).status).toBe(200);
});

it("a reset ends logins, password and older invitations, and the new invitation makes all good again", async () => {
  const world = await withAna();
  const { body } = await login(world);
  const first = await world.call("reset", { user: "ana" }, world.root);
  const second = await world.call("reset", { user: "ana" }, world.root);
  expect((await world.call("status", {}, body.token)).status).toBe(401);
  expect((await login(world)).status).toBe(401);
  expect((await world.call("acceptInvite", { invite: first.body.invite, password })).status).toBe(401);
  expect((await world.call("acceptInvite", { invite: second.body.invite, password: `${password}2` })).status).toBe(200);
  expect((await world.call("status", {}, body.token)).status).toBe(401);
  expect((await login(world)).status).toBe(401);
  expect((await login(world, { password: `${password}2` })).status).toBe(200);
});

it("a user by an old name inherits neither logins nor password", async () => {
  const world = await withAna();
  const { body } = await login(world);
  await world.put([keys.password("ben"), { user: "ben", hash: "x", changedAt: 0 }]);
  await world.call("removeResource", { kind: "user", name: "ana" }, world.root);
  world.clock.pass(1);
  await world.put([keys.user("ana"), makeUser("ana", [], { createdAt: world.clock.now() })]);
  expect((await world.call("status", {}, body.token)).status).toBe(401);
  expect((await login(world)).status).toBe(401);
});

it.each(["disabled", "invited"] as const)("S-08 the logins of a user who is %s are refused at once", async (state) => {
  const world = await withAna();
  const { body } = await login(world);
  const user = makeUser("ana", [], { createdAt: 0, state });
  await world.put([keys.user("ana"), user]);
  expect((await world.call("status", {}, body.token)).status).toBe(401);
  expect((await login(world)).status).toBe(403);
});

it("S-08 a locked user is denied everything, with the reason, until the lock's end", async () => {
  const world = await withAna();
  const { body } = await login(world);
  const lock = makeLock({ user: "ana" }, { message: "lost laptop", expiresAt: world.clock.now() + hour });
  await world.put([keys.lock("l1"), lock]);
  for (const answer of [await world.call("status", {}, body.token), await world.call("databases", {}, body.token)]) {
    expect(answer.status).toBe(403);
    expect(answer.body.error.message).toBe("user ana is locked: lost laptop");
  }
  expect((await login(world)).status).toBe(403);
  expect((await login(world, { password: "something else" })).status).toBe(401);
  world.clock.pass(hour);
  expect((await world.call("status", {}, body.token)).status).toBe(200);
});

it.each<[string, (token: string) => string]>([
  ["truncated", (token) => token.slice(0, -1)],
  ["padded", (token) => `${token}=`],
  ["with another prefix", (token) => token.replace("sly_s_", "sly_c_")],
  ["in another case", (token) => token.toUpperCase()],
  ["with its last character's unused bits set", (token) => `${token.slice(0, -1)}B`],
  ["of another deployment", () => `sly_s_${"B".repeat(42)}A`],
  ["of a megabyte", (token) => token + "A".repeat(1 << 20)],
  ["empty", () => ""],
])("S-02 a session token %s logs nobody in", async (_, change) => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("ana", []));
  expect((await world.call("status", {}, change(token))).status).toBe(401);
  expect((await world.call("status", {}, token)).status).toBe(200);
});

it("S-03 no kind of token passes for another", async () => {
  const world = await withAna();
  const { invite } = (await world.call("invite", { user: "ben", roles: [] }, world.root)).body;
  const { token } = (await login(world)).body;
  // told apart by prefix, and by what is stored where somebody changes the prefix
  for (const presented of [invite, invite.replace("sly_i_", "sly_s_")])
    expect((await world.call("status", {}, presented)).status).toBe(401);
  for (const presented of [token, token.replace("sly_s_", "sly_i_")])
    expect((await world.call("acceptInvite", { invite: presented, password })).status).toBe(401);
  const kept = {
    kind: "session",
    user: "ana",
    issuedAt: world.clock.now(),
    expiresAt: world.clock.now() + hour,
  } as const;
  await world.put([keys.apiKey(world.digest.sha256(invite)), kept]);
  expect((await world.call("acceptInvite", { invite, password })).status).toBe(401);
});

it("S-13 ten wrong passwords from one address end the attempts from there, and from nowhere else", async () => {
  const world = await withAna();
  for (let at = 0; at < 10; at++)
    expect((await login(world, { password: `wrong ${at}` }, "198.51.100.9")).status).toBe(401);
  const refused = await login(world, {}, "198.51.100.9");
  expect([refused.status, refused.body.error.code]).toEqual([429, "too_many"]);
  expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
  expect((await login(world, {}, "192.0.2.7")).status).toBe(200);
  world.clock.pass(15 * minute);
  expect((await login(world, {}, "198.51.100.9")).status).toBe(200);
});

it("S-13 attempts made at once are counted one by one", async () => {
  const world = await withAna();
  const tries = Array.from({ length: 15 }, (_, at) => login(world, { password: `wrong ${at}` }, "198.51.100.9"));
  const statuses = (await Promise.all(tries)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 401).length).toBe(10);
  expect(statuses.filter((status) => status === 429).length).toBe(5);
});

it("S-13 right passwords use nothing up", async () => {
  const world = await withAna();
  for (let at = 0; at < 12; at++) expect((await login(world)).status).toBe(200);
});

it("S-13 an address that tries many users is stopped, and an IPv6 customer is one address", async () => {
  const world = openWorld();
  const window = Math.floor(world.clock.now() / (15 * minute));
  await world.put([keys.loginAttempts(`#from#2001:db8:1:2#${window}`), { count: 99 }]);
  expect((await login(world, { user: "u1" }, "2001:db8:1:2::1")).status).toBe(401);
  expect((await login(world, { user: "u2" }, "2001:0db8:0001:0002:ffff::2")).status).toBe(429);
  expect((await login(world, { user: "u3" }, "2001:db8:1:3::1")).status).toBe(401);
});

it("S-13 a user under attack from everywhere waits, and gets in", async () => {
  const world = await withAna();
  const window = Math.floor(world.clock.now() / (15 * minute));
  await world.put([keys.loginAttempts(`#${world.digest.sha256("ana").slice(0, 32)}#all#${window}`), { count: 60 }]);
  expect((await login(world)).status).toBe(200);
  expect(world.waits).toEqual([1100]);
  await world.put([
    keys.loginAttempts(`#${world.digest.sha256("ana").slice(0, 32)}#all#${window}`),
    { count: 1_000_000 },
  ]);
  expect((await login(world)).status).toBe(200);
  expect(world.waits.at(-1)).toBe(3000);
});

it("S-12 bootstrap makes an administrator by a single-use invitation of a day, recorded and alarmed", async () => {
  const world = openWorld();
  const made = (await world.bootstrap({ user: "root" }, context)) as Record<string, string>;
  expect(made).toMatchObject({ user: "root", expiresAt: world.clock.now() + day, api: "https://api.test" });
  const accept = () => world.call("acceptInvite", { invite: made["invite"] ?? "", password });
  expect((await accept()).status).toBe(200);
  expect((await accept()).status).toBe(401);
  const { body } = await login(world, { user: "root" });
  expect((await world.call("status", {}, body.token)).body.admin).toBe(true);
  expect(world.events("bootstrap.invite")[0]?.["details"]).toMatchObject({
    user: "root",
    requestId: context.awsRequestId,
  });
  expect(world.logged.map((line) => JSON.parse(line))).toContainEqual(
    expect.objectContaining({ level: "warn", message: "bootstrap.invite", user: "root" }),
  );
});

it("S-12 bootstrap repairs a disabled user, adds the role and keeps the others", async () => {
  const world = openWorld();
  await world.put([keys.user("ana"), makeUser("ana", ["r"], { state: "disabled" })]);
  await world.bootstrap({ user: "ana" }, context);
  expect(await world.table.get(keys.user("ana"))).toMatchObject({
    roles: ["r", "admin"],
    state: "invited",
    revision: 2,
  });
  expect(world.epoch()).toBe(1);
});

it("S-12 bootstrap leaves an active administrator's login and password as they are until the invitation is accepted", async () => {
  const world = await withAna(["admin"]);
  const { body } = await login(world);
  const made = (await world.bootstrap({ user: "ana" }, context)) as Record<string, string>;
  expect((await world.call("status", {}, body.token)).status).toBe(200);
  await world.call("acceptInvite", { invite: made["invite"] ?? "", password: `${password}2` });
  expect((await world.call("status", {}, body.token)).status).toBe(401);
  expect((await login(world)).status).toBe(401);
  expect((await login(world, { password: `${password}2` })).status).toBe(200);
});

it("S-12 bootstrap is rate limited", async () => {
  const world = openWorld();
  for (let at = 0; at < 5; at++) await world.bootstrap({ user: `root${at}` }, context);
  await expect(world.bootstrap({ user: "root" }, context)).rejects.toMatchObject({ code: "too_many" });
  world.clock.pass(hour);
  await expect(world.bootstrap({ user: "root" }, context)).resolves.toBeDefined();
});

it.each([undefined, {}, { user: "" }, { user: "a/b" }, { user: "ana", roles: ["x"] }, "ana", { User: "ana" }])(
  "S-12 bootstrap refuses %j",
  async (event) => {
    const world = openWorld();
    await expect(world.bootstrap(event, context)).rejects.toMatchObject({ code: "invalid" });
    expect(world.table.items()).toEqual([]);
  },
);
