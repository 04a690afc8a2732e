// What clients of the MySQL family are given: flags of their own kind, TLS verified in full wherever it leaves this machine.

import { spawn } from "node:child_process";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  connectionUrl,
  connectionVariables,
  otherUrls,
  programEnvironment,
  programWords,
  type Target,
} from "@sallyport/cli/connection";
import { secret } from "@sallyport/core/secret";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, serveApi } from "./api.ts";
import { openGate, type TestGate } from "./gate.ts";
import { hour, makeAnswer, makeWorld, now, type World } from "./world.ts";

const tunnel: Target = { protocol: "mysql", host: "127.0.0.1", port: 3306, user: "reader", name: "shop" };
const plain: Target = { ...tunnel, host: "db.example.com", password: secret("sly_c_x"), tls: { caFile: "/my ca.pem" } };

describe("what a client of the MySQL family is called with", () => {
  it.each([
    ["mariadb", ["--ssl-ca=/my ca.pem", "--ssl-verify-server-cert"]],
    ["mysql", ["--ssl-ca=/my ca.pem", "--ssl-mode=VERIFY_IDENTITY"]],
  ])("%s verifies in full outside a tunnel, by its own flags", (program, flags) => {
    expect(programWords(plain, program)).toEqual([
      ...[program, "--host=db.example.com", "--port=3306", "--protocol=TCP", "--user=reader", "--password=sly_c_x"],
      ...flags,
      "--database=shop",
    ]);
  });
  it.each([
    ["mariadb", "--skip-ssl"],
    ["mysql", "--ssl-mode=DISABLED"],
  ])("%s asks a tunnel for no TLS, and is given no password", (program, flag) => {
    const words = programWords({ ...tunnel, name: undefined }, program);
    expect(words).toEqual([program, "--host=127.0.0.1", "--port=3306", "--protocol=TCP", "--user=reader", flag]);
  });
  it("S-47 a name that looks like a flag stays a value", () => {
    const words = programWords({ ...tunnel, user: "--init-command=x", name: "-e drop" }, "mysql");
    expect(words).toEqual(expect.arrayContaining(["--user=--init-command=x", "--database=-e drop"]));
  });
  it("its URL verifies in full, in MySQL's words and in mysql2's", () => {
    const query = new URL(connectionUrl(plain)).searchParams;
    expect(query.get("ssl-mode")).toBe("VERIFY_IDENTITY");
    expect(query.get("ssl-ca")).toBe("/my ca.pem");
    expect(JSON.parse(query.get("ssl") ?? "")).toEqual({ rejectUnauthorized: true, verifyIdentity: true });
    expect(connectionUrl(tunnel)).toBe("mysql://reader@127.0.0.1:3306/shop?ssl-mode=DISABLED");
    expect(otherUrls(plain)["jdbc"]).toBe(
      "jdbc:mariadb://db.example.com:3306/shop?user=reader&sslMode=verify-full&serverSslCert=%2Fmy+ca.pem",
    );
  });
  it("variables that lead the clients somewhere unverified are set for a tunnel alone", () => {
    expect(connectionVariables(plain)).toEqual({
      NODE_EXTRA_CA_CERTS: "/my ca.pem",
      DATABASE_URL: connectionUrl(plain),
    });
    const env = { PATH: "/bin", MYSQL_UNIX_PORT: "/run/x", MYSQL_HOME: "/home/x", MYSQL_TEST_LOGIN_FILE: "/x" };
    expect(programEnvironment(env, tunnel)).toEqual({
      PATH: "/bin",
      MYSQL_HOST: "127.0.0.1",
      MYSQL_TCP_PORT: "3306",
      MYSQL_PWD: "sallyport",
      DATABASE_URL: connectionUrl(tunnel),
    });
  });
});

describe("sally db connect", () => {
  let world: World;
  let api: Api;
  let gate: TestGate;
  beforeEach(async () => {
    world = makeWorld();
    gate = await openGate();
    const answer = () => makeAnswer({ gate: gate.gate, protocol: "mysql", name: "shop", expiresAt: now + hour });
    api = await serveApi({ connect: answer });
    world.loggedIn(api.url);
  });
  afterEach(async () => {
    await gate.close();
    await api.close();
    world.close();
  });

  /** A program of this name that writes what it was called with. */
  const install = (name: string, version: string): void => {
    const file = join(world.folder, name);
    const script = `#!/bin/sh\n[ "$1" = --version ] && { echo "${version}"; exit; }\necho "$0 $*" > "${world.folder}/called"\nexit 4\n`;
    writeFileSync(file, script);
    chmodSync(file, 0o755);
  };
  const connect = () =>
    world.run(["db", "connect", "shop"], { env: { PATH: world.folder }, spawn: (...of) => spawn(...of) });
  const called = (): string =>
    existsSync(join(world.folder, "called")) ? readFileSync(join(world.folder, "called"), "utf8") : "";

  it.each([
    ["mariadb", "mariadb from 11.4.2-MariaDB", "--skip-ssl"],
    ["mysql", "mysql  Ver 8.4.5 for Linux on x86_64", "--ssl-mode=DISABLED"],
    ["mysql", "mysql  Ver 15.1 Distrib 10.3.39-MariaDB, for debian-linux-gnu", "--skip-ssl"],
  ])("runs %s (%s) with the flags it knows", async (name, version, flag) => {
    install(name, version);
    expect((await connect()).status).toBe(4);
    expect(called()).toMatch(
      new RegExp(`${name} --host=127.0.0.1 --port=\\d+ --protocol=TCP --user=reader ${flag} --database=shop`),
    );
  });
  it("prefers mariadb where both are there, and says what to do where neither is", async () => {
    install("mysql", "mysql  Ver 8.4.5");
    install("mariadb", "mariadb");
    await connect();
    expect(called()).toContain("/mariadb ");
    const { status, stderr } = await world.run(["db", "connect", "shop"], { env: { PATH: "/nowhere" } });
    expect(status).not.toBe(0);
    expect(stderr).toContain("mariadb or mysql is not on PATH");
  });
  it("its help names the plugin file that a client may miss", async () => {
    expect((await world.run(["db", "connect", "--help"])).stdout).toContain("caching_sha2_password.so is missing");
  });
});
