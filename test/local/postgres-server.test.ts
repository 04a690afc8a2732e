import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { secret } from "@sallyport/core/secret";
import { type Binaries, openBinaries } from "@sallyport/local/postgres/binaries";
import { type Postgres, quoteName, quoteText, startPostgres } from "@sallyport/local/postgres/server";
import { runStatement } from "@sallyport/local/postgres/statement";
import { afterAll, beforeAll, expect, test } from "vitest";

let binaries: Binaries;
let postgres: Postgres;
beforeAll(async () => {
  binaries = await openBinaries();
  postgres = await startPostgres({ binaries });
});
afterAll(async () => {
  await postgres.stop();
  await binaries.remove();
});

test("the server is set up as RDS sets it up", async () => {
  expect(postgres.major).toBe(18);
  expect(
    await postgres.sql("postgres", "select rolname, rolsuper, rolcanlogin from pg_roles where rolname ~ '^rds'"),
  ).toEqual(
    expect.arrayContaining([
      ["rdsadmin", "t", "t"],
      ["rds_iam", "f", "f"],
    ]),
  );
});

test("it listens on a private socket only", async () => {
  expect(await postgres.sql("postgres", "show listen_addresses")).toEqual([[""]]);
  expect((await stat(dirname(postgres.socket))).mode & 0o777).toBe(0o700);
});

test("an IAM user is a member of rds_iam without a password; a password user has SCRAM's verifier", async () => {
  await postgres.addUser("iam one", { iam: true });
  await postgres.addUser("pass one", { password: secret("it's") });
  const roles = await postgres.sql(
    "postgres",
    `select rolname, pg_has_role(rolname, 'rds_iam', 'member'), rolpassword is null, rolpassword like 'SCRAM-SHA-256$%'
     from pg_authid where rolname in ('iam one', 'pass one') order by 1`,
  );
  expect(roles).toEqual([
    ["iam one", "t", "t", null],
    ["pass one", "f", "f", "t"],
  ]);
  await expect(runStatement(postgres.socket, "pass one", "postgres", "select 1")).rejects.toThrow(
    "postgres does not trust pass one",
  );
});

test("names and texts are quoted, whatever is in them", async () => {
  const name = `we"ird'; drop role rds_iam; --`;
  await postgres.addUser(name, { iam: true });
  await postgres.addDatabase(name, name);
  expect(
    await postgres.sql(
      name,
      `select current_database(), ${quoteText(name)}, pg_get_userbyid(datdba)
      from pg_database where datname = current_database()`,
    ),
  ).toEqual([[name, name, name]]);
  expect(quoteName('a"b')).toBe('"a""b"');
});

test("rows are text, nulls are null, and letters are letters in any script", async () => {
  expect(await postgres.sql("postgres", "select 1, null, ''; select upper('é')")).toEqual([["1", null, ""], ["É"]]);
});

test("an error is the server's, with its SQLSTATE", async () => {
  await expect(postgres.sql("postgres", "selec")).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringContaining("syntax error"),
    details: { sqlstate: "42601" },
  });
  await expect(postgres.sql("nowhere", "select 1")).rejects.toMatchObject({ details: { sqlstate: "3D000" } });
});

test("a setting that the server refuses is told, and leaves nothing behind", async () => {
  await expect(startPostgres({ binaries, settings: { shared_buffers: "much" } })).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("shared_buffers"),
  });
});

test("stopping ends the sessions and deletes the folder", async () => {
  const another = await startPostgres({ binaries });
  const session = runStatement(another.socket, "rdsadmin", "postgres", "select pg_sleep(60)");
  const ended = expect(session).rejects.toThrow();
  await another.stop();
  await ended;
  await expect(access(dirname(another.socket))).rejects.toMatchObject({ code: "ENOENT" });
});

test.runIf(process.platform === "linux")("the server dies with a parent that is killed outright", async () => {
  const module = new URL("../../packages/local/src/postgres/server.ts", import.meta.url).href;
  const script = `
    const { startPostgres } = await import(${JSON.stringify(module)});
    console.log((await startPostgres()).socket);
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const socket = line.toString().trim();
  try {
    const witness = connect(socket);
    await once(witness, "connect");
    parent.kill("SIGKILL");
    await once(witness.resume(), "close"); // the postmaster's end
  } finally {
    parent.kill("SIGKILL");
    await rm(dirname(socket), { recursive: true, force: true });
  }
});

const debian = await openBinaries("debian").catch(() => undefined);
test.runIf(debian)("Debian's 15 serves in the same way", async () => {
  const old = await startPostgres({ binaries: "debian" });
  try {
    expect(old.major).toBe(15);
    await old.addUser("ada", { iam: true });
    expect(await runStatement(old.socket, "ada", "postgres", "select current_user, upper('é')")).toEqual([
      ["ada", "É"],
    ]);
  } finally {
    await old.stop();
  }
});
