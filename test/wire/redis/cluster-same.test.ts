// A cluster answers as one redis-server does: any pipeline of commands, cut anywhere, gets the same answers through the lane that shows
// a cluster as one node as from a server alone.

import { array, bytesOf, elementsOf } from "@sallyport/wire/redis/element";
import { command } from "@sallyport/wire/redis/message";
import fc from "fast-check";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { type Gathered, gatherAt } from "./gathered.ts";
import { type RedisCluster, type RedisServer, stage, startCluster, startRedis } from "./servers.ts";
import { openTalk, type Talk } from "./talk.ts";

let cluster: RedisCluster;
let alone: RedisServer;
const talks: Talk[] = [];
stage(async () => {
  [cluster, alone] = await Promise.all([startCluster(), startRedis()]);
});
afterEach(() => {
  for (const talk of talks.splice(0)) talk.close();
});
afterAll(() => Promise.all([cluster?.stop(), alone?.stop()]));

const openBoth = async (version: 2 | 3): Promise<{ one: Talk; many: Gathered }> => {
  const one = await openTalk(alone.port);
  await one.ask("HELLO", String(version));
  const many = await gatherAt(cluster.primaries[0]?.port ?? 0, version);
  talks.push(one, many);
  return { one, many };
};

type Line = readonly string[];
const key = fc.constantFrom("a", "b", "c", "d", "{t}1", "{t}2", "{t}3", "{u}1", "{u}2", "é\u0000k");
const tagged = fc.constantFrom("{t}1", "{t}2", "{t}3");
const value = fc.oneof(fc.constantFrom("1", "-7", "x", ""), fc.string({ maxLength: 12 }));
const small = fc.integer({ min: -3, max: 5 }).map(String);
const keys = fc.array(key, { minLength: 0, maxLength: 8 });
const pairs = fc.array(fc.tuple(key, value), { minLength: 0, maxLength: 6 }).map((all) => all.flat());

const line: fc.Arbitrary<Line> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom("SET", "APPEND", "GETSET", "SETNX", "set"), key, value) },
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constantFrom("GET", "STRLEN", "INCR", "TYPE", "TTL", "GETDEL", "DUMPX", "LLEN"), key),
  },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom("RPUSH", "LPUSH", "SADD", "LPUSHX"), key, value, value) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom("LRANGE", "ZRANGE", "GETRANGE"), key, small, small) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("HSET"), key, value, value) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom("HGETALL", "SCARD", "LPOP", "OBJECT"), key) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("ZADD"), key, small, value) },
  { weight: 4, arbitrary: keys.map((all) => ["MGET", ...all]) },
  { weight: 3, arbitrary: pairs.map((all) => ["MSET", ...all]) },
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constantFrom("DEL", "UNLINK", "EXISTS", "touch"), keys).map(([name, all]) => [name, ...all]),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom("RENAME", "RPOPLPUSH", "COPY", "SMOVE"), tagged, tagged) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom("SUNIONSTORE", "PFMERGE", "SDIFFSTORE"), tagged, tagged, tagged) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("BITOP"), fc.constant("OR"), tagged, tagged, tagged) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("MSETNX"), tagged, value, tagged, value) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("BLPOP"), tagged, tagged, fc.constant("0.001")) },
  { weight: 2, arbitrary: fc.constantFrom(["DBSIZE"], ["PING"], ["ECHO", "hello"], ["KEYS", "*"], ["KEYS", "{t}*"]) },
  { weight: 1, arbitrary: fc.constantFrom(["KEYS"], ["MGET"], ["FLUSHALL"], ["FLUSHDB", "ASYNC"], ["WAIT", "0", "0"]) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Line>(
      ...[
        ["GET"],
        ["PING", "a", "b"],
        ["NOSUCH", "a"],
        ["EXEC"],
        ["DISCARD"],
        ["UNWATCH"],
        ["SELECT", "0"],
        ["OBJECT"],
      ],
      ...[
        ["EVAL", "return 7", "0"],
        ["EVAL", "bad lua(", "0"],
        ["EVAL", "return 1", "x"],
        ["SCRIPT", "LOAD", "return 2"],
      ],
      ...[
        ["SCRIPT", "EXISTS", "7f923f79fe76194c868d7e1d0820de36700eb649", "nope"],
        ["SCRIPT", "FLUSH"],
        ["CLIENT", "GETNAME"],
      ],
      ...[
        ["EVALSHA", "7f923f79fe76194c868d7e1d0820de36700eb649", "0"],
        ["CLIENT", "SETNAME", "n"],
        ["PUBSUB", "NUMPAT"],
      ],
      ...[
        ["PUBLISH", "nobody", "hears"],
        ["SPUBLISH", "nobody", "hears"],
        ["PUBSUB", "NUMSUB", "a", "b"],
      ],
      ...[
        ["PUBSUB", "CHANNELS"],
        ["LASTSAVEX"],
        ["CLIENT", "NOSUCH"],
        ["MULTI", "x"],
        ["WATCH"],
        ["CLIENT", "SETNAME", "a b"],
      ],
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(key, value)
      .map(([of, what]) => ["EVAL", "return redis.call('set', KEYS[1], ARGV[1])", "1", of, what]),
  },
);
const inside: fc.Arbitrary<Line> = fc.oneof(
  fc.tuple(fc.constantFrom("SET", "APPEND", "RPUSH"), tagged, value),
  fc.tuple(fc.constantFrom("GET", "INCR", "LLEN", "LPOP"), tagged),
  fc.array(tagged, { minLength: 1, maxLength: 4 }).map((all) => ["MGET", ...all]),
  fc.constantFrom<Line>(["PING"], ["ECHO", "in"], ["GET"], ["NOSUCH"], ["MULTI"], ["WATCH", "{t}1"]),
);
const transaction: fc.Arbitrary<readonly Line[]> = fc
  .tuple(fc.boolean(), fc.array(inside, { maxLength: 6 }), fc.constantFrom("EXEC", "DISCARD"))
  .map(([watched, lines, end]) => [...(watched ? [["WATCH", "{t}2"]] : []), ["MULTI"], ...lines, [end]]);
const pipeline = fc
  .array(fc.oneof({ weight: 6, arbitrary: line.map((words) => [words]) }, { weight: 1, arbitrary: transaction }), {
    ...{ minLength: 1, maxLength: 40 },
  })
  .map((all) => all.flat());

const unordered = new Set(["KEYS", "PUBSUB"]);
/** What has no order is put in one. */
const ordered = (words: Line, answer: string): string => {
  if (!unordered.has(words[0] ?? "") || !answer.startsWith("*")) return answer;
  return array(
    [...elementsOf(Buffer.from(answer, "latin1"))].sort((one, other) => (String(one) < String(other) ? -1 : 1)),
  ).toString("latin1");
};

const writePieces = (talk: Talk, bytes: Buffer, cuts: readonly number[]): void => {
  let from = 0;
  for (const cut of [...cuts.map((part) => part % bytes.length).sort((a, b) => a - b), bytes.length]) {
    if (cut > from) talk.write(bytes.subarray(from, cut));
    from = Math.max(from, cut);
  }
};

const run = async (both: { one: Talk; many: Talk }, lines: readonly Line[], cuts: readonly number[]): Promise<void> => {
  await Promise.all([
    both.one.all([["DISCARD"], ["UNWATCH"], ["FLUSHALL"], ["SCRIPT", "FLUSH"]]),
    both.many.ask("DISCARD"),
  ]);
  await both.many.all([["UNWATCH"], ["FLUSHALL"], ["SCRIPT", "FLUSH"]]);
  const expected = await both.one.all(lines);
  writePieces(both.many, Buffer.concat(lines.map((words) => command(...words))), cuts);
  for (const [at, words] of lines.entries())
    expect(ordered(words, await both.many.next()), `${at}: ${words.join(" ")}`).toBe(
      ordered(words, expected[at] ?? ""),
    );
};

describe.each([2, 3] as const)("in RESP%i", (version) => {
  it("any pipeline gets the answers of one server", async () => {
    const both = await openBoth(version);
    await fc.assert(
      fc.asyncProperty(pipeline, fc.array(fc.nat(), { maxLength: 6 }), (lines, cuts) => run(both, lines, cuts)),
      { numRuns: 150, endOnFailure: true },
    );
  }, 60_000);

  it("a scan shows every key, whichever node has it", async () => {
    const { many } = await openBoth(version);
    await many.ask("FLUSHALL");
    const names = Array.from({ length: 500 }, (_, at) => `key ${at}`);
    await many.all(names.map((name) => ["SET", name, "v"]));
    const found = new Set<string>();
    let cursor = "0";
    let steps = 0;
    do {
      const answer = Buffer.from(await many.ask("SCAN", cursor, "COUNT", "50"), "latin1");
      const [next, some] = elementsOf(answer);
      cursor = String(next && bytesOf(next));
      for (const name of elementsOf(some ?? array([]))) found.add(String(bytesOf(name)));
      steps++;
    } while (cursor !== "0" && steps < 200);
    expect([...found].sort()).toEqual([...names].sort());
    expect(await many.ask("SCAN", "nonsense")).toBe("-ERR invalid cursor\r\n");
    expect(await many.ask("SCAN", "0", "MATCH")).toBe("-ERR syntax error\r\n");
  });

  it("values of any size pass in any pieces", async () => {
    const { many } = await openBoth(version);
    const big = "b".repeat(3_000_000);
    const lines = ["a", "b", "c", "d"].flatMap((name) => [
      ["SET", name, `${name}${big}`],
      ["GET", name],
      ["STRLEN", name],
    ]);
    writePieces(
      many,
      Buffer.concat(lines.map((words) => command(...words))),
      [5, 70_000, 70_001, 3_000_100, 9_000_000],
    );
    for (const [name, value = ""] of lines) {
      const answer = await many.next();
      if (name === "SET") expect(answer).toBe("+OK\r\n");
      else if (name === "STRLEN") expect(answer).toBe(`:3000001\r\n`);
      else expect(answer === `$3000001\r\n${value}${big}\r\n`).toBe(true);
    }
  });
});
