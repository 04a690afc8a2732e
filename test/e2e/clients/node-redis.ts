// node-redis, which speaks RESP3: one connection by the URL that `sally` prints, createCluster where there is a cluster to see, and
// its cache on the client's side, which lives by what the server tells unasked.
import { createClient as create, type createClient, createCluster } from "redis";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "../attack.ts";
import type { Ground } from "../redis-world.ts";
import { redisUrl } from "./ioredis.ts";
import type { Place } from "./way.ts";

type Options = NonNullable<Parameters<typeof createClient>[0]>;
const neverAgain = { reconnectStrategy: false } as const;

/** One that does not try again: what goes wrong fails a command. */
const openNodeRedis = async (place: Place, over: Pick<Options, "name" | "RESP" | "clientSideCache"> = {}) => {
  const socket = place.ca === undefined ? neverAgain : { ...neverAgain, tls: true as const, ca: place.ca };
  const client = create({ url: redisUrl(place), socket, ...over });
  client.on("error", () => {});
  return client.connect();
};

const openCluster = async ({ host, port, user, password, ca }: Place) => {
  const socket = ca === undefined ? neverAgain : { ...neverAgain, tls: true as const, ca };
  const login = ca === undefined ? {} : { username: user, password };
  const client = createCluster({
    rootNodes: [{ socket: { ...socket, host, port }, ...login }],
    defaults: { socket, ...login },
  });
  client.on("error", () => {});
  await client.connect();
  return client;
};

export const nodeRedisSuite = ({ way, database, user }: Ground): void => {
  const mark = `node-redis-${way.name.split(" ").at(-1)}`;
  const opened: { destroy(): void }[] = [];
  const keep = <T extends { destroy(): void }>(client: T): T => {
    opened.push(client);
    return client;
  };
  afterEach(() => {
    for (const one of opened.splice(0)) one.destroy();
  });

  describe(`node-redis on ${database} as ${user} through ${way.name}`, () => {
    const open = async (over: Parameters<typeof openNodeRedis>[1] = {}) =>
      keep(await openNodeRedis(await way.place(), over));

    it.each([2, 3] as const)("speaks RESP%d as exactly the authorised user", async (RESP) => {
      const client = await open({ RESP, name: `e2e-${RESP}` });
      expect(await client.sendCommand(["ACL", "WHOAMI"])).toBe(user);
      expect(await client.clientGetName()).toBe(`e2e-${RESP}`);
      expect(await client.clientInfo()).toMatchObject({ user, resp: RESP });
    });
    it("gets maps, numbers, booleans and nothing as RESP3 says them", async () => {
      const client = await open();
      await client.hSet(`${mark}:hash`, { a: "1", b: "2" });
      expect({ ...(await client.hGetAll(`${mark}:hash`)) }).toEqual({ a: "1", b: "2" });
      await client.zAdd(`${mark}:scores`, { value: "x", score: 1.5 });
      expect(await client.zScore(`${mark}:scores`, "x")).toBe(1.5);
      expect(await client.sIsMember(`${mark}:none`, "x")).toBe(0);
      expect(await client.get(`${mark}:none`)).toBeNull();
      expect(
        await client
          .eval("return redis.setresp(3) or {double={double=0.25}, map={a=true}}['double']", { keys: [] })
          .catch((error: Error) => error.message),
      ).toBeDefined();
    });
    it("sends what is asked in one turn at once, and a transaction as one", async () => {
      const client = await open();
      const answers = await Promise.all(Array.from({ length: 500 }, (_, n) => client.incr(`${mark}:n:${n % 5}`)));
      expect(answers.slice(-5)).toEqual([100, 100, 100, 100, 100]);
      const keys = ["a", "b"].map((name) => `${mark}:{tx}:${name}`);
      const [a = "", b = ""] = keys;
      expect(await client.multi().set(a, "1").set(b, "2").mGet(keys).exec()).toEqual(["OK", "OK", ["1", "2"]]);
      await client.del(Array.from({ length: 5 }, (_, n) => `${mark}:n:${n}`));
    });
    it("gives a transaction up where a watched key has changed", async () => {
      const [client, other] = [await open(), await open()];
      await client.watch(`${mark}:watched`);
      await other.set(`${mark}:watched`, "theirs");
      await expect(client.multi().set(`${mark}:watched`, "mine").exec()).rejects.toThrow(
        /watched keys has been changed/,
      );
      expect(await client.get(`${mark}:watched`)).toBe("theirs");
    });
    it("hears channels, patterns and shards' channels while it goes on asking on the same connection", async () => {
      const [client, other] = [await open(), await open()];
      const heard: string[] = [];
      const hear = (text: string, channel: string): void => void heard.push(`${channel.slice(mark.length)} ${text}`);
      await client.subscribe(`${mark}:news`, hear);
      await client.pSubscribe(`${mark}:weather:*`, hear);
      await client.sSubscribe(`${mark}:shard`, hear);
      expect(await client.ping()).toBe("PONG");
      await other.publish(`${mark}:news`, "one");
      await other.publish(`${mark}:weather:north`, "rain");
      await other.sPublish(`${mark}:shard`, "two");
      await eventually("all are heard", () => heard.length === 3);
      expect([...heard].sort()).toEqual([":news one", ":shard two", ":weather:north rain"]);
      await client.sUnsubscribe(`${mark}:shard`);
      await client.unsubscribe();
      expect(await client.get(`${mark}:nothing`)).toBeNull();
    });
    it("keeps what it read, and lets it go when the server says that it changed", async () => {
      const client = await open({ RESP: 3, clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: "LRU" } });
      const other = await open();
      await other.set(`${mark}:cached`, "old");
      expect(await client.get(`${mark}:cached`)).toBe("old");
      expect(await client.get(`${mark}:cached`)).toBe("old");
      await other.set(`${mark}:cached`, "new");
      await eventually("it is told", async () => (await client.get(`${mark}:cached`)) === "new");
    });
    it("scans every key there is", async () => {
      const client = await open();
      const names = Array.from({ length: 60 }, (_, n) => `${mark}:s:${n}`);
      await client.mSet(Object.fromEntries(names.map((name) => [name, "x"])));
      const found = new Set<string>();
      for await (const page of client.scanIterator({ MATCH: `${mark}:s:*`, COUNT: 7 }))
        for (const key of page) found.add(key);
      expect([...found].sort()).toEqual([...names].sort());
      expect(await client.unlink(names)).toBe(60);
    });
  });

  if (database === "till") return;
  describe(`node-redis' createCluster on ${database} as ${user} through ${way.name}`, () => {
    const open = async () => keep(await openCluster(await way.place()));
    it("sees one node, and works with keys of every slot", async () => {
      const { host, port } = await way.place();
      const client = await open();
      expect(client.masters.map(({ address }) => address)).toEqual([`${host}:${port}`]);
      const names = Array.from({ length: 100 }, (_, n) => `${mark}-cluster:${n}`);
      await Promise.all(names.map((name, n) => client.set(name, String(n))));
      expect(await Promise.all(names.map((name) => client.get(name)))).toEqual(names.map((_, n) => String(n)));
      expect(await client.multi().incr(`${mark}-cluster:7`).get(`${mark}-cluster:7`).exec()).toEqual([8, "8"]);
      await Promise.all(names.map((name) => client.del(name)));
    });
    it("hears a channel and a shard's channel", async () => {
      const [client, other] = [await open(), await open()];
      const heard: string[] = [];
      await client.subscribe(`${mark}-cluster:news`, (text) => void heard.push(text));
      await client.sSubscribe(`${mark}-cluster:shard`, (text) => void heard.push(text));
      await other.publish(`${mark}-cluster:news`, "one");
      await other.sPublish(`${mark}-cluster:shard`, "two");
      await eventually("both are heard", () => heard.length === 2);
      expect(heard.sort()).toEqual(["one", "two"]);
    });
  });
};
