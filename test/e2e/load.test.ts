// Load: a burst of a thousand, many who only stay, as many as may be, peers that vanish. Nobody hangs,
// nobody is dropped without a word who came in time, others go on, and memory and descriptors come back.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Client } from "@sallyport/client/client";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { type Door, doorOf, enter, eventually, type Session, within } from "./attack.ts";
import { arriveAs, endAll, gather, isSession, stay, tell, weigh } from "./crowd.ts";
import { type Light, makeLight } from "./light.ts";
import { openOwnTable, roleOf, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let table: Table;
let light: Light;
let ana: Client;
beforeAll(async () => {
  world = await openWorld();
  table = openOwnTable(world.laptop);
  light = makeLight();
  await world.laptop.databases.addInstance({ id: "light", tags: { env: "load" } }, light);
  await world.discover();
  await world.put(roleOf("crowd", { bearer_logins: 5_000 }, "load"));
  await world.put(roleOf("few", { bearer_logins: 100, max_connections: 3 }, "load"));
  ana = await world.person("ana", ["crowd", "dev"]);
});
afterAll(async () => {
  table?.close();
  await world?.close();
});

const proxy = () => {
  const [first] = world.proxies;
  if (!first) throw new Error("a world has a proxy");
  return first;
};
const doorTo = async (client: Client, database: string): Promise<Door> =>
  doorOf(world.laptop, await world.bearer(client, { database }), proxy().ports.postgres);
/** What a test that failed leaves is not the next one's. */
afterEach(() => endAll());

/** Connections to the table that are kept open for the next request, and a few to spare. */
const kept = 80;

const leaveAll = async (sessions: readonly Session[]): Promise<void> => {
  for (const { socket } of sessions) socket.destroy();
  await eventually("the upstream ends", () => light.live() === 0, 20_000);
};
const complaints = (): readonly string[] =>
  proxy()
    .log()
    .split("\n")
    .filter((line) => /"level":"(ERROR|CRITICAL)"/.test(line));

/** Tries again as people do: on a busy machine a login may be told that its ten seconds are over. */
const insist = async (door: Door): Promise<Session> => {
  for (;;) {
    const how = await arriveAs(0, door);
    if (isSession(how)) return how;
    expect(how.code).toMatch(/^(57014|closed)$/);
  }
};

it("of 1,000 that come at once each is served or told why not, none hangs, and others log in meanwhile", {
  timeout: 240_000,
}, async () => {
  const burst = await doorTo(ana, "light");
  const other = await doorTo(ana, "orders");
  const before = weigh(proxy().pid);
  const arriving = gather(1_000, 1_000, (at) => arriveAs(at, burst, 90_000));
  // somebody else, at another database, while they come
  const bystander = await within(60_000, "somebody else's login", insist(other));
  expect(await bystander.query("select 1")).toEqual(["1"]);
  bystander.close();
  const all = await arriving;
  const sessions = all.filter(isSession);
  const refusals = new Map<string, number>();
  for (const one of all)
    if (!isSession(one))
      refusals.set(`${one.code} ${one.message}`, (refusals.get(`${one.code} ${one.message}`) ?? 0) + 1);
  expect(all).toHaveLength(1_000);
  // the pace of RDS's own IAM logins, and the time a login may take
  for (const words of refusals.keys()) expect(words).toMatch(/^(53300|57014|57P03) \S/);
  expect(sessions.length, JSON.stringify([...refusals])).toBeGreaterThanOrEqual(250);
  console.log(`burst of 1,000: ${sessions.length} served, ${JSON.stringify([...refusals])}`);
  await Promise.all(sessions.slice(0, 50).map((session) => session.query("anything")));
  await leaveAll(sessions);
  await eventually(
    "the descriptors come back",
    () => weigh(proxy().pid).descriptors <= before.descriptors + kept,
    20_000,
  );
  expect(complaints()).toEqual([]);
});

/** More by hand: SALLYPORT_LOAD=2000. */
const many = Number(process.env["SALLYPORT_LOAD"] ?? 300);
it(`${many} who only stay weigh what they may, and leave nothing`, { timeout: 400_000 }, async () => {
  const door = await doorTo(ana, "light");
  const stayed = await stay(door, proxy().pid, many, leaveAll);
  console.log(tell(stayed));
  expect(stayed).toMatchObject({ served: many, answered: many });
  expect(stayed.bytesEach).toBeLessThan(200 * 1024);
  expect(stayed.descriptorsEach).toBeLessThan(2.2);
  await eventually("descriptors come back", () => weigh(proxy().pid).descriptors <= stayed.before + kept, 20_000);
});

it("S-36 no more sessions than max_connections of one user at one database, and room again when one leaves", async () => {
  const eve = await world.person("eve", ["few"]);
  const door = await doorTo(eve, "light");
  const sessions = await Promise.all([enter(door), enter(door), enter(door)]);
  const over = await arriveAs(1, door);
  expect(over).toMatchObject({ code: "53300", message: expect.stringContaining("3 connections") });
  const [first] = sessions;
  first?.close();
  await eventually(
    "room",
    async () => {
      const again = await arriveAs(2, door);
      if (!isSession(again)) return false;
      again.close();
      return true;
    },
    10_000,
  );
  await leaveAll(sessions);
});

it("a peer that vanishes without a word is found by TCP keep-alive within a minute's start, on both legs", async () => {
  const door = await doorTo(ana, "light");
  const session = await enter(door);
  let ours: readonly string[] = [];
  // the client's leg by its port; the database's by where it is
  const clientLine = () => ours.find((line) => line.includes(`127.0.0.1:${session.socket.localPort} `));
  // what was said last must have been acknowledged: until then another timer runs
  await eventually("silence", async () => {
    const { stdout } = await promisify(execFile)("ss", ["-tnpo", "state", "established"]);
    ours = stdout.split("\n").filter((line) => line.includes(`pid=${proxy().pid},`));
    return clientLine()?.includes("keepalive") ?? false;
  });
  const client = clientLine();
  expect(ours.length).toBeGreaterThanOrEqual(2);
  const timerOf = (line: string | undefined): number => {
    // one that is due now has no time at all
    const [, text] = /timer:\(keepalive,([^,]*),/.exec(line ?? "") ?? [];
    const [, minutes = "0", seconds = "0"] = /(?:(\d+)min)?(?:([\d.]+)sec)?/.exec(text ?? "") ?? [];
    return text === undefined ? Number.NaN : Number(minutes) * 60 + Number(seconds);
  };
  expect(timerOf(client), client).toBeLessThanOrEqual(60);
  const upstream = ours.filter(
    (line) => /\s127\.0\.0\.\d+:\d+\s+127\.0\.\d+\.\d+:\d+/.test(line) && /keepalive/.test(line),
  );
  expect(upstream.length).toBeGreaterThanOrEqual(2);
  for (const line of upstream) expect(timerOf(line), line).toBeLessThanOrEqual(60);
  await leaveAll([session]);
});
