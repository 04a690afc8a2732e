// How sally fails, in-process: the words, the status, and what is never shown.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Output } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { hour, makeReachable, makeWorld, now, type World } from "./world.ts";

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
const logsIn = (over: Partial<Output<"login">> = {}): void => {
  api.answers.login = ({ user }) => ({
    token: "sly_s_canary",
    expiresAt: now + 8 * hour,
    user,
    roles: ["dev-read"],
    ...over,
  });
};

describe("failures", () => {
  it("are an error and a hint, and denied ends with 3", async () => {
    world.loggedIn(api.url);
    api.answers.connect = () => {
      throw new Failure("denied", "role dev-read says no\nrole ops says no", {
        hint: "ask\u001b[31m an administrator",
      });
    };
    const { status, stdout, stderr } = await world.run(["db", "connect", "orders"]);
    expect([status, stdout]).toEqual([3, ""]);
    expect(stderr).toBe("error: role dev-read says no\n       role ops says no\nhint: ask\\x1b[31m an administrator\n");
  });
  it("of our own show their place only when asked", async () => {
    const broken = { clock: { now: () => JSON.parse("broken") as number } };
    world.loggedIn(api.url);
    const plain = await world.run(["status"], broken);
    expect(plain.status).toBe(1);
    expect(plain.stderr).toMatch(/^error: something went wrong on our side\nhint: .*SALLYPORT_DEBUG=1.*\n$/);
    expect((await world.run(["status"], { ...broken, env: { SALLYPORT_DEBUG: "1" } })).stderr).toContain("SyntaxError");
  });
  it("of a damaged folder say which file to remove", async () => {
    world.loggedIn(api.url);
    const folder = join(world.context.configDir, "profiles");
    const [file = ""] = readdirSync(folder);
    writeFileSync(join(folder, file), "{");
    const { status, stderr } = await world.run(["status"]);
    expect(status).toBe(1);
    expect(stderr).toContain(join(folder, file));
  });
  it("S-40 show no token and no password, whatever is printed", async () => {
    logsIn();
    const password = "canary password";
    const seen = [await world.run(["login", "--server", api.url, "--user", "ana"], { input: password })];
    api.answers.databases = () => ({ databases: [makeReachable()] });
    for (const args of [
      ["db", "ls", "-f", "json"],
      ["status"],
      ["db", "login", "orders"],
      ["get", "users"],
      ["logout"],
    ])
      seen.push(await world.run(args, { env: { SALLYPORT_DEBUG: "1" } }));
    const text = seen.map(({ stdout, stderr }) => stdout + stderr).join("");
    expect(text).toContain("error:");
    expect(text).not.toContain("canary");
  });
});
