// Logging in and out, in-process, against an API that answers by the contract.
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Output } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { hour, makeAnswer, makeWorld, now, type World } from "./world.ts";

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
const logsIn = (over: Partial<Output<"login">> = {}): void => {
  api.answers.login = ({ user }) => ({
    token: "sly_s_canary",
    expiresAt: now + 8 * hour,
    user,
    roles: ["dev-read"],
    ...over,
  });
};

describe("login", () => {
  it("keeps the login in a private folder and says who and until when", async () => {
    logsIn();
    const args = ["login", "--server", `${api.url}/`, "--user", "ana", "--ttl", "8h"];
    const { status, stdout } = await world.run(args, { input: "a long password\n" });
    expect(status).toBe(0);
    expect(stdout).toContain("as ana (roles: dev-read)");
    expect(stdout).toContain("(in 8h)");
    expect(inputs("login")).toEqual([{ user: "ana", password: "a long password", ttl: 8 * hour }]);
    const folders = [world.context.configDir, join(world.context.configDir, "profiles")];
    expect(folders.map((folder) => statSync(folder).mode & 0o777)).toEqual([0o700, 0o700]);
    const [file = ""] = readdirSync(join(world.context.configDir, "profiles"));
    expect(statSync(join(world.context.configDir, "profiles", file)).mode & 0o777).toBe(0o600);
  });
  it("makes a folder private that was not", async () => {
    logsIn();
    mkdirSync(world.context.configDir, { mode: 0o755 });
    await world.run(["login", "--server", api.url, "--user", "ana"], { input: "pw" });
    expect(statSync(world.context.configDir).mode & 0o777).toBe(0o700);
  });
  it("sets the password first with an invite, which knows whose it is", async () => {
    logsIn();
    api.answers.acceptInvite = () => ({ user: "bo" });
    const args = ["login", "--server", api.url, "--invite", "sly_i_x", "--password-stdin"];
    expect((await world.run(args, { input: "a long enough password" })).status).toBe(0);
    expect(api.calls.map(({ route, input }) => [route, input])).toEqual([
      ["acceptInvite", { invite: "sly_i_x", password: "a long enough password" }],
      ["login", { user: "bo", password: "a long enough password" }],
    ]);
  });
  it("does not log in as somebody else than the invite's user", async () => {
    logsIn();
    api.answers.acceptInvite = () => ({ user: "bo" });
    const args = ["login", "--server", api.url, "--user", "ana", "--invite", "sly_i_x"];
    const { status, stderr } = await world.run(args, { input: "a long enough password" });
    expect(status).toBe(2);
    expect(stderr).toContain("bo");
    expect(inputs("login")).toEqual([]);
  });
  it("remembers server and user", async () => {
    logsIn();
    world.loggedIn(api.url);
    expect((await world.run(["login"], { input: "pw" })).status).toBe(0);
    expect(inputs("login")).toEqual([{ user: "ana", password: "pw" }]);
  });
  it("says what is missing without a terminal to ask on", async () => {
    expect(await world.run(["login"])).toMatchObject({ status: 2, stderr: expect.stringContaining("which server?") });
    const noUser = await world.run(["login", "--server", api.url], { input: "pw" });
    expect(noUser).toMatchObject({ status: 2, stderr: expect.stringContaining("hint: add --user NAME") });
    const noPassword = await world.run(["login", "--server", api.url, "--user", "ana"], { input: "" });
    expect(noPassword).toMatchObject({ status: 2, stderr: expect.stringContaining("no password of ana") });
  });
  it("sends no password in clear over a network", async () => {
    const { status, stderr } = await world.run(["login", "--server", "http://sally.example.com"], { input: "pw" });
    expect(status).toBe(2);
    expect(stderr).toContain("unencrypted");
  });
  it("keeps the old login when the new one fails", async () => {
    world.loggedIn(api.url);
    api.answers.login = () => {
      throw new Failure("not_logged_in", "wrong user or password");
    };
    expect((await world.run(["login"], { input: "pw" })).status).toBe(4);
    api.answers.databases = () => ({ databases: [] });
    expect((await world.run(["db", "ls"])).status).toBe(0);
  });
});

describe("status and logout", () => {
  const me = {
    user: "ana",
    roles: ["dev-read"],
    traits: { db_users: ["reader"] },
    expiresAt: now + hour,
    admin: false,
  };
  it("says who is logged in", async () => {
    world.loggedIn(api.url);
    api.answers.status = () => me;
    const { stdout, status } = await world.run(["status"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^Server: +http.*\nUser: +ana\nRoles: +dev-read\nTraits: +db_users: reader\nExpires: .*in 1h/,
    );
    expect(JSON.parse((await world.run(["status", "-f", "json"])).stdout)).toEqual({ server: api.url, ...me });
  });
  it("ends with 4 when there is no login, an expired one, or one that the server does not know", async () => {
    expect((await world.run(["status"])).status).toBe(4);
    world.loggedIn(api.url);
    world.clock.set(now + 8 * hour);
    expect(await world.run(["status"])).toMatchObject({ status: 4, stderr: expect.stringContaining("expired") });
    world.clock.set(now);
    api.answers.status = () => {
      throw new Failure("not_logged_in", "log in again");
    };
    expect((await world.run(["status"])).status).toBe(4);
  });
  it("ends the login at the server, gives tokens back and forgets everything", async () => {
    world.loggedIn(api.url);
    api.answers.connect = () => makeAnswer({ direct: { host: "proxy.example.com", port: 5432, ca: "PEM" } });
    api.answers.revoke = () => ({});
    api.answers.logout = () => ({});
    await world.run(["db", "login", "orders"]);
    expect((await world.run(["logout"])).status).toBe(0);
    expect(api.calls.map(({ route }) => route)).toEqual(["connect", "revoke", "logout"]);
    const left = readdirSync(world.context.configDir, { recursive: true, withFileTypes: true });
    expect(left.filter((entry) => entry.isFile())).toEqual([]);
    expect((await world.run(["status"])).status).toBe(4);
  });
  it("forgets all the same when the server can't be told", async () => {
    world.loggedIn(api.url);
    await api.close();
    const { status, stderr } = await world.run(["logout"]);
    expect(status).toBe(0);
    expect(stderr).toContain("warning:");
    expect((await world.run(["status"])).status).toBe(4);
  });
  it("has nothing to forget", async () => {
    expect(await world.run(["logout"])).toMatchObject({ status: 0, stdout: "no login to forget\n" });
  });
});
