import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { secret } from "@sallyport/core/secret";
import { createAuthority } from "@sallyport/local/certificate";
import { haveBinaries, howToInstall } from "@sallyport/local/mariadb/binaries";
import { type MariaDb, quoteName, quoteText, startMariaDb } from "@sallyport/local/mariadb/server";
import { runStatement } from "@sallyport/local/mariadb/statement";
import mariadb from "mariadb";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

const binaries = await haveBinaries();
beforeEach(({ skip }) => skip(!binaries, `no MariaDB here: ${howToInstall}`));

const password = secret("it's a \\ password");
let server: MariaDb;
let ca: string;
beforeAll(async () => {
  if (!binaries) return;
  const authority = await createAuthority({ now: Date.now() });
  ca = authority.ca;
  server = await startMariaDb({ tls: await authority.issue(["localhost", "127.0.0.1"]) });
  await server.addUser("grace", { password });
});
afterAll(() => server?.stop());

test("the server is set up as RDS sets it up: rdsadmin, and nobody without a password", async () => {
  expect(server.version).toMatch(/MariaDB/);
  expect(await server.sql("", "select current_user()")).toEqual([["rdsadmin@localhost"]]);
  expect(await server.sql("", "select user, host from mysql.user where user not in ('mariadb.sys', 'grace')")).toEqual([
    ["rdsadmin", "localhost"],
  ]);
  await expect(runStatement(server.socket, { user: "root", password: secret("") }, "", "select 1")).rejects.toThrow(
    "1045 28000 Access denied",
  );
});

test("without a certificate it listens on a private socket only", async () => {
  const inside = await startMariaDb();
  try {
    expect(inside.port).toBe(0);
    expect(await inside.sql("", "select @@skip_networking")).toEqual([["1"]]);
    expect((await stat(dirname(inside.socket))).mode & 0o777).toBe(0o700);
  } finally {
    await inside.stop();
  }
  await expect(access(dirname(inside.socket))).rejects.toMatchObject({ code: "ENOENT" });
});

test("a password user gets in over verified TLS, and is that user inside", async () => {
  const client = await mariadb.createConnection({
    host: "localhost",
    port: server.port,
    user: "grace",
    password: password.reveal(),
    ssl: { ca },
  });
  expect(await client.query("select current_user() as who")).toMatchObject([{ who: "grace@%" }]);
  await client.end();
});

test("an IAM user has the front's key and no password", async () => {
  await server.addUser("ada", { iam: true });
  expect(await server.sql("", "select plugin, authentication_string from mysql.user where user = 'ada'")).toEqual([
    ["ed25519", server.iamKey],
  ]);
  await expect(runStatement(server.socket, { user: "ada", password: secret("") }, "", "select 1")).rejects.toThrow(
    "mariadb",
  );
});

test("names and texts are quoted, whatever is in them; rows are text and nulls are null", async () => {
  const name = "we`ird'; drop";
  await server.addUser(name, { password: secret("x") });
  await server.addDatabase(name);
  expect(await server.sql(name, `select database(), ${quoteText("a'\\b")}, null, '', 'é'; select 2`)).toEqual([
    [name, "a'\\b", null, "", "é"],
    ["2"],
  ]);
  expect(quoteName("a`b")).toBe("`a``b`");
});

test("an error is the server's, with its number", async () => {
  await expect(server.sql("", "selec")).rejects.toMatchObject({ code: "invalid", details: { errno: 1064 } });
  await expect(server.sql("nowhere", "select 1")).rejects.toMatchObject({ details: { errno: 1049 } });
});

test("a setting that the server refuses is told, and leaves nothing behind", async () => {
  await expect(startMariaDb({ settings: { innodb_page_size: "much" } })).rejects.toMatchObject({ code: "unavailable" });
});

test.runIf(process.platform === "linux")("the server dies with a parent that is killed outright", async () => {
  const module = new URL("../../packages/local/src/mariadb/server.ts", import.meta.url).href;
  const script = `
    const { startMariaDb } = await import(${JSON.stringify(module)});
    console.log((await startMariaDb()).socket);
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const socket = line.toString().trim();
  try {
    const witness = connect(socket);
    await once(witness, "data"); // the greeting
    parent.kill("SIGKILL");
    await once(witness.resume(), "close");
  } finally {
    parent.kill("SIGKILL");
    await rm(dirname(socket), { recursive: true, force: true });
  }
});
