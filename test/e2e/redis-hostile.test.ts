// Whoever comes to Redis' port without being one of its clients, or being a bad one, and servers that are not what they should be:
// each is sent away in words that it understands or in none, and takes nothing from the others. On a whole proxy, by its real ports.
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { resp } from "../local/redis-lines.ts";
import { eventually, heard, within } from "./attack.ts";
import type { Place } from "./clients/way.ts";
import { weigh } from "./crowd.ts";
import { openGuests } from "./redis-guests.ts";
import { type Counter, missing, openCounter } from "./redis-world.ts";

let counter: Counter;
const guests = openGuests(() => counter);
const { plain, open, raw, enter, ask } = guests;
beforeEach(({ skip }) => skip(missing !== undefined, missing));
beforeAll(async () => {
  if (missing === undefined) counter = await openCounter();
});
afterAll(async () => {
  await guests.close();
  await counter?.close();
});

const door = () => ({ host: "127.0.0.1", port: counter.world.laptop.ports.redis });
const works = async (): Promise<void> => {
  const client = await enter(await plain("ana"));
  expect(await ask(client, ["PING"])).toEqual(["+PONG"]);
  client.close();
};
const needsLogin = "-NOAUTH Authentication required.";

describe("S-24 what is no client of Redis'", () => {
  it.each([
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
    ["SSH", Buffer.from("SSH-2.0-OpenSSH_9.2\r\n")],
    ["PostgreSQL", Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f])],
    ["Redis without TLS", Buffer.from(resp("AUTH", "ann", "anything"))],
  ])("S-24 S-21 %s is told that it needs TLS, is closed on, and others are served", async (_, bytes) => {
    const before = counter.connections();
    const socket = connect(door());
    await once(socket, "connect");
    socket.end(bytes);
    expect((await heard(socket)).text).toMatch(/^(-ERR connections without TLS are not taken here .*\r\n)?$/);
    expect(counter.connections()).toBe(before);
    await works();
  });
});

describe("before the login", () => {
  const arrive = async () => raw(await plain("ben"));
  it.each([
    ["S-23 two thousand million words", "*2147483647\r\n", "-ERR Protocol error"],
    ["S-23 more words than a login has", "*11\r\n$4\r\n", "-ERR Protocol error"],
    ["S-23 a word of 2 GiB", "*1\r\n$2147483647\r\n", "-ERR Protocol error"],
    ["S-23 a word of less than nothing", "*1\r\n$-5\r\n", "-ERR Protocol error"],
    ["S-27 words within words", "*1\r\n*1\r\n$4\r\nPING\r\n", "-ERR Protocol error"],
    ["S-27 a push of a server's", ">2\r\n$10\r\ninvalidate\r\n*0\r\n", "-"],
    ["S-23 a line without an end", "A".repeat(100_000), "-ERR"],
  ])("%s ends the connection with an error, and reaches no database", async (_, bytes, words) => {
    const before = counter.connections();
    const client = await arrive();
    client.send(bytes);
    const said = await within(15_000, "the end", client.rest());
    expect(said.startsWith(words), said).toBe(true);
    expect(counter.connections()).toBe(before);
    await works();
  });
  it("S-27 nothing is forwarded: what is pipelined before AUTH is answered that it needs one, what comes behind is carried out", async () => {
    const place = await plain("ben");
    const before = counter.connections();
    const client = await raw(place);
    expect(await ask(client, ["SET", "early", "1"], ["GET", "early"], ["PING"])).toEqual(Array(3).fill(needsLogin));
    expect(counter.connections()).toBe(before);
    client.say(["SET", "early", "1"], ["AUTH", place.user, place.password], ["EXISTS", "early"], ["SET", "late", "1"]);
    expect(await client.lines(4)).toEqual([needsLogin, "+OK", ":0", "+OK"]);
  });
  it("S-05 a token opens the database as its own user and no other; without a name it means its own", async () => {
    const place = await plain("ben");
    const before = counter.connections();
    const others: readonly string[][] = [
      ["AUTH", "keeper", place.password],
      ["HELLO", "3", "AUTH", "app", place.password],
    ];
    for (const words of others) {
      const client = await raw(place);
      client.say(words);
      expect(await client.rest()).toMatch(/^-NOPERM this token opens redis as user "ann" only/);
    }
    expect(counter.connections()).toBe(before);
    const unnamed = await raw(place);
    unnamed.say(["AUTH", place.password], ["ACL", "WHOAMI"]);
    expect(await unnamed.lines(3)).toEqual(["+OK", "$3", "ann"]);
  });
  it("S-04 a bearer token is good for twenty logins, and the next is refused", async () => {
    const place = await plain("tally");
    const once = async (): Promise<string> =>
      (await ask(await raw(place), ["AUTH", place.user, place.password]))[0] ?? "";
    const outcomes = await Promise.all(Array.from({ length: 23 }, once));
    expect(outcomes.filter((line) => line === "+OK")).toHaveLength(20);
    expect(outcomes.filter((line) => line.startsWith("-WRONGPASS this token is not valid here"))).toHaveLength(3);
  });
});

describe("inside a session", () => {
  it.each([
    ["S-23 two thousand million words", "*2147483647\r\n"],
    ["S-23 a word of less than nothing", "*1\r\n$-5\r\n"],
    ["S-27 words within words", "*1\r\n*1\r\n$4\r\nPING\r\n"],
    ["S-27 a line of 100 kB", "A".repeat(100_000)],
  ])("%s ends it with an error, behind the answers to what came before", async (_, bytes) => {
    const client = await enter(await plain("mel"));
    client.send(`${resp("SET", "before", "1")}${bytes}`);
    expect(await within(15_000, "the end", client.rest())).toMatch(/^\+OK\r\n-ERR Protocol error/);
    await works();
  });
});

describe("a server that is not what it should be", () => {
  const all = () => [...counter.till.fronts, ...counter.wares.fronts];
  afterEach(async () => {
    for (const front of all()) await front.misbehave();
    await works();
  });
  const failing = async (place: Place): Promise<string> => {
    const client = await raw(place);
    client.say(["AUTH", place.user, place.password], ["GET", "x"]);
    return within(20_000, "the end", client.rest());
  };
  it.each([
    ["somebody else's certificate", async () => counter.world.laptop.authority.issue(["*.cache.amazonaws.com"])],
    ["a certificate for another name", async () => counter.world.laptop.rdsAuthority.issue(["other.example.com"])],
  ])("S-33 S-34 shows %s: nothing is said to it, and the client is told", async (_, make) => {
    const identity = await make();
    for (const front of counter.till.fronts) await front.misbehave({ is: "impostor", identity });
    const before = counter.till.fronts.map((front) => front.counters().admitted);
    expect(await failing(await plain("vic"))).toMatch(/^-\w+ .*(certificate|trust)/);
    expect(counter.till.fronts.map((front) => front.counters().admitted)).toEqual(before);
  });
  it.each([
    ["HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["a map of two thousand million", `%2147483647\r\n${"+x\r\n".repeat(40_000)}`],
    ["a string of 2 GiB", `$2147483647\r\n${"x".repeat(200_000)}`],
    ["an old server's error", "-LOADING Redis is loading the dataset in memory\r\n"],
  ])("S-33 answers the login with %s: the client is told that the database is to blame", async (_, bytes) => {
    for (const front of counter.till.fronts) await front.misbehave({ is: "garbage", bytes: Buffer.from(bytes) });
    expect(await failing(await plain("vic"))).toMatch(/^-\w+ /);
  });
  it("S-33 goes in the middle of an answer: the client has what there was, and is not told more than came", async () => {
    await open(await plain("vic")).set("long", "0123456789".repeat(1_000));
    for (const front of counter.till.fronts) await front.misbehave({ is: "cutting", afterBytes: 3_000 });
    const client = await enter(await plain("vic"));
    client.say(["GET", "long"]);
    const said = await within(15_000, "the end", client.rest());
    expect(said.startsWith("$10000\r\n0123456789")).toBe(true);
    expect(said.length).toBeLessThan(3_100);
    expect(said).not.toContain("-");
  });
  it.each([
    "169.254.169.254:80",
    "evil.example.com:6379",
    "127.0.0.1:6379",
    "till.cache.amazonaws.com.evil.example:6379",
  ])("S-33 S-35 a cluster that sends a client to %s ends the session, and nobody goes there", async (where) => {
    for (const front of counter.wares.fronts)
      await front.misbehave({ is: "answering", name: "GET", bytes: Buffer.from(`-MOVED 7 ${where}\r\n`) });
    const client = await enter(await plain("vic", { database: "wares" }));
    client.say(["GET", "moved"]);
    const said = await within(20_000, "the end", client.rest());
    expect(said).toMatch(/^-(?!MOVED)\w+ /);
    expect(said).not.toContain("MOVED");
  });
  it.each(["169.254.169.254", "127.0.0.1", "::ffff:169.254.169.254"])(
    "S-35 a name that leads to %s: nothing is said there, and the client is told",
    async (address) => {
      const straighten = counter.world.laptop.databases.bend(counter.till.host, [address]);
      try {
        expect(await failing(await plain("vic"))).toMatch(/^-\w+ .*(address|nothing listens)/);
      } finally {
        straighten();
      }
    },
  );
});

it("S-36 a subscriber that does not read costs a bounded memory, its server cuts it off, and others go on", async () => {
  const [proxy] = counter.world.proxies;
  const pid = proxy?.pid ?? 0;
  const slow = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const client = await enter(await plain("sly"));
      client.say(["SUBSCRIBE", "flood"]);
      await client.lines(6);
      client.socket.pause();
      return client;
    }),
  );
  const publisher = open(await plain("pat"));
  const message = "x".repeat(1_048_576);
  await publisher.publish("flood", "x");
  const before = weigh(pid).rss;
  let most = 0;
  // more than ElastiCache keeps for a subscriber (32 MiB), and than any buffer on the way
  for (let at = 0; at < 80; at++) {
    await publisher.publish("flood", message);
    most = Math.max(most, weigh(pid).rss);
  }
  expect((most - before) / slow.length).toBeLessThan(24 * 1_048_576);
  await works();
  for (const one of slow) one.close();
  await eventually(
    "nobody is subscribed",
    async () => ((await publisher.call("PUBSUB", "NUMSUB", "flood")) as [string, number])[1] === 0,
    15_000,
  );
}, 60_000);
