// However the bytes of a session are cut, the same passes, the same is answered and the same is told.

import fc from "fast-check";
import { expect, test } from "vitest";
import { session } from "../door.ts";
import { said } from "./said.ts";
import { answer, say, standing, text, turns } from "./stand.ts";

const big = Buffer.alloc(150_000, "x");
const asked = Buffer.concat([
  said("SET", "k", "v"),
  said("CONFIG", "GET", "*"),
  Buffer.from("GET k\r\n"),
  said("MSET", "a", big, "b".repeat(400), "1"),
  said("CONFIG", "SET", "x", big),
  Buffer.from("*0\r\n"),
  said("CLIENT", "REPLY", "SKIP"),
  said("GET", "unheard"),
  said("MULTI"),
  said("MONITOR"),
  said("EXEC"),
  said("APPEND", "k", Buffer.from([0, 255, 13, 10])),
]);
const heard = Buffer.concat([
  said("SET", "k", "v"),
  said("GET", "k"),
  said("MSET", "a", big, "b".repeat(400), "1"),
  said("GET", "unheard"),
  said("MULTI"),
  said("DISCARD"),
  said("APPEND", "k", Buffer.from([0, 255, 13, 10])),
]);
const answers = Buffer.concat([
  Buffer.from(`+OK\r\n$${big.length}\r\n`),
  big,
  Buffer.from(
    "\r\n|1\r\n+ttl\r\n:1\r\n-ERR no\r\n>2\r\n+invalidate\r\n_\r\n*2\r\n$-1\r\n*1\r\n:5\r\n+OK\r\n+OK\r\n:1\r\n",
  ),
]);
const wanted = (errors: readonly string[]): string =>
  [
    "+OK\r\n",
    errors[0],
    `$${big.length}\r\n${big.toString()}\r\n`,
    "|1\r\n+ttl\r\n:1\r\n-ERR no\r\n",
    errors[1],
    ">2\r\n+invalidate\r\n_\r\n",
    "+OK\r\n",
    errors[2],
    "-EXECABORT Transaction discarded because of previous errors.\r\n",
    ":1\r\n",
  ].join("");

const cut = (bytes: Buffer, places: readonly number[]): readonly Buffer[] => {
  const ends = [...new Set([...places.map((place) => place % bytes.length), bytes.length])].sort((a, b) => a - b);
  return ends.map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end)).filter((piece) => piece.length > 0);
};
const places = fc.array(fc.oneof(fc.nat(asked.length), fc.nat(200), fc.integer({ min: 150_000, max: 150_900 })), {
  maxLength: 40,
});

test("S-27 any chunking of what is asked and answered", async () => {
  await fc.assert(
    fc.asyncProperty(places, places, async (mine, theirs) => {
      const stand = standing({ version: 3 });
      await say(stand, ...cut(asked, mine));
      expect(stand.server.received().equals(heard)).toBe(true);
      await answer(stand, ...cut(answers, theirs));
      const errors = text(stand.client).match(/-NOPERM [^\r]*\r\n/g) ?? [];
      expect(text(stand.client) === wanted(errors)).toBe(true);
      const lines = stand.seen.lines();
      expect(lines.filter(({ type }) => type === "refused")).toHaveLength(3);
      const parts = stand.seen.statements.filter(({ part }) => part !== undefined);
      expect(parts.map(({ part, last }) => [part, last])).toEqual(parts.map((_, at) => [at, at === parts.length - 1]));
      const told = lines.filter((_, at) => stand.seen.statements[at]?.part !== undefined);
      expect(told.flatMap(({ args }) => args)).toEqual([
        "a",
        { text: "x".repeat(256), bytes: big.length },
        "b".repeat(400),
        "1",
      ]);
    }),
    { numRuns: 60 },
  );
});

test("S-27 the same when each line has to be durable first: nothing overtakes what waits", async () => {
  await fc.assert(
    fc.asyncProperty(places, places, async (mine, theirs) => {
      const durable: (() => void)[] = [];
      const seen = session(() => new Promise((resolve) => void durable.push(resolve)));
      const stand = standing({ version: 3, seen });
      const settle = async (): Promise<void> => {
        for (await turns(); durable.length > 0; await turns()) for (const resolve of durable.splice(0)) resolve();
      };
      await say(stand, ...cut(asked, mine));
      expect(stand.server.received().length).toBe(0);
      await settle();
      expect(stand.server.received().equals(heard)).toBe(true);
      await answer(stand, ...cut(answers, theirs));
      await settle();
      const errors = text(stand.client).match(/-NOPERM [^\r]*\r\n/g) ?? [];
      expect(text(stand.client) === wanted(errors)).toBe(true);
    }),
    { numRuns: 30 },
  );
});

test("S-27 byte by byte", async () => {
  const stand = standing({ version: 3 });
  const short = Buffer.concat([said("SET", "k", "v"), Buffer.from("get k\r\n"), said("DEBUG", "x"), said("GET", "k")]);
  await say(stand, ...cut(short, [...short.keys()]));
  expect(stand.server.received()).toEqual(Buffer.concat([said("SET", "k", "v"), said("get", "k"), said("GET", "k")]));
  const replies = Buffer.from("+OK\r\n%1\r\n+a\r\n~2\r\n:1\r\n,1.5\r\n=5\r\ntxt:a\r\n");
  await answer(stand, ...cut(replies, [...replies.keys()]));
  expect(text(stand.client)).toMatch(/^\+OK\r\n%1\r\n\+a\r\n~2\r\n:1\r\n,1\.5\r\n-NOPERM [^\r]*\r\n=5\r\ntxt:a\r\n$/);
});
