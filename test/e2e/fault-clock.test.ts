// S-50: clocks that are off. Proxies and functions whose whole process lives at another time, before anything else of it runs: up to
// five minutes nobody notices; beyond it AWS and we refuse what is of another time, and it is said that a clock is to blame. Whoever
// judges that a proxy is gone compares no clocks.
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "@sallyport/client/client";
import { keys } from "@sallyport/core/family";
import type { ProxyTask } from "@sallyport/local/fleet";
import { afterAll, beforeAll, expect, it } from "vitest";
import { dial, packet } from "../local/postgres-bytes.ts";
import { doorOf, enter, eventually, refused } from "./attack.ts";
import { openOwnTable, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let folder: string;
let world: World;
let table: Table;
let ana: Client;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-skew-"));
  world = await openWorld();
  table = openOwnTable(world.laptop);
  ana = await world.person("ana", ["dev"]);
});
afterAll(async () => {
  table?.close();
  await world?.close();
  await rm(folder, { recursive: true, force: true });
});

/** What a process is started with to live so many minutes from now. */
const skewBy = (minutes: number): Readonly<Record<string, string>> => {
  const file = join(folder, `skew${minutes}.mjs`);
  const off = minutes * 60_000;
  writeFileSync(
    file,
    `const D = Date;
     globalThis.Date = class extends D {
       constructor(...args) { if (args.length === 0) super(D.now() + ${off}); else super(...args); }
       static now() { return D.now() + ${off}; }
     };`,
  );
  return { NODE_OPTIONS: `--import=file://${file}` };
};
const doorTo = async (task: ProxyTask) => doorOf(world.laptop, await world.bearer(ana), task.ports.postgres);
/** Two runs of the sweep, with a heartbeat between them that takes the first one's mark off. */
const sweepTwice = async (of: World, own: Table, task: ProxyTask): Promise<void> => {
  const nothing = { proxies: expect.not.arrayContaining([task.id]), sessions: [], failures: [] };
  const isMarked = async (): Promise<boolean> => (await own.store.get(keys.proxy(task.id)))?.["seenAt"] !== undefined;
  expect(await of.laptop.runtime.invoke("sweep", {})).toMatchObject(nothing);
  await eventually("the next heartbeat", async () => !(await isMarked()), 15_000);
  expect(await of.laptop.runtime.invoke("sweep", {})).toMatchObject(nothing);
};

it.each([4.5, -4.5])(
  "S-50 a proxy whose clock is %d minutes off serves, and neither sweep nor peers take it for gone",
  { timeout: 90_000 },
  async (minutes) => {
    const skewed = await world.laptop.startProxy(skewBy(minutes));
    const session = await enter(await doorTo(skewed));
    expect(await session.query("select 1")).toEqual(["1"]);
    await sweepTwice(world, table, skewed);
    expect(await session.query("select 2")).toEqual(["2"]);
    // libpq's cancel, at a proxy whose clock is right: it has to ask the other
    const running = session.query("select pg_sleep(60)").catch((thrown: { code?: string }) => thrown.code);
    const [healthy] = world.proxies;
    await eventually(
      "the cancel",
      async () => {
        const killer = await dial({ host: "localhost", port: healthy?.ports.postgres ?? 0 });
        killer.end(packet(80_877_102, session.key));
        return (await Promise.race([running, new Promise((go) => setTimeout(go, 500, "runs"))])) === "57014";
      },
      20_000,
    );
    session.close();
    await world.laptop.stopProxy(skewed);
  },
);

it("S-50 a proxy more than five minutes ahead reaches the table, and says that RDS refuses it for its clock", {
  timeout: 90_000,
}, async () => {
  const skewed = await world.laptop.startProxy(skewBy(5.2));
  const how = await refused(await doorTo(skewed));
  expect(how.code).toBe("28000");
  expect(`${how.message} ${how.hint}`).toMatch(/clock/);
  await sweepTwice(world, table, skewed);
  await world.laptop.stopProxy(skewed);
});

it("S-50 a proxy more than five minutes behind takes no token of its future, and its log says why", {
  timeout: 90_000,
}, async () => {
  const skewed = await world.laptop.startProxy(skewBy(-5.2));
  expect(await refused(await doorTo(skewed))).toMatchObject({ message: "this token is not valid here" });
  expect(skewed.log()).toContain("issued in the future");
  await sweepTwice(world, table, skewed);
  await world.laptop.stopProxy(skewed);
});

it.each([
  [4.5, true],
  [6, false],
  [-6, true],
])(
  "S-50 with functions %d minutes off AWS is reached, people log in and proxies are not swept; sessions begin: %s",
  { timeout: 120_000 },
  async (minutes, begins) => {
    const off = await openWorld({ functionEnv: skewBy(minutes) });
    const own = openOwnTable(off.laptop);
    try {
      const bea = await off.person("bea", ["dev"]);
      const answer = await off.bearer(bea);
      expect(Math.abs(answer.expiresAt - 15 * 60_000 - (Date.now() + minutes * 60_000))).toBeLessThan(30_000);
      const [task] = off.proxies;
      if (!task) throw new Error("a world has a proxy");
      const door = doorOf(off.laptop, answer, task.ports.postgres);
      if (begins) {
        const session = await enter(door);
        await sweepTwice(off, own, task);
        expect(await session.query("select 1")).toEqual(["1"]);
        session.close();
      } else {
        // a token of its future: like any bad one to whoever shows it
        expect(await refused(door)).toMatchObject({ message: "this token is not valid here" });
        expect(task.log()).toContain("issued in the future");
        await sweepTwice(off, own, task);
      }
      if (Math.abs(minutes) < 5) expect(answer.state).toBe("ready");
    } finally {
      own.close();
      await off.close();
    }
  },
);
