// What clients of Redis are given: URLs that verify in full wherever they leave this machine and mean what they were made of to the
// clients themselves; a token that is in no list of processes.
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  connectionUrl,
  connectionVariables,
  programEnvironment,
  programLine,
  programWords,
  type Target,
} from "@sallyport/cli/connection";
import { secret } from "@sallyport/core/secret";
import fc from "fast-check";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { openGate, type TestGate } from "./gate.ts";
import { hour, makeAnswer, makeWorld, now, type World } from "./world.ts";

const tunnel: Target = { protocol: "redis", host: "127.0.0.1", port: 6379, user: "app", name: undefined };
const plain: Target = { ...tunnel, host: "db.example.com", password: secret("sly_c_x"), tls: { caFile: "/my ca.pem" } };
const nasty = ["$(id)", "`id`", "%0a", "'; id; '", '"', "a\nb", "a b", "\\", "-x", "a?b", "a#b", "a/b", "é", "%"];
nasty.push("u:p@evil.example.com", "[::1]", "\u202e");

describe("what a client of Redis is given", () => {
  it("its URL carries the token inside verified TLS, and a name to check to the client that checks none by itself", () => {
    expect(connectionUrl(plain)).toBe(
      "rediss://app:sly_c_x@db.example.com:6379/?ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs=%2Fmy%20ca.pem",
    );
  });
  it("a tunnel's URL names nobody and no TLS, so that a client shows nothing", () => {
    expect(connectionUrl(tunnel)).toBe("redis://127.0.0.1:6379/");
    const ioredis = new Redis(connectionUrl(tunnel), { lazyConnect: true });
    expect(ioredis.options).toMatchObject({ host: "127.0.0.1", port: 6379, username: null, password: null });
    expect(ioredis.options.tls).toBeUndefined();
    const { options } = createClient({ url: connectionUrl(tunnel) });
    expect(options).toMatchObject({ socket: { host: "127.0.0.1", port: 6379, tls: false } });
    expect([options?.username, options?.password]).toEqual([undefined, undefined]);
  });
  it("a database's number goes with it", () => {
    expect(createClient({ url: connectionUrl({ ...tunnel, name: "2" }) }).options?.database).toBe(2);
    expect(programWords({ ...tunnel, name: "2" })).toEqual(["redis-cli", "-h", "127.0.0.1", "-p", "6379", "-n", "2"]);
  });
  it("redis-cli is given the token by its environment, never among its arguments", () => {
    const words = ["-h", "db.example.com", "-p", "6379", "--tls", "--cacert", "/my ca.pem", "--user", "app"];
    expect(programWords(plain)).toEqual(["redis-cli", ...words]);
    expect(programLine(plain)).toBe(
      "REDISCLI_AUTH=sly_c_x redis-cli -h db.example.com -p 6379 --tls --cacert '/my ca.pem' --user app",
    );
    expect(programLine(tunnel)).toBe("redis-cli -h 127.0.0.1 -p 6379");
  });
  it("a program finds it in its environment, and no password of somebody's own", () => {
    expect(connectionVariables(plain)).toEqual({
      REDISCLI_AUTH: "sly_c_x",
      NODE_EXTRA_CA_CERTS: "/my ca.pem",
      REDIS_URL: connectionUrl(plain),
      DATABASE_URL: connectionUrl(plain),
    });
    const url = connectionUrl(tunnel);
    const env = { PATH: "/bin", REDISCLI_AUTH: "real", REDIS_URL: "redis://other" };
    expect(programEnvironment(env, tunnel)).toEqual({ PATH: "/bin", REDIS_URL: url, DATABASE_URL: url });
  });

  it("S-47 a URL means what it was made of to the clients, whatever that is, and verifies in full", () => {
    const wireName = fc.string({ minLength: 1, maxLength: 60, unit: "binary" }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.oneof(wireName, fc.constantFrom(...nasty)), wireName, (user, password) => {
        const url = connectionUrl({ ...plain, user, password: secret(password) });
        const account = { username: user.toWellFormed(), password: password.toWellFormed() };
        const at = { host: "db.example.com", port: 6379 };
        const { options: ioredis } = new Redis(url, { lazyConnect: true });
        expect([ioredis.username, ioredis.password, ioredis.host, ioredis.port, ioredis.tls]).toEqual([
          ...[account.username, account.password, at.host, at.port, true],
        ]);
        expect([...new URL(url).searchParams.keys()]).toEqual(["ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs"]);
      }),
    );
  });
  // making a client of node-redis takes long: a few will do
  it.each(nasty.slice(0, 6))("S-47 node-redis reads %j as it was meant", (text) => {
    const { username, password, socket } =
      createClient({ url: connectionUrl({ ...plain, user: text, password: secret(text) }) }).options ?? {};
    expect([username, password, socket]).toEqual([text, text, { host: "db.example.com", port: 6379, tls: true }]);
  });
  it.each(nasty)("S-47 %j is one word of a command, or one value in front of it", (text) => {
    const line = programLine({ ...plain, user: text, password: secret(text) });
    // a function's name takes no hyphen, an alias does
    const script = `show() { printf '%s\\0' "$REDISCLI_AUTH" "$@"; }\nalias redis-cli=show\n${line}`;
    const read = execFileSync("/bin/sh", ["-c", script], { encoding: "utf8", env: {} }).split("\0");
    expect([read[0], read.at(-2)]).toEqual([text, text]);
  });
});

describe("sally db connect to a database that speaks Redis", () => {
  let world: World;
  let api: Api;
  let gate: TestGate;
  beforeEach(async () => {
    world = makeWorld();
    gate = await openGate();
    const { name: _, ...answer } = makeAnswer({ gate: gate.gate, protocol: "redis", expiresAt: now + hour });
    api = await serveApi({ connect: () => answer });
    world.loggedIn(api.url);
  });
  afterEach(async () => {
    await gate.close();
    await api.close();
    world.close();
  });

  it("runs redis-cli on the tunnel's port without a password of anybody's, and passes its status on", async () => {
    const [cli, called] = [join(world.folder, "redis-cli"), join(world.folder, "called")];
    writeFileSync(cli, `#!/bin/sh\necho "$* \${REDISCLI_AUTH-none}" > "${called}"\nexit 4\n`);
    chmodSync(cli, 0o755);
    const over = { env: { PATH: world.folder, REDISCLI_AUTH: "real" }, spawn };
    expect((await world.run(["db", "connect", "shop"], over)).status).toBe(4);
    expect(readFileSync(called, "utf8")).toMatch(/^-h 127\.0\.0\.1 -p \d+ none\n$/);
  });
  it("says how to get redis-cli where it is not installed", async () => {
    const { status, stderr } = await world.run(["db", "connect", "shop"], { env: { PATH: "/nowhere" } });
    expect([status, stderr]).toEqual([
      1,
      "error: redis-cli is not on PATH\nhint: install it (apt install redis-tools, brew install redis), or use a client of your own: sally proxy db shop\n",
    ]);
  });
});

describe("a login to a database that speaks Redis, without a tunnel", () => {
  let world: World;
  let api: Api;
  beforeEach(async () => {
    world = makeWorld();
    const direct = { host: "db.example.com", port: 6379, ca: "CA" };
    const { name: _, ...answer } = makeAnswer({ direct, protocol: "redis", user: "app", expiresAt: now + hour });
    api = await serveApi({ connect: () => answer });
    world.loggedIn(api.url);
  });
  afterEach(async () => {
    await api.close();
    world.close();
  });

  it("is a URL, exports and a line for redis-cli, which is said to check no name", async () => {
    const login = await world.run(["db", "login", "orders"]);
    expect(login.stdout).toMatch(/^rediss:\/\/app:sly_c_secret@db\.example\.com:6379\/\?ssl_cert_reqs=required&/);
    const { stdout: env } = await world.run(["db", "env", "orders"]);
    expect(env).toContain("export REDISCLI_AUTH='sly_c_secret'\n");
    expect(env).toContain("export REDIS_URL='rediss://app:");
    const { stdout: line, stderr } = await world.run(["db", "config", "orders", "-f", "cmd"]);
    expect(line).toMatch(
      /^REDISCLI_AUTH=sly_c_secret redis-cli -h db\.example\.com -p 6379 --tls --cacert \S+ --user app\n$/,
    );
    expect(stderr).toContain("redis-cli checks who issued the certificate, not whose it is");
    expect(stderr).toContain("sally db connect orders");
  });
});
