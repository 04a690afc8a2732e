import { createAuthority } from "@sallyport/local/certificate";
import { expect, test } from "vitest";

import {
  asked,
  dial,
  dialTls,
  errorOf,
  front,
  head,
  host,
  login,
  server,
  token,
  usual,
  words,
} from "./mariadb-stage.ts";

const clear = Buffer.from(`${token}\0`);
const noAuth = Buffer.alloc(0);

test("an IAM user gets in with a good token, and is exactly that user inside", async () => {
  const to = await front();
  const ada = await login(to);
  const [rows] = await ada.query("select current_user() as who, database() as name");
  expect(rows).toEqual([{ who: "ada@%", name: "orders" }]);
  expect(asked).toMatchObject([{ user: "ada", database: "orders", host: "127.0.0.1", port: to.port }]);
  expect(to.counters()).toMatchObject({ connections: 1, admitted: 1, refused: 0, earlyBytes: 0 });
});

test("the grants in the database decide what an IAM user may do, and whether there is one", async () => {
  const to = await front();
  const ada = await login(to);
  await expect(ada.query("select * from mysql.global_priv")).rejects.toMatchObject({ errno: 1142, sqlState: "42000" });
  await server.sql("", "alter user ada account lock");
  await expect(login(to)).rejects.toMatchObject({ errno: 4151 });
  await server.sql("", "alter user ada account unlock");
  await server.sql("", "create user later@'%' identified by 'x'");
  await expect(login(to, { user: "later" })).rejects.toMatchObject({ errno: 1045 });
  await server.sql("", `alter user later@'%' identified via ed25519 using '${server.iamKey}'`);
  await login(to, { user: "later", database: "" });
});

test("an IAM user with a bad token is refused in the words of RDS", async () => {
  const to = await front();
  await expect(login(to, { password: `${token}x` })).rejects.toMatchObject({
    errno: 1045,
    sqlState: "28000",
    message: "Access denied for user 'ada'@'127.0.0.1' (using password: YES)",
  });
  expect(to.counters()).toMatchObject({ admitted: 0, refused: 1 });
});

test("a check that fails lets nobody in", async () => {
  const to = await front({ check: () => Promise.reject(new Error("out of order")) });
  await expect(login(to)).rejects.toThrow();
  expect(to.counters()).toMatchObject({ admitted: 0 });
});

test("a password user gets in with the password, and with nothing else", async () => {
  const to = await front();
  const grace = await login(to, { user: "grace", password: "hopper" });
  expect((await grace.query("select current_user() as who"))[0]).toEqual([{ who: "grace@%" }]);
  await expect(login(to, { user: "grace" })).rejects.toMatchObject({ errno: 1045 });
  expect(asked).toEqual([]);
});

test("an unknown user is refused as one with a wrong password is; an unknown database after the token", async () => {
  const to = await front();
  await expect(login(to, { user: "nobody" })).rejects.toMatchObject({ errno: 1045, sqlState: "28000" });
  await expect(login(to, { database: "nowhere" })).rejects.toMatchObject({ errno: 1044 });
  await expect(login(to, { database: "nowhere", password: "" })).rejects.toMatchObject({ errno: 1045 });
});

test("rdsadmin and names that a character set could make another of are refused, whatever the token", async () => {
  const to = await front({ check: () => true });
  for (const user of ["rdsadmin", "a[b"]) await expect(login(to, { user })).rejects.toMatchObject({ errno: 1045 });
  expect(to.counters()).toMatchObject({ admitted: 0 });
});

test("the greeting is the server's own: version, connection id, nonce", async () => {
  const to = await front();
  const ada = await login(to);
  const [rows] = await ada.query("select connection_id() as id, version() as version");
  expect(rows).toEqual([{ id: ada.threadId, version: server.version }]);
});

test("KILL QUERY by the id of the greeting ends the statement", async () => {
  const to = await front();
  const [ada, other] = [await login(to), await login(to)];
  const sleeping = ada.query("select sleep(60) as s");
  const state = `select count(*) from information_schema.processlist where id = ${ada.threadId} and info like '%sleep%'`;
  await expect.poll(() => server.sql("", state)).toEqual([["1"]]);
  const interrupted = expect(sleeping).rejects.toMatchObject({ errno: 1317, sqlState: "70100" });
  await other.query(`kill query ${ada.threadId}`);
  await interrupted;
});

test("a client that begins with mysql_clear_password is not asked again", async () => {
  const to = await front({ check: (ask) => ask.password.reveal() === "short" });
  const talk = await dialTls(to);
  talk.say(2, Buffer.concat([head(usual), words("ada", Buffer.from("short\0"), "mysql_clear_password")]));
  expect(await talk.hear()).toMatchObject({ sequence: 3, body: expect.toSatisfy((body: Buffer) => body[0] === 0) });
  talk.destroy();
});

test("the switch to mysql_clear_password is the one RDS makes", async () => {
  const talk = await dialTls(await front());
  talk.say(2, Buffer.concat([head(usual), words("ada", noAuth, "mysql_native_password")]));
  expect(await talk.hear()).toEqual({ sequence: 3, body: Buffer.from("\xfemysql_clear_password\0", "latin1") });
  talk.say(4, clear);
  expect(await talk.hear()).toMatchObject({ sequence: 5, body: expect.toSatisfy((body: Buffer) => body[0] === 0) });
  talk.destroy();
});

test("S-21 a login without TLS is refused", async () => {
  const to = await front();
  const talk = await dial(to);
  await talk.hear();
  talk.say(1, Buffer.concat([head(usual), words("grace", noAuth, "mysql_native_password")]));
  expect(errorOf((await talk.hear())?.body)).toMatch(/^1045 28000 Access denied for user 'grace'/);
  expect(await talk.hear()).toBeUndefined();
  expect(to.counters()).toMatchObject({ admitted: 0 });
});

test.each([
  ["an old protocol", Buffer.concat([head(0x200 | 0x8000), words("ada", noAuth, "x")]), /^1251 08004/],
  ["a name without its end", Buffer.concat([head(usual), Buffer.from("ada")]), /^1043 08S01/],
  [
    "a name that is not UTF-8",
    Buffer.concat([head(usual), words("", noAuth, ""), Buffer.from("x")]).fill(0xff, 32, 33),
    /^1043/,
  ],
  ["an answer longer than the packet", Buffer.concat([head(usual), Buffer.from("ada\0\xf0x\0", "latin1")]), /^1043/],
  ["attributes that are missing", Buffer.concat([head(usual | 0x10_0000), words("ada", noAuth, "x")]), /^1043/],
  ["a name over the limit", Buffer.concat([head(usual), words("a".repeat(81), noAuth, "x")]), /^1043/],
])("S-23 %s is refused", async (_, body, words) => {
  const to = await front();
  const talk = await dialTls(to);
  talk.say(2, body);
  expect(errorOf((await talk.hear())?.body)).toMatch(words);
  expect(to.counters()).toMatchObject({ admitted: 0, refused: 0 });
});

test("S-30 a number out of turn ends the login", async () => {
  const to = await front();
  const talk = await dialTls(to);
  talk.say(7, Buffer.concat([head(usual), words("ada", noAuth, "mysql_native_password")]));
  expect(errorOf((await talk.hear())?.body)).toMatch(/^1043 08S01 got packets out of order/);
});

test("S-22 who does not log in within the time is dropped, at every stage, and delays nobody", async () => {
  const to = await front({ loginWithinMs: 300 });
  const halfway = await dialTls(to);
  halfway.say(2, Buffer.concat([head(usual), words("ada", noAuth, "mysql_native_password")]));
  expect((await halfway.hear())?.body[0]).toBe(0xfe);
  const silent = [await dialTls(to), await dial(to)];
  await silent[1]?.hear();
  const half = await dialTls(to);
  half.raw(Buffer.from([0x50, 0, 0, 2, 1]));
  for (const talk of [halfway, half, ...silent]) expect(await talk.hear()).toBeUndefined();
  const ada = await login(to);
  await ada.query("select sleep(0.4)"); // a session outlives the deadline
});

test("told to, the front misbehaves, and behaves again", async () => {
  const to = await front({ loginWithinMs: 300 });
  const identity = await (await createAuthority({ now: Date.now() })).issue([host]);
  await to.misbehave({ is: "impostor", identity });
  await expect(login(to)).rejects.toThrow(/self.signed|unable to/i);
  await to.misbehave({ is: "plaintext" });
  await expect(login(to)).rejects.toThrow("Server does not support secure connection");
  await to.misbehave({ is: "garbage", at: "greeting", bytes: Buffer.from("HTTP/1.1 400\r\n\r\n") });
  expect((await (await dial(to)).hear())?.body.toString()).toBeUndefined();
  await to.misbehave({ is: "refusing" });
  await expect(login(to)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await to.misbehave();
  await login(to);
});

test("told to ask, to answer, to delay or to cut, it does that inside TLS", async () => {
  const to = await front();
  await to.misbehave({ is: "asking", method: "mysql_old_password", data: Buffer.from("12345678") });
  await expect(login(to)).rejects.toThrow("mysql_old_password");
  await to.misbehave({ is: "delaying", forMs: 200 });
  const before = performance.now();
  await login(to);
  expect(performance.now() - before).toBeGreaterThan(190);
  await to.misbehave({ is: "answering", bodies: [Buffer.from("\xff\x39\x30#HY000made up", "latin1")] });
  await expect((await login(to)).query("select 1")).rejects.toMatchObject({ errno: 12345 });
  await to.misbehave({ is: "cutting", afterBytes: 100_000 });
  await expect((await login(to)).query("select repeat('x', 1000000)")).rejects.toMatchObject({
    code: expect.stringMatching(/CONNECTION_LOST|ECONNRESET/),
  });
  await to.misbehave();
  const cut = (await login(to)).query("select sleep(60)");
  const lost = expect(cut).rejects.toMatchObject({ code: expect.stringMatching(/CONNECTION_LOST|ECONNRESET/) });
  expect(to.cut()).toBeGreaterThan(0);
  await lost;
});

test("large statements and answers pass whole", async () => {
  const ada = await login(await front());
  const text = "0123456789abcdef".repeat(17 * 65_536);
  const [rows] = await ada.query("select ? as whole", [text]);
  expect((rows as { whole: string }[])[0]?.whole === text).toBe(true);
});
