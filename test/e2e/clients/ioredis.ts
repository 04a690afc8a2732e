// ioredis, connected by the very URL that `sally` prints: one connection, and its Cluster where there is one to see.
import { setTimeout as wait } from "node:timers/promises";
import { connectionUrl } from "@sallyport/cli/connection";
import { secret } from "@sallyport/core/secret";
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ground } from "../redis-world.ts";
import type { Place } from "./way.ts";

/** As `sally` prints it. */
export const redisUrl = ({ host, port, user, password, caFile }: Place): string => {
  const tls = caFile === undefined ? {} : { password: secret(password), tls: { caFile } };
  return connectionUrl({ protocol: "redis", host, port, user, name: undefined, ...tls });
};

/** A client that does not try again: what goes wrong fails a command. */
export const openIoredis = (place: Place, over: Omit<RedisOptions, "replyMapping"> = {}): Redis => {
  const client = new Redis(redisUrl(place), {
    ...(place.ca !== undefined && { tls: { ca: place.ca } }),
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    ...over,
  });
  return client.on("error", () => {});
};

/** As AWS says to set it up: by names, which certificates are for, not by the addresses they lead to. */
const openIoredisCluster = ({ host, port, user, password, ca }: Place): Cluster => {
  const login = ca === undefined ? {} : { username: user, password, tls: { ca } };
  const client = new Cluster([{ host, port }], {
    redisOptions: login,
    dnsLookup: (name, answer) => answer(null, name),
    // a second is short for a login on a busy machine
    slotsRefreshTimeout: 20_000,
    clusterRetryStrategy: () => null,
  });
  return client.on("error", () => {});
};

/** Commands that both make; each run has keys of its own. */
const work = (open: () => Promise<Redis | Cluster>, who: string, mark: string): void => {
  const key = (name: string): string => `${mark}:${name}`;
  let client: Redis | Cluster;
  beforeEach(async () => {
    client = await open();
  });

  it("is exactly the authorised user", async () => {
    expect(await client.call("ACL", "WHOAMI")).toBe(who);
  });
  it("writes and reads strings, bytes, hashes, lists and sets", async () => {
    const bytes = Buffer.from(Array.from({ length: 512 }, (_, n) => n % 256));
    expect(await client.set(key("text"), "grün\r\n$5\r\n*3")).toBe("OK");
    expect(await client.get(key("text"))).toBe("grün\r\n$5\r\n*3");
    await client.set(key("bytes"), bytes);
    expect(await client.getBuffer(key("bytes"))).toEqual(bytes);
    await client.hset(key("hash"), { a: "1", b: "2" });
    expect(await client.hgetall(key("hash"))).toEqual({ a: "1", b: "2" });
    await client.rpush(key("list"), "x", "y", "z");
    expect(await client.lrange(key("list"), 0, -1)).toEqual(["x", "y", "z"]);
    expect(await client.sadd(key("set"), "m", "m", "n")).toBe(2);
    expect(await client.get(key("nothing"))).toBeNull();
  });
  it("sends a thousand commands at once and gets their answers in order", async () => {
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, n) =>
        client.set(key(`many:${n}`), String(n)).then(() => client.get(key(`many:${n}`))),
      ),
    );
    expect(answers).toEqual(Array.from({ length: 1_000 }, (_, n) => String(n)));
  });
  it("carries out a transaction, and gives one up where a watched key has changed", async () => {
    const [count, other] = [key("{t}:count"), key("{t}:other")];
    const done = await client.multi().set(count, "1").incr(count).get(other).exec();
    expect(done?.map(([, value]) => value)).toEqual(["OK", 2, null]);
  });
  it("is told errors in the server's words, and goes on", async () => {
    await client.set(key("word"), "abc");
    await expect(client.incr(key("word"))).rejects.toThrow("ERR value is not an integer or out of range");
    await expect(client.lpush(key("word"), "x")).rejects.toThrow(
      "WRONGTYPE Operation against a key holding the wrong kind of value",
    );
    await expect(client.call("NONSENSE", key("word"))).rejects.toThrow(/^ERR unknown command 'NONSENSE'/);
    expect(await client.get(key("word"))).toBe("abc");
  });
  it("runs a script, by its text and by its digest", async () => {
    const script = "return {KEYS[1], ARGV[1], redis.call('incrby', KEYS[1], ARGV[1])}";
    expect(await client.eval(script, 1, key("script"), "5")).toEqual([key("script"), "5", 5]);
    client.defineCommand("grow", { numberOfKeys: 1, lua: script });
    const grow = client as unknown as { grow(key: string, by: string): Promise<unknown> };
    expect(await grow.grow(key("script"), "2")).toEqual([key("script"), "2", 7]);
    expect(await grow.grow(key("script"), "2")).toEqual([key("script"), "2", 9]);
  });
  it("waits in a blocking command while others work", async () => {
    const other = await open();
    const waiting = client.blpop(key("queue"), 20);
    // the command is there before its answer is
    await wait(50);
    await other.rpush(key("queue"), "job");
    expect(await waiting).toEqual([key("queue"), "job"]);
  });
  it("publishes, and hears what it subscribes to", async () => {
    const listener = await open();
    const [channel, pattern] = [key("news"), key("weather:*")];
    const heard: string[] = [];
    const all = new Promise<void>((done) => {
      const hear = (text: string): void => {
        heard.push(text);
        if (heard.length === 3) done();
      };
      listener.on("message", (from, text) => hear(`${from} ${text}`));
      listener.on("pmessage", (by, from, text) => hear(`${by} ${from} ${text}`));
    });
    await listener.subscribe(channel);
    await listener.psubscribe(pattern);
    await client.publish(channel, "one");
    await client.publish(key("weather:north"), "rain");
    await client.publish(channel, "two");
    await all;
    expect(heard).toEqual([`${channel} one`, `${pattern} ${key("weather:north")} rain`, `${channel} two`]);
    await listener.unsubscribe(channel);
    await listener.punsubscribe(pattern);
    expect(await listener.get(key("nothing"))).toBeNull();
  });
  it("carries 20 MB whole, both ways", async () => {
    const large = "0123456789abcdef".repeat(1_310_720);
    await client.set(key("large"), large);
    expect((await client.get(key("large"))) === large).toBe(true);
    await client.del(key("large"));
  });
};

export const ioredisSuite = ({ way, database, user }: Ground): void => {
  const mark = `ioredis-${way.name.split(" ").at(-1)}`;
  const opened: (Redis | Cluster)[] = [];
  const keep = <T extends Redis | Cluster>(client: T): T => {
    opened.push(client);
    return client;
  };
  afterEach(() => {
    for (const one of opened.splice(0)) one.disconnect();
  });

  describe(`ioredis on ${database} as ${user} through ${way.name}`, () => {
    const open = async (over: Omit<RedisOptions, "replyMapping"> = {}) =>
      keep(openIoredis(await way.place(), over)) as Redis;
    work(open, user, mark);

    it("sends a pipeline, whose answers come in order, errors among them", async () => {
      const client = await open();
      const line = client.pipeline();
      for (let n = 0; n < 500; n++) line.set(`${mark}:p:${n}`, n);
      line.incr(`${mark}:p:7`).hget(`${mark}:p:7`, "x").get(`${mark}:p:7`);
      const answers = (await line.exec()) ?? [];
      expect(answers.slice(0, 500).every(([error, value]) => error === null && value === "OK")).toBe(true);
      expect(answers[500]).toEqual([null, 8]);
      expect(answers[501]?.[0]?.message).toContain("WRONGTYPE");
      expect(answers[502]).toEqual([null, "8"]);
    });
    it("gives a transaction up where a watched key has changed, and not otherwise", async () => {
      const [client, other] = [await open(), await open()];
      const key = `${mark}:watched`;
      await client.watch(key);
      await other.set(key, "theirs");
      expect(await client.multi().set(key, "mine").exec()).toBeNull();
      await client.watch(key);
      expect(await client.multi().append(key, "!").exec()).toEqual([[null, 7]]);
      await client.watch(key);
      await client.unwatch();
      await other.set(key, "theirs again");
      expect(await client.multi().get(key).exec()).toEqual([[null, "theirs again"]]);
    });
    it("asks for many keys at once, wherever they are, and scans them all", async () => {
      const client = await open();
      const names = Array.from({ length: 200 }, (_, n) => `${mark}:k:${n}`);
      await client.mset(Object.fromEntries(names.map((name, n) => [name, n])));
      expect(await client.mget(...names)).toEqual(names.map((_, n) => String(n)));
      const found: string[] = [];
      for await (const page of client.scanStream({ match: `${mark}:k:*`, count: 50 }))
        found.push(...(page as string[]));
      expect([...new Set(found)].sort()).toEqual([...names].sort());
      expect(await client.exists(...names, `${mark}:no`)).toBe(200);
      expect(await client.del(...names)).toBe(200);
      expect(await client.mget(names[0] ?? "", names[1] ?? "")).toEqual([null, null]);
    });
    it("has its name at the server, and a database that it chose where there are several", async () => {
      const client = await open({ connectionName: "e2e", ...(database === "till" && { db: 2 }) });
      expect(await client.client("GETNAME")).toBe("e2e");
      if (database === "wares") return;
      await client.set(`${mark}:second`, "in 2");
      expect(await (await open()).get(`${mark}:second`)).toBeNull();
      expect(await client.call("FLUSHDB")).toBe("OK");
    });
  });

  if (database === "till") return;
  describe(`ioredis' Cluster on ${database} as ${user} through ${way.name}`, () => {
    const open = async () => keep(openIoredisCluster(await way.place()));
    work(open, user, `${mark}-cluster`);
    it("sees one node, at the address that it dialled, which owns every slot", async () => {
      const { host, port } = await way.place();
      const client = await open();
      const [[from, to, [shownHost, shownPort]]] = (await client.call("CLUSTER", "SLOTS")) as [
        [number, number, [string, number]],
      ];
      expect([from, to, shownHost, shownPort]).toEqual([0, 16_383, host, port]);
      expect(client.nodes("all")).toHaveLength(1);
    });
  });
};
