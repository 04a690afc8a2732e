// Who comes and goes in the soak: each keeps doing one thing until it is told to end. What goes wrong that should not is counted.
import { spawn } from "node:child_process";
import type { Client as Api } from "@sallyport/client/client";
import pg from "pg";
import { type Door, doorOf, enter, logIn } from "../e2e/attack.ts";
import { say } from "../e2e/clients/raw.ts";
import { lock } from "../e2e/owner.ts";
import type { World } from "../e2e/world.ts";
import { dial, packet } from "../local/postgres-bytes.ts";

export interface Tally {
  readonly done: Map<string, number>;
  readonly failed: Map<string, number>;
}
type Work = (round: number) => Promise<void>;

const count = (in_: Map<string, number>, what: string): void => void in_.set(what, (in_.get(what) ?? 0) + 1);
const rest = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Again and again, with a short rest; `name` is what it is counted under. */
const keepDoing = async (name: string, tally: Tally, over: AbortSignal, work: Work): Promise<void> => {
  for (let round = 0; !over.aborted; round += 1) {
    try {
      await work(round);
      count(tally.done, name);
    } catch (thrown) {
      if (over.aborted) return;
      const { code = "", message } = thrown as { code?: string; message: string };
      count(tally.failed, `${name}: ${code} ${message}`);
      await rest(500);
    }
    await rest(20);
  }
};

const settingsOf = (door: Door) => ({
  host: "localhost",
  port: door.port,
  user: door.user,
  database: door.database,
  password: door.password,
  ssl: { ca: door.ca },
});

const program = "psql";
const psql = (door: Door, caFile: string, text: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const env = {
      PATH: process.env["PATH"],
      PGPASSWORD: door.password,
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: caFile,
    };
    const args = ["-X", "-q", "-h", "localhost", "-p", String(door.port), "-U", door.user, "-d", door.database];
    const child = spawn(program, [...args, "-c", text], { env, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (bytes: Buffer) => {
      said += bytes.toString();
    });
    child.once("error", reject);
    child.once("close", (status) => (status === 0 ? resolve() : reject(new Error(said.trim()))));
  });

/** A token is good for many logins, and a person may ask for so many tokens: each worker asks for another when its own is nearly used up. */
const openDoors = (fresh: () => Promise<Door>): ((logins?: number) => Promise<Door>) => {
  const [most, goodFor] = [80, 8 * 60_000];
  let door: Door | undefined;
  let [left, until] = [0, 0];
  return async (logins = 1) => {
    if (door === undefined || left < logins || performance.now() > until) {
      door = await fresh();
      [left, until] = [most, performance.now() + goodFor];
    }
    left -= logins;
    return door;
  };
};

/** Starts them all; resolves when all have ended, some time after `over`. */
export const mingle = (
  world: World,
  people: { ana: Api; bob: Api },
  tally: Tally,
  over: AbortSignal,
): Promise<unknown> => {
  const { laptop } = world;
  const doorFor = async (api: Api, user = "writer"): Promise<Door> => doorOf(laptop, await world.bearer(api, { user }));
  type Enter = (logins?: number) => Promise<Door>;
  const does = (name: string, work: (doors: Enter) => Work): Promise<void> =>
    keepDoing(name, tally, over, work(openDoors(() => doorFor(people.ana))));

  const query =
    (doors: Enter): Work =>
    async () => {
      const session = await enter(await doors());
      for (let at = 0; at < 200 && !over.aborted; at += 1) await session.query(`select ${at}, repeat('x', ${at * 50})`);
      session.send(say("X"));
      await session.ending();
    };
  const pool =
    (doors: Enter): Work =>
    async () => {
      const clients = new pg.Pool({ ...settingsOf(await doors(8)), max: 8 });
      clients.on("error", () => {});
      try {
        for (let at = 0; at < 100 && !over.aborted; at += 1)
          await Promise.all(Array.from({ length: 8 }, (_, one) => clients.query("select $1::int + 1", [one])));
      } finally {
        await clients.end();
      }
    };
  const copy =
    (doors: Enter): Work =>
    async () => {
      const session = await enter(await doors());
      session.send(say("Q", "copy (select repeat('y', 1000) from generate_series(1, 5000)) to stdout"));
      while ((await session.next())?.type !== "Z") if (over.aborted) break;
      session.send(say("X"));
      await session.ending();
    };
  const cancel =
    (doors: Enter): Work =>
    async () => {
      const client = new pg.Client(settingsOf(await doors()));
      client.on("error", () => {});
      await client.connect();
      const running = client.query("select pg_sleep(60)").then(
        () => "ran",
        (thrown: { code?: string }) => thrown.code,
      );
      const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
      await rest(100);
      // as libpq does it: a connection of its own, in plain text
      const killer = await dial({ host: "localhost", port: laptop.ports.postgres });
      const body = Buffer.alloc(8);
      body.writeInt32BE(processID);
      body.writeInt32BE(secretKey, 4);
      killer.end(packet(80_877_102, body));
      const code = await running;
      killer.destroy();
      await client.end();
      if (code !== "57014") throw new Error(`a cancel ended in ${code}`);
    };
  const denial =
    (doors: Enter): Work =>
    async (round) => {
      const door = await doors();
      const wrong = round % 2 === 0 ? { ...door, password: `spc_${"x".repeat(43)}` } : { ...door, user: "rdsadmin" };
      const how = await logIn(wrong);
      if (!("code" in how)) throw new Error("it was let in");
      await rest(1_000);
    };
  const locking = (): Work => async () => {
    const session = await enter(await doorFor(people.bob));
    await lock(world, "bob-out", { user: "bob" });
    const { code } = await session.ending();
    await world.admin.call("removeResource", { kind: "lock", name: "bob-out" });
    if (code !== "57P01") throw new Error(`a lock ended in ${code}`);
    await rest(5_000);
  };
  const rude =
    (doors: Enter): Work =>
    async () => {
      const session = await enter(await doors());
      session.send(say("Q", "select repeat('z', 1000) from generate_series(1, 100000)"));
      await session.next();
      session.socket.destroy();
      await rest(200);
    };
  const shell =
    (doors: Enter): Work =>
    async () =>
      psql(await doors(), laptop.caFile, "select count(*) from item");
  return Promise.all([
    ...Array.from({ length: 4 }, () => does("queries", query)),
    ...Array.from({ length: 2 }, () => does("pools", pool)),
    does("COPY", copy),
    does("cancels", cancel),
    does("denials", denial),
    does("locks", locking),
    does("vanishing clients", rude),
    does("psql", shell),
  ]);
};
