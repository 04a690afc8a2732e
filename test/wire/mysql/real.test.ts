// Real drivers through both ways in to a real MariaDB: what a client of either family meets.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import type mysql2 from "mysql2/promise";
import { describe, expect, test } from "vitest";
import { byMariadb, byMysql2, type Way } from "./driver.ts";
import { certificate, connectToken, type Door, database, openDoor, password } from "./house.ts";

const run = promisify(execFile);
const linesOf = (door: Door, at = 0) => door.sessions[at]?.lines() ?? [];
const running = (text: string) =>
  database.sql(
    "",
    `select id from information_schema.processlist where info like '${text}%' and info not like '%processlist%'`,
  );
const untilRunning = async (text: string, count = 1): Promise<void> => {
  while ((await running(text)).length !== count);
};

describe.each(["plain", "gate"] as const)("%s", (way: Way) => {
  test("mysql2 logs in as the token's user, asks and prepares", async () => {
    const door = await openDoor(way);
    const client = await byMysql2(door, way);
    const [rows] = await client.query("select current_user() as u, database() as d");
    expect(rows).toEqual([{ u: "ada@%", d: "orders" }]);
    const [sum] = await client.execute("select ? + 1 as n, ? as t, ? as z", [41, "x'y", null]);
    expect(sum).toEqual([{ n: 42, t: "x'y", z: null }]);
    await expect(client.query("selec")).rejects.toMatchObject({ errno: 1064, sqlState: "42000" });
    await client.end();
    expect(linesOf(door)).toMatchObject([
      { type: "query", database: "orders", text: "select current_user() as u, database() as d" },
      { type: "complete", rows: 1 },
      { type: "prepare", text: "select ? + 1 as n, ? as t, ? as z" },
      { type: "prepared", parameters: 3 },
      { type: "execute", values: [41, "x'y", null] },
      { type: "complete", rows: 1 },
      { type: "query", text: "selec" },
      { type: "error", errno: 1064, sqlState: "42000" },
    ]);
  });

  test("mariadb (npm) logs in, asks, prepares and sends in bulk", async () => {
    const door = await openDoor(way);
    const client = await byMariadb(door, way);
    expect(await client.query("select current_user() as u")).toEqual([{ u: "ada@%" }]);
    await client.query("create or replace table bulk (a int, b text)");
    const rows = [[1, "one"], [2, null], [3, "three"]]; // biome-ignore format: a table
    await client.batch("insert into bulk values (?, ?)", rows);
    expect(await client.query("select count(*) as n, max(b) as m from bulk")).toEqual([{ n: 3n, m: "three" }]);
    await client.end();
    const told = linesOf(door).filter(({ type }) => type === "bulk_execute" || type === "execute");
    expect(told.flatMap(({ values }) => values)).toEqual(rows.flat());
  });

  test("statements in one text, results of procedures, and commands one behind the other", async () => {
    const door = await openDoor(way);
    const client = await byMysql2(door, way, { multipleStatements: true });
    const texts = "select 1 as a; do 1; select 2 as b";
    expect((await client.query(texts))[0]).toMatchObject([[{ a: 1 }], {}, [{ b: 2 }]]);
    await client.query("create or replace procedure two() begin select 1 as a; select 2 as b; end");
    expect((await client.query("call two()"))[0]).toMatchObject([[{ a: 1 }], [{ b: 2 }], {}]);
    const many = await Promise.all(Array.from({ length: 50 }, (_, n) => client.query(`select ${n} as n`)));
    expect(many.map(([rows]) => rows)).toEqual(Array.from({ length: 50 }, (_, n) => [{ n }]));
    const other = await byMariadb(door, way);
    const piped = await Promise.all(Array.from({ length: 50 }, (_, n) => other.query(`select ${n} as n`)));
    expect(piped).toEqual(Array.from({ length: 50 }, (_, n) => [{ n }]));
  });

  test("S-05 USE and COM_INIT_DB change the database that the audit shows; the user can't be changed", async () => {
    const door = await openDoor(way);
    const client = await byMysql2(door, way);
    await client.query("use stock");
    await client.query("select 1");
    await expect(client.changeUser({ user: "grace", password: "hopper" })).rejects.toMatchObject({ errno: 1235 });
    expect((await client.query("select database() as d, current_user() as u"))[0]).toEqual([
      { d: "stock", u: "ada@%" },
    ]);
    await client.end();
    expect(linesOf(door)).toMatchObject([
      { text: "use stock", database: "orders" },
      {},
      { text: "select 1", database: "stock" },
      {},
      { type: "refused", command: "change_user" },
      { database: "stock" },
      {},
    ]);
  });

  test("all types of parameters are decoded for the audit", async () => {
    const door = await openDoor(way);
    const client = await byMysql2(door, way);
    const at = new Date("2026-11-21T13:14:15.678Z");
    const values = [7, -1.5, "text", true, null, Buffer.from([0xff, 0]), at, "9007199254740993"];
    await client.execute(`select ${values.map(() => "?").join(", ")}`, values as never);
    const [executed] = linesOf(door).filter(({ type }) => type === "execute");
    const told = executed?.["values"] as unknown[];
    const plain = [-1.5, "text", null, { base64: "/wA=" }, "9007199254740993"];
    expect([told[1], told[2], told[4], told[5], told[7]]).toEqual(plain);
    expect(Number(told[0])).toBe(7);
    expect(Number(told[3])).toBe(1);
    expect(String(told[6])).toMatch(/^2026-11-2\d \d\d:\d\d:15/);
  });

  test.each([17, 33, 64])(
    "S-26 a statement and a row of %s MiB pass whole",
    async (size) => {
      const door = await openDoor(way);
      const client = await byMysql2(door, way);
      const text = "x".repeat(size * 1_048_576);
      const [rows] = (await client.query(`select '${text}' as t, length('${text.slice(0, 10)}') as l`)) as unknown as [
        { t: string }[],
      ];
      expect(rows[0]?.t === text).toBe(true);
      const parts = linesOf(door).filter(({ type }) => type === "query");
      expect(parts.reduce((all, { text: piece }) => all + String(piece).length, 0)).toBe(text.length + 41);
      const last = door.sessions[0]?.statements.filter(({ part }) => part !== undefined).at(-1);
      expect(last).toMatchObject({ part: parts.length - 1, last: true });
    },
    60_000,
  );

  test("S-26 payloads around the boundary of 16 MiB pass whole, both ways", async () => {
    const door = await openDoor(way);
    const client = await byMariadb(door, way, { maxAllowedPacket: 64 * 1_048_576 });
    for (const off of [-1, 0, 1]) {
      // the whole payload: the command's byte and the text
      const text = "x".repeat(0xff_ffff + off - 1 - "select '' as t".length);
      const rows = await client.query<{ t: string }[]>(`select '${text}' as t`);
      expect(rows[0]?.t === text).toBe(true);
      // a row of exactly so many bytes: its length takes four
      const row = await client.query<{ t: string }[]>(`select repeat('y', ${0xff_ffff + off - 4}) as t`);
      expect(row[0]?.t.length).toBe(0xff_ffff + off - 4);
    }
    expect(await client.query("select 1 as one")).toEqual([{ one: 1 }]);
  }, 60_000);

  test("S-31 LOAD DATA LOCAL is refused without the role option, and the connection goes on", async () => {
    const door = await openDoor(way);
    const client = await byMysql2(door, way, {
      flags: ["LOCAL_FILES"],
      infileStreamFactory: () => Readable.from([Buffer.from("1\n")]),
    });
    await client.query("create or replace table loaded (a int)");
    await expect(client.query("load data local infile 'x' into table loaded")).rejects.toMatchObject({ errno: 4166 });
    expect((await client.query("select count(*) as n from loaded"))[0]).toEqual([{ n: 0 }]);
  });

  test("S-31 LOAD DATA LOCAL works with the role option, and the audit counts its bytes", async () => {
    const door = await openDoor(way, { localFiles: true });
    const client = await byMysql2(door, way, { flags: ["LOCAL_FILES"] });
    await client.query("create or replace table loaded (a int)");
    const infileStreamFactory = () => Readable.from(Array.from({ length: 1000 }, (_, n) => Buffer.from(`${n}\n`)));
    await client.query({ sql: "load data local infile 'numbers' into table loaded", infileStreamFactory });
    expect((await client.query("select count(*) as n, max(a) as m from loaded"))[0]).toEqual([{ n: 1000, m: 999 }]);
    expect(linesOf(door)).toContainEqual({ type: "local_file", name: "numbers" });
    expect(linesOf(door)).toContainEqual(expect.objectContaining({ type: "complete", affected: 1000, copied: 3890 }));
  });

  test("KILL QUERY by the id that the client knows cancels, whoever gave the id", async () => {
    const door = await openDoor(way);
    const [sleeper, killer] = [await byMysql2(door, way), await byMysql2(door, way)];
    const { threadId } = sleeper as unknown as { threadId: number };
    expect(threadId >= 0x8000_0000).toBe(way === "plain");
    const slept = sleeper.query("select sleep(61) as s").catch((error: { errno: number }) => [[{ s: error.errno }]]);
    await untilRunning("select sleep(61)");
    await killer.query(`KILL QUERY ${threadId}`);
    const [[row]] = (await slept) as unknown as [[{ s: number }]];
    expect([1, 1317]).toContain(row.s);
    expect((await sleeper.query("select 1 as one"))[0]).toEqual([{ one: 1 }]);
    const told = linesOf(door, 1)[0];
    if (way === "plain") expect(told).toEqual({ type: "kill", what: "query", connection: threadId, answered: true });
    else expect(told).toMatchObject({ type: "query", text: `KILL QUERY ${threadId}` });
    expect((await killer.query("select 2 as two"))[0]).toEqual([{ two: 2 }]);
  });

  test("KILL of a connection ends it", async () => {
    const door = await openDoor(way);
    const [victim, killer] = [await byMysql2(door, way), await byMysql2(door, way)];
    const lost = new Promise((resolve) => victim.once("error", resolve));
    await killer.query(`kill ${(victim as unknown as { threadId: number }).threadId}`);
    await Promise.race([lost, victim.query("select 1").catch(() => {})]);
    await expect(victim.query("select 1")).rejects.toThrow();
  });

  test("the mariadb client's Ctrl-C cancels what it runs", async () => {
    const door = await openDoor(way);
    const args = ["--no-defaults", "-h127.0.0.1", `-P${door.port}`, "-uada", `-p${connectToken}`, "orders", "--force"];
    const tls = await mkdtemp(join(tmpdir(), "sallyport-ca-"));
    try {
      const ca = join(tls, "ca.pem");
      await writeFile(ca, certificate.ca);
      const secure = way === "plain" ? [`--ssl-ca=${ca}`, "--ssl-verify-server-cert"] : ["--skip-ssl"];
      const child = run("mariadb", [...args, ...secure, "-e", "select sleep(62); select 'after' as a"]);
      await untilRunning("select sleep(62)");
      child.child.kill("SIGINT");
      const { stdout } = await child.catch((failed: { stdout: string }) => failed);
      expect(stdout).toContain("query killed");
      await untilRunning("select sleep(62)", 0);
    } finally {
      await rm(tls, { recursive: true });
    }
  });

  test("a long result is streamed", async () => {
    const door = await openDoor(way);
    const client = await byMariadb(door, way);
    const rows: unknown[] = [];
    for await (const row of client.queryStream("select seq from seq_1_to_20000")) rows.push(row);
    expect(rows.length).toBe(20_000);
  });

  test("COM_RESET_CONNECTION, PING and STATISTICS pass", async () => {
    const door = await openDoor(way);
    const client = await byMariadb(door, way);
    await client.query("set @a = 1");
    await client.reset();
    await client.ping();
    expect(await client.query("select @a as a")).toEqual([{ a: null }]);
    expect(linesOf(door)).toContainEqual({ type: "command", command: "reset_connection" });
  });
});

test("a password user is logged in by challenge", async () => {
  const door = await openDoor("plain", { credential: password() });
  const client = await byMysql2(door, "plain", { user: "grace" });
  expect((await client.query("select current_user() as u"))[0]).toEqual([{ u: "grace@%" }]);
});

test("a bad token is refused in words, and so is a login without one", async () => {
  const door = await openDoor("plain");
  const bad = (word: string): Promise<mysql2.Connection> => byMysql2(door, "plain", { password: word });
  await expect(bad("wrong")).rejects.toMatchObject({ errno: 1045, sqlState: "28000" });
  await expect(bad("")).rejects.toMatchObject({ errno: 1045, message: expect.stringContaining("sally db login") });
});

test("S-21 a login without TLS is refused in words, before a password was asked for", async () => {
  const door = await openDoor("plain");
  await expect(byMysql2(door, "plain", { ssl: undefined as never })).rejects.toMatchObject({
    errno: 3159,
    message: expect.stringContaining("insecure transport"),
  });
});

test("a payload of 2^24 - 2 bytes of mysql2's, behind which it sends a stray packet, is answered as by the server alone", async () => {
  const door = await openDoor("plain");
  const client = await byMysql2(door, "plain");
  const text = `select 1 as a /*${"x".repeat(2 ** 24 - 2 - 1 - "select 1 as a /**/".length)}*/`;
  expect((await client.query(text))[0]).toEqual([{ a: 1 }]);
  await expect(client.query("select 2")).rejects.toThrow();
  await expect.poll(() => door.ends).toMatchObject([{ by: "cut", failure: { code: "protocol" } }]);
});
