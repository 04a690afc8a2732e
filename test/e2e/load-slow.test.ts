// Who does not read, who writes to a database that does not, who never logs in: each costs a bounded memory, neighbours notice
// nothing, and nobody gets what is another's.
import { once } from "node:events";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { dialTls } from "../local/postgres-bytes.ts";
import { type Door, doorOf, enter, eventually, type Session, within } from "./attack.ts";
import { say } from "./clients/raw.ts";
import { arriveAs, endAll, gather, isSession, weigh } from "./crowd.ts";
import { type Light, makeLight } from "./light.ts";
import { roleOf } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

let world: World;
let light: Light;
let door: Door;
let pid: number;
beforeAll(async () => {
  world = await openWorld();
  light = makeLight();
  await world.laptop.databases.addInstance({ id: "light", tags: { env: "load" } }, light);
  await world.discover();
  await world.put(roleOf("crowd", { bearer_logins: 5_000 }, "load"));
  const ana = await world.person("ana", ["crowd"]);
  const [proxy] = world.proxies;
  if (!proxy) throw new Error("a world has a proxy");
  pid = proxy.pid;
  door = doorOf(world.laptop, await world.bearer(ana, { database: "light" }), proxy.ports.postgres);
  // what code and caches weigh is there already
  await leaveAll((await gather(50, 10, (at) => arriveAs(at, door))).filter(isSession));
});
afterAll(() => world?.close());
const opened = new Set<Socket>();
/** What a test that failed leaves is not the next one's. */
afterEach(() => {
  light.release();
  endAll();
  for (const socket of opened) socket.destroy();
  opened.clear();
});

const leaveAll = async (sessions: readonly Session[]): Promise<void> => {
  for (const { socket } of sessions) socket.destroy();
  await eventually("the upstream ends", () => light.live() === 0, 20_000);
};
const arrive = async (count: number): Promise<Session[]> => {
  const sessions = (await gather(count, 8, (at) => arriveAs(at, door))).filter(isSession);
  expect(sessions).toHaveLength(count);
  return sessions;
};

/** The median of these, in milliseconds: what others notice. */
const latency = async (session: Session, times: number): Promise<number> => {
  const took: number[] = [];
  for (let at = 0; at < times; at += 1) {
    const since = performance.now();
    await session.query("quick");
    took.push(performance.now() - since);
  }
  return took.sort((one, two) => one - two)[Math.floor(times / 2)] ?? 0;
};
/** A neighbour before, beside and after what is done; the machine's own moods are in all three. */
const besides = async (beside: () => Promise<void>, after: () => Promise<void>): Promise<string> => {
  const quick = await enter(door);
  const before = await latency(quick, 100);
  await beside();
  const busy = await latency(quick, 100);
  await after();
  const later = await latency(quick, 100);
  quick.close();
  expect(busy).toBeLessThan(4 * Math.max(before, later) + 5);
  return `a neighbour's median ${before.toFixed(1)} ms before, ${busy.toFixed(1)} ms beside, ${later.toFixed(1)} ms after`;
};
/** Resolves when the number has stopped moving. */
const settled = async (count: () => number): Promise<void> => {
  let last = -1;
  let since = performance.now();
  await eventually(
    "it comes to a stop",
    () => {
      const now = count();
      if (now !== last) [last, since] = [now, performance.now()];
      return performance.now() - since > 700;
    },
    60_000,
  );
};

/** Connections to the table that are kept for the next request. */
const spare = 80;
/** For each: what Node's two TLS legs and the relay hold, and what is on its way or was and is not collected yet. */
const most = 6 * 1024 * 1024;

/** Connections in TLS that say something and wait. */
const gatherSockets = async (count: number, greet: (socket: TLSSocket) => void): Promise<void> => {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++) {
      const socket = await dialTls({ host: "127.0.0.1", port: door.port }, { ca: door.ca, servername: "localhost" });
      opened.add(socket);
      socket.on("error", () => {}).resume();
      greet(socket);
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
};

it("S-23 who never finishes logging in costs no more than a session, whatever was begun", {
  timeout: 60_000,
}, async () => {
  const count = 150;
  const before = weigh(pid);
  await gatherSockets(count, (socket) => {
    // the head of the longest startup there may be, and all of it but its last byte
    const head = Buffer.alloc(4);
    head.writeInt32BE(10_000);
    socket.write(Buffer.concat([head, Buffer.from([0, 3, 0, 0]), Buffer.alloc(9_991, "a")]));
  });
  const held = weigh(pid);
  // on a slow machine the first are gone before the last have come
  const there = held.descriptors - before.descriptors;
  const each = (held.rss - before.rss) / there;
  console.log(`${there} who do not finish their startup: ${Math.round(each / 1024)} KB each`);
  expect(there).toBeGreaterThanOrEqual(count / 3);
  expect(each).toBeLessThan(200 * 1024);
  // and others are let in beside them
  (await within(10_000, "a login", enter(door))).close();
  await eventually("their time is over", () => weigh(pid).descriptors <= before.descriptors + spare, 30_000);
});

it("S-36 S-23 twenty who do not read cost a bounded memory each, and others go on", { timeout: 120_000 }, async () => {
  const slow = await arrive(20);
  const before = weigh(pid).rss;
  let grown = 0;
  const told = await besides(
    async () => {
      // 200 MB each, of which nothing is read
      for (const session of slow) {
        session.socket.pause();
        session.send(say("Q", "flood 200000"));
      }
      await settled(() => Math.round(weigh(pid).rss / 2 ** 20));
      grown = (weigh(pid).rss - before) / slow.length;
    },
    async () => {
      for (const { socket } of slow) socket.destroy();
    },
  );
  console.log(`20 who do not read: ${Math.round(grown / 1024)} KB each; ${told}`);
  expect(grown).toBeLessThan(most);
  await leaveAll([]);
});

/** Queries of 64 KB, as many as there are, no faster than they are taken. */
const write = async (session: Session, count: number, sent: () => void): Promise<void> => {
  const query = say("Q", `x${" ".repeat(65_000)}`);
  for (let at = 0; at < count; at += 1) {
    if (!session.socket.write(query)) await once(session.socket, "drain");
    sent();
  }
};

it("S-36 ten who write to a database that does not read wait with it, and all of it arrives when it reads on", {
  timeout: 180_000,
}, async () => {
  const count = 300;
  const writers = await arrive(10);
  const answersOf = async ({ next }: Session, of: number): Promise<void> => {
    for (let left = of; left > 0; ) if ((await next())?.type === "Z") left -= 1;
  };
  // what was on its way and is not collected yet is there already
  await Promise.all(writers.flatMap((session) => [write(session, 100, () => {}), answersOf(session, 100)]));
  const before = weigh(pid).rss;
  let sent = 0;
  let [grown, taken] = [0, 0];
  let work: Promise<unknown> = Promise.resolve();
  const counted = (): void => {
    sent += 1;
  };
  const told = await besides(
    async () => {
      for (const session of writers) session.send(say("Q", "stall"));
      work = Promise.all(writers.map((session) => write(session, count, counted)));
      await settled(() => sent);
      taken = sent;
      grown = (weigh(pid).rss - before) / writers.length;
    },
    async () => {
      light.release();
      // each is answered: nothing was lost while they waited
      const answers = writers.map((session) => answersOf(session, count + 1));
      await within(90_000, "all answers", Promise.all([work, ...answers]));
    },
  );
  console.log(
    `10 who write 20 MB to who does not read: ${Math.round(taken / writers.length / 16)} MB taken and ${Math.round(grown / 1024)} KB each; ${told}`,
  );
  // the system's own buffers take some; then they were stopped
  expect(taken).toBeLessThan(count * writers.length);
  expect(grown).toBeLessThan(most);
  await leaveAll(writers);
});

it("S-37 nobody hears what another said, while some are reset in the middle of an answer", {
  timeout: 120_000,
}, async () => {
  const rounds = 30;
  const visit = async (at: number): Promise<void> => {
    let session = await arriveAs(at, door);
    for (let round = 0; round < rounds; round += 1) {
      if (!isSession(session)) throw new Error(`${session.code} ${session.message}`);
      const own = `${at}.${round}.`.repeat(1 + ((at * 977 + round * 131) % 9_000));
      if (round % 10 === 9) {
        session.send(say("Q", `echo ${own}`));
        session.socket.destroy();
        session = await arriveAs(at, door);
      } else if ((await session.query(`echo ${own}`))[0] !== own) throw new Error(`${at} heard something else`);
    }
    if (isSession(session)) session.close();
  };
  await Promise.all(Array.from({ length: 24 }, (_, at) => visit(at)));
  await leaveAll([]);
});
