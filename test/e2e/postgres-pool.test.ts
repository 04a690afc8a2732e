// A connection pool on one bearer token: twenty logins, and not one more.
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { pgConfig } from "./clients/pg.ts";
import { openWorld, plainly, type World } from "./world.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world?.close());

it("S-04 a pool of 20 works on one bearer token, and the 21st login is refused with 28P01", async () => {
  const ana = await world.person("ana", ["dev"]);
  const config = pgConfig(plainly(world.laptop, await world.bearer(ana)));
  const pool = new pg.Pool({ ...config, max: 20 });
  try {
    const clients = await Promise.all(Array.from({ length: 20 }, () => pool.connect()));
    const pids = await Promise.all(
      clients.map(
        async (client) => (await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]?.pid,
      ),
    );
    expect(new Set(pids).size).toBe(20);
    for (const client of clients) client.release();
    const sums = await Promise.all(
      Array.from({ length: 400 }, (_, n) => pool.query<{ n: number }>("select $1::int + 1 as n", [n])),
    );
    expect(sums.map(({ rows }) => rows[0]?.n)).toEqual(Array.from({ length: 400 }, (_, n) => n + 1));

    const late = new pg.Client(config);
    late.on("error", () => {});
    await expect(late.connect()).rejects.toMatchObject({ code: "28P01", severity: "FATAL" });
    // those that are in stay in
    expect((await pool.query("select current_user")).rows).toEqual([{ current_user: "reader" }]);
  } finally {
    await pool.end();
  }
});

it("S-04 of 25 that come at once with one token, exactly 20 are let in", async () => {
  const bea = await world.person("bea", ["dev"]);
  const config = pgConfig(plainly(world.laptop, await world.bearer(bea)));
  const clients = Array.from({ length: 25 }, () => new pg.Client(config).on("error", () => {}));
  const outcomes = await Promise.allSettled(clients.map((client) => client.connect()));
  const refused = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [(outcome.reason as { code?: string }).code] : [],
  );
  expect(refused).toEqual(Array<string>(5).fill("28P01"));
  await Promise.all(clients.map((client) => client.end().catch(() => {})));
});
