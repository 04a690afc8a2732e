// A cluster that changes under a client: slots that move to other nodes while commands come, and a primary that fails. The client never
// hears of MOVED, ASK or TRYAGAIN, and no answer is wrong.
import { setTimeout as sleep } from "node:timers/promises";
import { slotOf } from "@sallyport/wire/redis/slot";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { type Gathered, gatherAt } from "./gathered.ts";
import { type RedisCluster, type RedisServer, stage, startCluster } from "./servers.ts";

const slot = (key: string): number => slotOf(Buffer.from(key), 0, Buffer.byteLength(key));
const redirect = /^-(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)/;
const clients: Gathered[] = [];
const open = async (port: number, version: 2 | 3 = 3): Promise<Gathered> => {
  const client = await gatherAt(port, version);
  clients.push(client);
  return client;
};
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

const idOf = async ({ talk }: RedisServer): Promise<string> =>
  (await talk.ask("CLUSTER", "MYID")).split("\r\n")[1] ?? "";

/** Moves a slot key by key, with a turn for others between two steps. */
const moveSlot = async (
  at: number,
  from: RedisServer,
  to: RedisServer,
  all: readonly RedisServer[],
  pause: () => Promise<unknown>,
): Promise<void> => {
  const [source, target] = [await idOf(from), await idOf(to)];
  await to.talk.ask("CLUSTER", "SETSLOT", String(at), "IMPORTING", source);
  await from.talk.ask("CLUSTER", "SETSLOT", String(at), "MIGRATING", target);
  for (;;) {
    await pause();
    const keys = (await from.talk.ask("CLUSTER", "GETKEYSINSLOT", String(at), "1")).split("\r\n");
    const key = keys[2];
    if (!key) break;
    const moved = await from.talk.ask("MIGRATE", "127.0.0.1", String(to.port), key, "0", "5000");
    if (!moved.startsWith("+")) throw new Error(moved);
  }
  await pause();
  for (const { talk } of [to, from, ...all.filter((server) => server !== to && server !== from)])
    await talk.ask("CLUSTER", "SETSLOT", String(at), "NODE", target);
};

describe("while slots move", () => {
  let cluster: RedisCluster;
  let nodes: readonly RedisServer[];
  stage(async () => {
    cluster = await startCluster({ primaries: 3, spare: 1 });
    nodes = cluster.primaries;
  });
  afterAll(() => cluster?.stop());

  it("S-33 a client in a loop sees no redirection and no wrong answer, whatever it sends", async () => {
    const tag = "{moving}";
    const names = Array.from({ length: 12 }, (_, at) => `${tag}${at}`);
    const others = ["a", "b", "c", "d", "e"];
    const client = await open(nodes[0]?.port ?? 0);
    const counts = new Map<string, number>();
    let rounds = 0;
    let aborted = 0;
    let over = false;
    let turned: (() => void)[] = [];
    const loop = async (): Promise<void> => {
      while (!over || rounds < 5) {
        const key = names[rounds % names.length] ?? "";
        const other = others[rounds % others.length] ?? "";
        const add = (name: string): number => {
          counts.set(name, (counts.get(name) ?? 0) + 1);
          return counts.get(name) ?? 0;
        };
        const [first, second] = [add(key), add(other)];
        // keys of one slot on two nodes are TRYAGAIN until all have moved: not in each round
        const all = rounds % 5 === 0 ? names : [key];
        const answers = await client.all([
          ["INCR", key],
          ["INCR", other],
          ["MGET", ...all],
          ["GET", key],
        ]);
        for (const answer of answers) expect(answer).not.toMatch(redirect);
        expect(answers[0]).toBe(`:${first}\r\n`);
        expect(answers[1]).toBe(`:${second}\r\n`);
        expect(answers[2]).toContain(`$${String(first).length}\r\n${first}\r\n`);
        expect(answers[2]?.startsWith(`*${all.length}\r\n`)).toBe(true);
        expect(answers[3]).toBe(`$${String(first).length}\r\n${first}\r\n`);
        const next = add(key);
        const done = await client.all([["MULTI"], ["INCR", key], ["GET", key], ["EXEC"]]);
        expect(done).toEqual([
          "+OK\r\n",
          "+QUEUED\r\n",
          "+QUEUED\r\n",
          `*2\r\n:${next}\r\n$${String(next).length}\r\n${next}\r\n`,
        ]);
        const watched = await client.all([["WATCH", key], ["MULTI"], ["INCR", key], ["EXEC"]]);
        // a watched transaction may be left to the client to try again, never carried out in part
        if (watched[3] === "_\r\n") aborted++;
        else expect(watched[3]).toBe(`*1\r\n:${add(key)}\r\n`);
        expect(watched.slice(0, 3)).toEqual(["+OK\r\n", "+OK\r\n", "+QUEUED\r\n"]);
        rounds++;
        for (const resolve of turned.splice(0)) resolve();
      }
    };
    const running = loop();
    running.catch(() => {
      over = true;
      for (const resolve of turned.splice(0)) resolve();
    });
    // a round of the client, or a moment when it waits for the move to go on: keys of one slot on two nodes are TRYAGAIN
    const pause = (): Promise<unknown> =>
      over ? Promise.resolve() : Promise.race([new Promise<void>((resolve) => turned.push(resolve)), sleep(40)]);
    const at = slot(names[0] ?? "");
    const owner = Math.floor((at * 3) / 16_384);
    const route = [owner, 3, (owner + 1) % 3, (owner + 2) % 3, owner];
    for (let step = 0; step + 1 < route.length; step++) {
      const [from, to] = [nodes[route[step] ?? 0], nodes[route[step + 1] ?? 0]];
      if (from && to) await moveSlot(at, from, to, nodes, pause);
    }
    over = true;
    await running;
    expect(rounds).toBeGreaterThan(5);
    expect(aborted).toBeLessThan(rounds);
    turned = [];
  }, 60_000);

  it("a slot that has moved for good is learnt, and the other ones with it", async () => {
    const client = await open(nodes[1]?.port ?? 0, 2);
    const keys = Array.from({ length: 40 }, (_, at) => `k${at}`);
    await client.all(keys.map((key) => ["SET", key, key]));
    const moved = keys.filter((key) => slot(key) < 5_461).slice(0, 4);
    for (const key of moved) {
      const [from, to] = [nodes[0], nodes[2]];
      if (from && to) await moveSlot(slot(key), from, to, nodes, () => Promise.resolve());
    }
    const answers = await client.all(keys.map((key) => ["GET", key]));
    expect(answers).toEqual(keys.map((key) => `$${key.length}\r\n${key}\r\n`));
    expect(await client.ask("MGET", ...keys)).toBe(
      `*${keys.length}\r\n${keys.map((key) => `$${key.length}\r\n${key}\r\n`).join("")}`,
    );
  });

  it("who listens to a shard's channel goes on listening where its slot went", async () => {
    const client = await open(nodes[0]?.port ?? 0);
    const channel = "{shard}news";
    const at = slot(channel);
    await client.ask("PING");
    client.write(Buffer.from(`*2\r\n$10\r\nSSUBSCRIBE\r\n$${channel.length}\r\n${channel}\r\n`));
    await client.ask("PING");
    expect(client.pushes).toEqual([`>3\r\n$10\r\nssubscribe\r\n$${channel.length}\r\n${channel}\r\n:1\r\n`]);
    const owner = Math.floor((at * 3) / 16_384);
    const [from, to] = [nodes[owner], nodes[(owner + 1) % 3]];
    if (!from || !to) throw new Error("no nodes");
    await moveSlot(at, from, to, nodes, () => Promise.resolve());
    const publisher = await open(nodes[0]?.port ?? 0);
    await expect.poll(() => publisher.ask("SPUBLISH", channel, "hello"), { timeout: 10_000 }).toBe(":1\r\n");
    await expect.poll(() => client.pushes.at(-1)).toContain("smessage");
    expect(client.pushes.some((push) => push.includes("sunsubscribe"))).toBe(false);
  });
});

describe("when a primary fails", () => {
  let cluster: RedisCluster;
  stage(async () => {
    cluster = await startCluster({ primaries: 3, replicas: 1 });
  });
  afterAll(() => cluster?.stop());

  it("what it was asked gets an honest error, and the next commands go to the one that took over", async () => {
    const client = await open(cluster.primaries[0]?.port ?? 0);
    const key = "{gone}k";
    const owner = Math.floor((slot(key) * 3) / 16_384);
    const victim = cluster.primaries[owner];
    expect(await client.ask("SET", key, "before")).toBe("+OK\r\n");
    const other = ["x", "y", "z", "w"].find((name) => Math.floor((slot(name) * 3) / 16_384) !== owner) ?? "";
    // one that waits on the node that fails, and one behind it elsewhere
    const waiting = client.ask("BLPOP", "{gone}list", "0");
    const behind = client.ask("SET", other, "1");
    await expect
      .poll(async () => (await victim?.talk.ask("INFO", "clients"))?.includes("blocked_clients:1"))
      .toBe(true);
    await victim?.kill();
    expect(await waiting).toMatch(/^-ERR the connection to 127\.0\.0\.1:\d+ ended before it answered \(whether/);
    expect(await behind).toBe("+OK\r\n");
    const answers = await client.all([
      ["SET", key, "after"],
      ["GET", key],
      ["GET", other],
      ["MULTI"],
      ["GET", key],
      ["EXEC"],
    ]);
    expect(answers).toEqual([
      ...["+OK\r\n", "$5\r\nafter\r\n", "$1\r\n1\r\n", "+OK\r\n", "+QUEUED\r\n", "*1\r\n$5\r\nafter\r\n"],
    ]);
    expect(await client.ask("DBSIZE")).toBe(":2\r\n");
  }, 60_000);
});
