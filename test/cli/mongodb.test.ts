// What clients of MongoDB are given: URLs that verify in full wherever they leave this machine, and mean what they were made of to
// the driver itself, whatever a user or name may contain.
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectionUrl, connectionVariables, otherUrls, programWords, type Target } from "@sallyport/cli/connection";
import { commandLine } from "@sallyport/cli/shell";
import { secret } from "@sallyport/core/secret";
import fc from "fast-check";
import { MongoClient } from "mongodb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { openGate, type TestGate } from "./gate.ts";
import { hour, makeAnswer, makeWorld, now, type World } from "./world.ts";

const tunnel: Target = { protocol: "mongodb", host: "127.0.0.1", port: 27017, user: "reader", name: "shop" };
const plain: Target = { ...tunnel, host: "db.example.com", password: secret("sly_c_x"), tls: { caFile: "/my ca.pem" } };
const nasty = ["$(id)", "`id`", "%0a", "'; id; '", "a\nb", "a b", "\\", "-x", "a&tls=false", "a?b", "a#b", "a/b", "é"];
nasty.push("u:p@evil.example.com", "a,evil.example.com:27017", "[::1]", "%", "\u202e");

describe("what a client of MongoDB is given", () => {
  it("its URL logs in by PLAIN inside verified TLS, to this address alone, and tries no write again", () => {
    expect(connectionUrl(plain)).toBe(
      "mongodb://reader:sly_c_x@db.example.com:27017/shop?authMechanism=PLAIN&authSource=%24external&tls=true&tlsCAFile=%2Fmy%20ca.pem&directConnection=true&retryWrites=false",
    );
    const { options } = new MongoClient(connectionUrl(plain));
    expect(options).toMatchObject({
      ...{ tls: true, tlsCAFile: "/my ca.pem", directConnection: true, retryWrites: false, dbName: "shop" },
      credentials: { username: "reader", password: "sly_c_x", mechanism: "PLAIN", source: "$external" },
    });
    // verified in full: nothing that a driver would take for leave to look away
    expect([options.rejectUnauthorized, options.checkServerIdentity]).toEqual([undefined, undefined]);
  });
  it("a tunnel's URL names nobody, so that a driver proves nothing, and no TLS", () => {
    expect(connectionUrl(tunnel)).toBe("mongodb://127.0.0.1:27017/shop?directConnection=true&retryWrites=false");
    const { options } = new MongoClient(connectionUrl(tunnel));
    expect([options.credentials, options.tls]).toEqual([undefined, undefined]);
  });
  it("mongosh is called with the URL, and programs find it in two variables", () => {
    for (const target of [plain, tunnel]) {
      const url = connectionUrl(target);
      expect(programWords(target)).toEqual(["mongosh", url]);
      expect(connectionVariables(target)).toEqual({ MONGODB_URI: url, DATABASE_URL: url });
      expect(otherUrls(target)).toEqual({});
    }
  });
  it("a role's ARN is a user like any other", () => {
    const arn = "arn:aws:iam::123456789012:role/team/reader";
    expect(new MongoClient(connectionUrl({ ...plain, user: arn })).options.credentials?.username).toBe(arn);
  });

  it("S-47 a URL means what it was made of to the driver, whatever that is, and verifies in full", () => {
    const wireName = fc.string({ minLength: 1, maxLength: 60, unit: "binary" }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.oneof(wireName, fc.constantFrom(...nasty)), wireName, wireName, (user, name, password) => {
        const text = connectionUrl({ ...plain, user, name, password: secret(password) });
        const url = new URL(text);
        expect([...url.searchParams.entries()]).toEqual([
          ...[["authMechanism", "PLAIN"] as const, ["authSource", "$external"] as const, ["tls", "true"] as const],
          ...[["tlsCAFile", "/my ca.pem"] as const, ["directConnection", "true"] as const],
          ["retryWrites", "false"],
        ]);
        if (!/^\.{1,2}$/.test(name)) expect(decodeURIComponent(url.pathname.slice(1))).toBe(name.toWellFormed());
        const { options } = new MongoClient(text);
        expect(options.hosts.map(String)).toEqual(["db.example.com:27017"]);
        expect([options.credentials?.username, options.credentials?.password]).toEqual([
          user.toWellFormed(),
          password.toWellFormed(),
        ]);
        expect([options.tls, options.tlsCAFile]).toEqual([true, "/my ca.pem"]);
      }),
    );
  });
  it.each(nasty)("S-47 %j is one word of a command", (text) => {
    const words = programWords({ ...plain, user: text, name: text, password: secret(text) });
    const script = `mongosh() { printf '%s\\0' mongosh "$@"; }\n${commandLine(words)}`;
    const read = execFileSync("/bin/sh", ["-c", script], { encoding: "utf8", env: {} });
    expect(read.split("\0").slice(0, -1)).toEqual([...words]);
  });
});

describe("sally db connect to a database that speaks MongoDB", () => {
  let world: World;
  let api: Api;
  let gate: TestGate;
  beforeEach(async () => {
    world = makeWorld();
    gate = await openGate();
    const answer = () => makeAnswer({ gate: gate.gate, protocol: "mongodb", name: "shop", expiresAt: now + hour });
    api = await serveApi({ connect: answer });
    world.loggedIn(api.url);
  });
  afterEach(async () => {
    await gate.close();
    await api.close();
    world.close();
  });

  it("runs mongosh on the tunnel's port, and passes its status on", async () => {
    const [mongosh, called] = [join(world.folder, "mongosh"), join(world.folder, "called")];
    writeFileSync(mongosh, `#!/bin/sh\necho "$*" > "${called}"\nexit 4\n`);
    chmodSync(mongosh, 0o755);
    const over = { env: { PATH: world.folder }, spawn };
    expect((await world.run(["db", "connect", "shop"], over)).status).toBe(4);
    expect(readFileSync(called, "utf8")).toMatch(
      /^mongodb:\/\/127\.0\.0\.1:\d+\/shop\?directConnection=true&retryWrites=false\n$/,
    );
  });
  it("says how to get mongosh where it is not installed", async () => {
    const { status, stderr } = await world.run(["db", "connect", "shop"], { env: { PATH: "/nowhere" } });
    expect([status, stderr]).toEqual([
      1,
      "error: mongosh is not on PATH\nhint: install it (npm install --global mongosh, brew install mongosh), or use a client of your own: sally proxy db shop\n",
    ]);
  });
});
