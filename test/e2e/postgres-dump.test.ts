// pg_dump into psql through the proxy, both ends of it. Debian's pg_dump refuses a server newer than itself, so this one runs on
// Debian's server.
import { existsSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isOnPath, start } from "./clients/program.ts";
import { libpqEnv, openTunnelFor, type Place } from "./clients/way.ts";
import { openWorld, plainly, type World } from "./world.ts";

const missing = ["/usr/lib/postgresql/15/bin/postgres"]
  .filter((file) => !existsSync(file))
  .concat(["psql", "pg_dump"].filter((program) => !isOnPath(program)));

const copies = ["copy_plain", "copy_tunnel"];
const undo: (() => Promise<unknown>)[] = [];
let world: World;
beforeAll(async () => {
  if (missing.length > 0) return;
  world = await openWorld({ build: "debian" });
  undo.push(() => world.close());
  const [server] = world.servers;
  for (const name of copies) await server?.addDatabase(name, "writer");
  await server?.sql(
    "orders",
    `set role writer;
     create table entry (id serial primary key, at timestamptz not null, body text, data bytea, item int references item);
     insert into entry (at, body, data, item) select to_timestamp(n), repeat(md5(n::text), 8), decode(md5(n::text), 'hex'), n % 1000 + 1
       from generate_series(1, 20000) n;
     create view recent as select * from entry order by at desc limit 10;
     create function twice(n int) returns int language sql as 'select 2 * n';
     select lo_from_bytea(4711, decode(repeat('00ff10', 30000), 'hex'));`,
  );
  await world.put({
    kind: "role",
    version: "v7",
    metadata: { name: "copier" },
    spec: { allow: { db_labels: { env: "dev" }, db_users: ["writer"], db_names: ["orders", ...copies] } },
  });
});
afterAll(async () => {
  for (const step of undo.reverse()) await step();
});

describe("pg_dump into psql", () => {
  beforeEach(({ skip }) =>
    skip(missing.length > 0, `missing: ${missing.join(" ")}: apt install postgresql-15 postgresql-client`),
  );

  /** Tables, a view, a function, a sequence and a large object, as one value. */
  const contents = async (database: string): Promise<unknown> =>
    world.servers[0]?.sql(
      database,
      `select (select count(*) || md5(string_agg(e::text, '' order by id)) from entry e),
              (select count(*) || md5(string_agg(i::text, '' order by id)) from item i),
              (select count(*) || md5(string_agg(r::text, '' order by id)) from recent r),
              twice(21), (select last_value from entry_id_seq), md5(lo_get(4711))`,
    );
  const transfer = async (from: Place, to: Place): Promise<void> => {
    const dump = start("pg_dump", ["--no-owner", "--no-privileges", "--blobs"], { env: libpqEnv(from), open: true });
    const restore = start("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1"], { env: libpqEnv(to), open: true });
    const [out, into] = [dump.child.stdout, restore.child.stdin];
    if (!out || !into) throw new Error("no pipes");
    await pipeline(out, into);
    expect(await dump.outcome).toMatchObject({ status: 0, stderr: "" });
    expect(await restore.outcome).toMatchObject({ status: 0, stderr: "" });
  };

  it("carries a whole database over by the plain port", async () => {
    const dora = await world.person("dora", ["copier"]);
    const place = async (name: string): Promise<Place> =>
      plainly(world.laptop, await world.bearer(dora, { user: "writer", name }));
    await transfer(await place("orders"), await place("copy_plain"));
    expect(await contents("copy_plain")).toEqual(await contents("orders"));
  });
  it("carries a whole database over by the tunnel", async () => {
    await world.person("tom", ["copier"]);
    const place = async (name: string): Promise<Place> => {
      const opened = await openTunnelFor(world, "tom", { database: "orders", user: "writer", name });
      undo.push(opened.close);
      const { host, port } = opened.tunnel;
      return { host, port, user: "writer", database: name, password: "any" };
    };
    await transfer(await place("orders"), await place("copy_tunnel"));
    expect(await contents("copy_tunnel")).toEqual(await contents("orders"));
  });
});
