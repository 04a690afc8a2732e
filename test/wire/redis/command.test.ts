// The table of commands against what a real redis-server says of itself: every command's arguments and keys, and where it finds keys
// in command lines made up by chance.
import { eachKey, findCommand, fits, mayBlock } from "@sallyport/wire/redis/command";
import { array, elementsOf, kindOf, numberOf, textOf } from "@sallyport/wire/redis/element";
import { openReader } from "@sallyport/wire/redis/frame";
import { command } from "@sallyport/wire/redis/message";
import type { Words } from "@sallyport/wire/redis/word";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type RedisServer, stage, startRedis } from "./servers.ts";

const wordsOf = (...words: readonly (string | Buffer)[]): Words => {
  const reader = openReader();
  reader.read(command(...words), 0);
  return reader.reading;
};
const keysOf = (...words: readonly string[]): readonly string[] => {
  const line = wordsOf(...words);
  const known = findCommand(line);
  const keys: string[] = [];
  if (known && fits(known, line)) eachKey(known, line, (at) => void keys.push(words[at] ?? ""));
  return keys;
};
const ruleOf = (...words: readonly string[]): string | undefined => findCommand(wordsOf(...words))?.rule;

let server: RedisServer;
stage(async () => {
  server = await startRedis();
});
afterAll(() => server?.stop());

interface Said {
  readonly name: string;
  readonly arity: number;
  readonly flags: readonly string[];
  readonly keys: readonly number[];
}
const said = (entry: Buffer): readonly Said[] => {
  const [name = "", arity, flags, first, last, step, , , , subcommands] = elementsOf(entry).map((one, at) =>
    at === 0 ? (textOf(one) ?? "") : one,
  ) as [string, ...Buffer[]];
  const numbers = [first, last, step].map((one) => numberOf(one ?? Buffer.alloc(0)));
  const words = elementsOf(flags ?? array([])).map((flag) => textOf(flag) ?? "");
  const own = { name, arity: numberOf(arity ?? Buffer.alloc(0)), flags: words, keys: numbers };
  return [own, ...elementsOf(subcommands ?? array([])).flatMap(said)];
};
/** Internal, or refused with all that it has. */
const isOut = (name: string): boolean => ruleOf(...name.split("|")) === "refused";

describe("the table of commands", () => {
  it("knows every command of redis-server with its arguments, and the keys that always stand at one place", async () => {
    const answer = Buffer.from(await server.talk.ask("COMMAND"), "latin1");
    const all = elementsOf(answer).flatMap(said);
    expect(all.length).toBeGreaterThan(300);
    for (const { name, arity, keys, flags } of all) {
      const known = findCommand(wordsOf(...name.split("|")));
      expect(known, name).toBeDefined();
      if (!known || isOut(name)) continue;
      expect(known.name, name).toBe(name);
      // later versions take more: WITHSCORE of ZRANK, RESTORE of FUNCTION
      if (!["zrank", "zrevrank", "command|getkeys", "command|getkeysandflags"].includes(name))
        expect(known.arity, name).toBe(arity);
      if (!flags.includes("movablekeys")) expect([known.first, known.last, known.step], name).toEqual(keys);
      else expect(known.find, name).toBeDefined();
      expect(known.blocks, `${name} blocks`).toBe(flags.includes("blocking") || name === "wait" || name === "waitaof");
    }
  });

  const key = fc.stringMatching(/^[a-z]{1,6}$/);
  const some = (name: string, most = 5): fc.Arbitrary<readonly string[]> =>
    fc.array(key, { minLength: 0, maxLength: most }).map((keys) => [name, ...keys]);
  const counted = (name: string, before: readonly string[], after: readonly string[] = []) =>
    fc
      .tuple(fc.array(key, { minLength: 1, maxLength: 4 }), fc.integer({ min: -1, max: 5 }), fc.boolean())
      .map(([keys, claimed, honest]) => [name, ...before, String(honest ? keys.length : claimed), ...keys, ...after]);
  const line = fc.oneof(
    ...[
      "GET",
      "mget",
      "MSET",
      "DEL",
      "Watch",
      "SUNIONSTORE",
      "BITOP",
      "BLPOP",
      "PFCOUNT",
      "LMOVE",
      "XADD",
      "EXISTS",
    ].map((name) => some(name)),
    ...["EVAL", "EVALSHA", "FCALL", "eval_ro", "fcall_ro"].map((name) => counted(name, ["s"], ["arg"])),
    ...["ZUNION", "zinter", "ZDIFF", "SINTERCARD", "ZINTERCARD"].map((name) => counted(name, [])),
    ...["LMPOP", "ZMPOP"].map((name) => counted(name, [], ["LEFT"])),
    ...["BLMPOP", "BZMPOP"].map((name) => counted(name, ["0"], ["LEFT"])),
    ...["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"].map((name) => counted(name, ["dest"])),
    fc
      .tuple(key, fc.array(fc.constantFrom("BY", "LIMIT", "GET", "STORE", "ASC", "x", "0", "1"), { maxLength: 6 }))
      .map(([of, more]) => ["SORT", of, ...more]),
    // with both, or one twice, the server's own finders disagree
    fc
      .tuple(
        key,
        fc.constantFrom(["WITHDIST"], ["COUNT", "9"], []),
        fc.constantFrom("STORE", "storedist"),
        fc.boolean(),
      )
      .map(([of, more, word, stores]) => [
        "GEORADIUS",
        of,
        "1",
        "2",
        "3",
        "m",
        ...more,
        ...(stores ? [word, "d"] : []),
      ]),
    fc
      .tuple(
        fc.array(fc.constantFrom("COUNT", "5", "BLOCK", "0", "NOACK"), { maxLength: 4 }),
        fc.array(key, { maxLength: 5 }),
      )
      .map(([more, streams]) => ["XREAD", ...more, "STREAMS", ...streams]),
    fc
      .array(key, { minLength: 1, maxLength: 4 })
      .map((streams) => ["XREADGROUP", "GROUP", "g", "c", "STREAMS", ...streams, ...streams.map(() => ">")]),
    fc.tuple(fc.constantFrom("ENCODING", "freq", "IDLETIME"), key).map(([sub, of]) => ["OBJECT", sub, of]),
    fc.tuple(fc.constantFrom("CREATE", "setid"), key).map(([sub, of]) => ["XGROUP", sub, of, "g", "$"]),
    key.map((of) => ["MEMORY", "usage", of]),
    key.map((of) => ["XINFO", "STREAM", of]),
  );

  it("finds the keys that COMMAND GETKEYS finds, in 2,000 command lines", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 50, maxLength: 50 }), async (lines) => {
        const answers = await server.talk.all(lines.map((words) => ["COMMAND", "GETKEYS", ...words]));
        for (const [at, words] of lines.entries()) {
          const answer = Buffer.from(answers[at] ?? "", "latin1");
          const theirs = kindOf(answer) === 0x2d ? [] : elementsOf(answer).map((element) => textOf(element));
          expect(keysOf(...words), words.join(" ")).toEqual(theirs);
        }
      }),
      { numRuns: 40 },
    );
  });

  it("finds keys that stand apart", () => {
    expect(keysOf("msetex", "2", "a", "1", "b", "2", "EX", "5")).toEqual(["a", "b"]);
    expect(keysOf("XREAD", "CLAIM", "5", "STREAMS", "s", "0")).toEqual(["s"]);
    expect(keysOf("JSON.MGET", "a", "b", "$")).toEqual(["a", "b"]);
    expect(keysOf("JSON.MSET", "a", "$", "1", "b", "$", "2")).toEqual(["a", "b"]);
    expect(keysOf("EVAL", "s", "99999999999999999999", "a")).toEqual([]);
  });

  it("looks a name up whatever its case, and nothing that is only like it", () => {
    for (const name of ["get", "GET", "gEt"]) expect(findCommand(wordsOf(name, "k"))?.name).toBe("get");
    for (const name of ["ge", "gett", "", "get|", "client|setname"])
      expect(findCommand(wordsOf(name, "k")), JSON.stringify(name)).toBeUndefined();
  });

  it("S-27 what rules the server is refused, with every subcommand, known or not", () => {
    for (const words of [
      ...[
        "MIGRATE h 1 k 0 1",
        "debug SLEEP 1",
        "CONFIG GET *",
        "Config",
        "MODULE LIST",
        "MONITOR",
        "PSYNC ? -1",
        "SYNC",
      ],
      ...[
        "REPLCONF ack 1",
        "REPLICAOF a 1",
        "slaveof no one",
        "FAILOVER",
        "SHUTDOWN",
        "SAVE",
        "BGSAVE",
        "BGREWRITEAOF",
      ],
      ...[
        "ACL SETUSER x",
        "acl deluser x",
        "ACL LOAD",
        "ACL SAVE",
        "ACL NEWTHING x",
        "CLUSTER FAILOVER",
        "CLUSTER RESET",
      ],
      ...["CLUSTER MEET h 1", "CLUSTER FORGET x", "CLUSTER ADDSLOTS 1", "cluster setslot 1 node x", "CLUSTER NEWTHING"],
      ...["CLUSTER SYNCSLOTS x", "CONFIG NEWTHING", "RESTORE-ASKING k 0 v", "TRIMSLOTS RANGES 1 0 1"],
    ])
      expect(ruleOf(...words.split(" ")), words).toBe("refused");
    for (const words of [
      "ACL WHOAMI",
      "ACL GETUSER x",
      "CLUSTER SLOTS",
      "CLUSTER INFO",
      "GET k",
      "INFO",
      "CLIENT LIST",
    ])
      expect(ruleOf(...words.split(" ")), words).toBe("pass");
    for (const words of [
      "EVAL s 0",
      "evalsha x 0",
      "FCALL f 0",
      "FCALL_RO f 0",
      "SCRIPT LOAD x",
      "FUNCTION LOAD x",
      "SCRIPT NEW",
    ])
      expect(ruleOf(...words.split(" ")), words).toBe("script");
    for (const words of ["AUTH x", "HELLO 3"]) expect(ruleOf(...words.split(" ")), words).toBe("login");
  });

  it("S-27 a zero byte in a name is refused: the server itself may read no further", async () => {
    const tails = Array.from({ length: 2_000 }, (_, at) => `\0${at}`);
    const ways = [
      ...tails.map((tail) => [`PING${tail}`]),
      ...tails.map((tail) => ["CLIENT", `ID${tail}`]),
      ...tails.map((tail) => [`config${tail}`, "GET", "port"]),
    ];
    const answers = await server.talk.all(ways);
    const carriedOut = ways.filter((_, at) => !answers[at]?.startsWith("-ERR unknown"));
    expect(carriedOut.length).toBeGreaterThan(0);
    for (const words of carriedOut) expect(ruleOf(...words), JSON.stringify(words)).toBe("refused");
    expect(ruleOf("ACL", "WHOAMI\0")).toBe("refused");
    expect(ruleOf("GET", "k\0")).toBe("pass");
    expect(ruleOf("OBJECT", "ENCODING", "k\0")).toBe("pass");
  });

  it("knows which commands may wait for somebody else", () => {
    const blocks = (...words: readonly string[]): boolean => {
      const line = wordsOf(...words);
      const known = findCommand(line);
      return known !== undefined && mayBlock(known, line);
    };
    expect(blocks("BLPOP", "k", "0")).toBe(true);
    expect(blocks("XREAD", "BLOCK", "0", "STREAMS", "s", "$")).toBe(true);
    expect(blocks("XREAD", "STREAMS", "block", "$")).toBe(false);
    expect(blocks("LPOP", "k")).toBe(false);
  });
});
