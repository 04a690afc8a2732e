// Work of the heavier kind on MariaDB, through both ways in: dump and restore, files of the client's own, payloads beyond one
// packet, a pool under load, and what the audit and a lock make of it.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import mysql from "mysql2/promise";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { recordsOf } from "../contract/audit-sink.ts";
import { eventually } from "./attack.ts";
import { cliWords } from "./clients/mariadb-cli.ts";
import { mysql2Config } from "./clients/mysql2.ts";
import { isOnPath, run, start } from "./clients/program.ts";
import { openTunnelFor, type Place, type Way } from "./clients/way.ts";
import { atWork, bearerOf, missing, openShop, type Shop } from "./mysql-world.ts";
import { lock } from "./owner.ts";
import { plainly } from "./world.ts";

let shop: Shop;
let folder: string;
const undo: (() => Promise<unknown>)[] = [];
const copies = ["copy_plain", "copy_tunnel"];

beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing !== undefined) return;
  folder = await mkdtemp(join(tmpdir(), "sally-e2e-"));
  undo.push(() => rm(folder, { recursive: true, force: true }));
  shop = await openShop();
  undo.push(() => shop.close());
  for (const name of copies) {
    await shop.server.addDatabase(name);
    await shop.server.sql("", `grant all on ${name}.* to writer`);
  }
  await shop.server.sql(
    "orders",
    `create table entry (id int auto_increment primary key, at datetime(6) not null, body text, data blob, item int references item (id));
     insert into entry (at, body, data, item) select from_unixtime(seq), repeat(md5(seq), 8), unhex(md5(seq)), seq % 1000 + 1 from seq_1_to_20000;
     create definer = writer@'%' sql security invoker view recent as select * from entry order by at desc limit 10`,
  );
  const allow = { db_labels: { env: "dev" }, db_users: ["reader", "writer"] };
  await shop.world.put({
    kind: "role",
    version: "v7",
    metadata: { name: "loader" },
    spec: { allow, options: { local_files: true } },
  });
});
afterAll(async () => {
  for (const step of undo.reverse()) await step();
});

/** Where somebody with these roles comes in as writer, by either way. */
const ways: readonly (readonly [string, (person: string, roles: readonly string[]) => Promise<Way>])[] = [
  [
    "the plain port",
    async (person, roles) => {
      const client = await shop.world.person(person, roles);
      const place = async (): Promise<Place> => plainly(shop.world.laptop, await bearerOf(client, { user: "writer" }));
      return { name: "the plain port", place };
    },
  ],
  [
    "the tunnel",
    async (person, roles) => {
      await shop.world.person(person, roles);
      const { tunnel, close } = await openTunnelFor(shop.world, person, {
        database: "shop",
        user: "writer",
        name: "orders",
      });
      undo.push(close);
      const { host, port } = tunnel;
      return {
        name: "the tunnel",
        place: async () => ({ host, port, user: "writer", database: "orders", password: "any" }),
      };
    },
  ],
];

describe.each(ways)("through %s", (name, open) => {
  const short = name.split(" ")[1] ?? "";
  let way: Way;
  beforeAll(async () => {
    if (missing === undefined) way = await open(`wendy-${short}`, ["dev"]);
  });
  const connect = async (over: mysql.ConnectionOptions = {}): Promise<mysql.Connection> => {
    const client = await mysql.createConnection({ ...mysql2Config(await way.place()), ...over });
    undo.push(async () => client.destroy());
    return client;
  };

  /** Tables and a view, as one value. */
  const contents = (database: string): Promise<unknown> =>
    shop.server.sql(
      database,
      `set session group_concat_max_len = 100000000;
       select count(*), md5(group_concat(id, at, body, hex(data), item order by id)) from entry;
       select count(*), md5(group_concat(id, name order by id)) from item;
       select count(*), md5(group_concat(id order by id)) from recent`,
    );

  it("mariadb-dump into mariadb carries a whole database over", async ({ skip }) => {
    skip(!isOnPath("mariadb-dump"), "mariadb-dump is not on PATH: apt install mariadb-client");
    const [, ...from] = cliWords(await way.place());
    const [, ...to] = cliWords({ ...(await way.place()), database: `copy_${short === "plain" ? "plain" : "tunnel"}` });
    const dump = start("mariadb-dump", [...from.filter((word) => !word.startsWith("--database=")), "orders"], {
      open: true,
    });
    const restore = start("mariadb", to, { open: true });
    const [out, into] = [dump.child.stdout, restore.child.stdin];
    if (!out || !into) throw new Error("no pipes");
    await pipeline(out, into);
    expect(await dump.outcome).toMatchObject({ status: 0, stderr: "" });
    expect(await restore.outcome).toMatchObject({ status: 0, stderr: "" });
    expect(await contents(`copy_${short === "plain" ? "plain" : "tunnel"}`)).toEqual(await contents("orders"));
  });

  it("LOAD DATA LOCAL is refused unless the role allows it, and then reads the client's file", async ({ skip }) => {
    skip(!isOnPath("mariadb"), "mariadb is not on PATH: apt install mariadb-client");
    const file = join(folder, `${short}.csv`);
    await writeFile(file, Array.from({ length: 30_000 }, (_, n) => `${n}\tline ${n}\n`).join(""));
    const script = `create temporary table t (n int, s text); load data local infile '${file}' into table t; select count(*), max(s) from t;`;
    const load = async (from: Way) => {
      const [program, ...words] = cliWords(await from.place());
      return run(program, [...words, "--local-infile=1", "--batch", "--skip-column-names"], { input: script });
    };
    const refused = await load(way);
    expect([refused.status, refused.stdout]).toEqual([1, ""]);
    expect(refused.stderr).toMatch(/ERROR (1148|4166|3948|1227) \(\w{5}\)/);
    const allowed = await load(await open(`lola-${short}`, ["loader"]));
    expect(allowed).toMatchObject({ status: 0, stdout: "30000\tline 9999\n", stderr: "" });
  });

  it.each([17, 33, 64])(
    "S-26 statements and rows of %s MiB pass whole",
    async (size) => {
      const client = await connect();
      const text = "0123456789abcdef".repeat(size * 65_536);
      const [plain] = await client.query<mysql.RowDataPacket[]>("select ? as whole", [text]);
      expect(plain[0]?.["whole"] === text).toBe(true);
      const [prepared] = await client.execute<mysql.RowDataPacket[]>("select md5(?) as sum, length(?) as n", [
        text,
        "x",
      ]);
      expect(prepared[0]).toMatchObject({ n: 1 });
      expect((await client.query("select 1 as n"))[0]).toEqual([{ n: 1 }]);
      client.destroy();
    },
    60_000,
  );

  it("a pool of 20 works under load, prepared and not", async () => {
    const pool = mysql.createPool({ ...mysql2Config(await way.place()), connectionLimit: 20 });
    try {
      const answers = await Promise.all(
        Array.from({ length: 1_000 }, (_, n) =>
          n % 2 === 0
            ? pool.query<mysql.RowDataPacket[]>("select ? + 1 as n, connection_id() as id", [n])
            : pool.execute<mysql.RowDataPacket[]>("select ? + 1 as n, connection_id() as id", [n]),
        ),
      );
      expect(answers.map(([rows]) => Number(rows[0]?.["n"]))).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 1));
      expect(new Set(answers.map(([rows]) => rows[0]?.["id"])).size).toBe(20);
    } finally {
      await pool.end();
    }
  });

  it("the audit shows statements with their parameters, and the database they ran in", async () => {
    const client = await connect();
    await client.query(`select 'marked ${short}' as mark`);
    await client.query("use information_schema");
    await client.execute("select ? as a, ? as b", [`value ${short}`, 42]);
    await client.end();
    let lines: readonly Readonly<Record<string, unknown>>[] = [];
    await eventually(
      "the lines are written",
      async () => {
        // long lines are of the statements of 64 MiB beside this
        const brief = (await shop.world.laptop.trail()).map((line) =>
          line.length < 10_000 ? line : `${/^\{.*?"at":\d+/.exec(line)?.[0]}}`,
        );
        const all = recordsOf(brief);
        const mine = all.find(({ text }) => text === `select 'marked ${short}' as mark`);
        lines = all.filter(({ session }) => session === mine?.["session"]);
        return lines.some(({ type }) => type === "execute");
      },
      20_000,
    );
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ type: "query", text: `select 'marked ${short}' as mark`, database: "orders" }),
        expect.objectContaining({ type: "prepare", text: "select ? as a, ? as b", database: "information_schema" }),
        expect.objectContaining({ type: "execute", values: [`value ${short}`, 42] }),
      ]),
    );
  });

  it("a lock cuts a live session with its reason, in MySQL's words", async () => {
    const person = `lou-${short}`;
    const own = await open(person, ["dev"]);
    const client = await mysql.createConnection(mysql2Config(await own.place()));
    client.on("error", () => {});
    const sleeping = client.query(`select sleep(60) as lock_${short}`);
    const cut = expect(sleeping).rejects.toMatchObject({
      errno: 1927,
      sqlState: "70100",
      message: expect.stringContaining(`for ${person}`),
    });
    await atWork(shop.server, `lock_${short}`);
    await lock(shop.world, person, { user: person });
    await cut;
    client.destroy();
  });
});

it("S-04 a bearer token is good for twenty logins, and the next is refused with 1045", async () => {
  const client = await shop.world.person("tally", ["dev"]);
  const config = mysql2Config(plainly(shop.world.laptop, await bearerOf(client)));
  const outcomes = await Promise.allSettled(Array.from({ length: 25 }, () => mysql.createConnection(config)));
  const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
  for (const outcome of outcomes) if (outcome.status === "fulfilled") outcome.value.destroy();
  expect(refused).toEqual(Array(5).fill(expect.objectContaining({ errno: 1045, sqlState: "28000" })));
});
