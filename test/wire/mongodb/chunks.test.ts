// Both directions of a relay, whatever the pieces: the same bytes pass, the same is told, and each line before its bytes.
import { duplexPair } from "node:stream";
import { mongodb } from "@sallyport/wire/mongodb/mongodb";
import { type Document, Long } from "bson";
import fc from "fast-check";
import { expect, test } from "vitest";
import { link, session } from "../door.ts";
import { cuts, flips, hear, say } from "../pieces.ts";
import { ask, bits, body, checked, msg, reply, sequence } from "./bytes.ts";
import { serverOn, turn } from "./stand.ts";

interface Round {
  readonly asks: Buffer;
  readonly answers: Buffer;
  readonly told: readonly string[];
}
const size = fc.oneof(fc.nat(40), fc.constantFrom(65_500, 65_536, 65_600, 131_072, 200_000));
const text = (count: number): Document => ({
  text: "é".padEnd(count, "x"),
  n: count,
  at: new Date(0),
  deep: [{ a: [1, 2n] }],
});
const batch = (key: string, rows: number, count: number, id = 0): Document => ({
  cursor: { [key]: Array.from({ length: rows }, () => text(count)), id: Long.fromNumber(id), ns: "orders.items" },
  ok: 1,
});
let next = 1;
const round: fc.Arbitrary<Round> = fc
  .tuple(fc.constantFrom("find", "insert", "checked", "before", "error", "exhaust", "silent"), size, size, fc.nat(4))
  .map(([what, count, other, rows]): Round => {
    const id = next++;
    const find = ask(id, { find: "items", filter: text(count), $db: "orders" });
    const insert = [
      body({ insert: "items", ordered: true, $db: "orders" }),
      sequence("documents", ...Array.from({ length: rows }, () => text(count))),
    ] as const;
    const done = reply(id, { n: rows, ok: 1 });
    const both = ["command", "complete"];
    if (what === "find") return { asks: find, answers: reply(id, batch("firstBatch", rows, other)), told: both };
    if (what === "insert") return { asks: msg({ id }, ...insert), answers: done, told: both };
    if (what === "checked")
      return {
        asks: checked({ id }, ...insert),
        answers: checked({ to: id }, body(batch("firstBatch", rows, other))),
        told: both,
      };
    if (what === "before") return { asks: msg({ id }, insert[1], insert[0]), answers: done, told: both };
    if (what === "silent")
      return { asks: msg({ id, flags: bits.more }, ...insert), answers: Buffer.alloc(0), told: ["command"] };
    if (what === "error")
      return {
        asks: find,
        answers: reply(id, { ok: 0, errmsg: "x".repeat(other % 9_000), code: 2 }),
        told: ["command", "error"],
      };
    const first = reply(id, batch("firstBatch", rows, other, 5), { id: 900_000 + id, flags: bits.more });
    return {
      asks: ask(id, { find: "items", $db: "orders" }, bits.exhaust),
      answers: Buffer.concat([first, reply(900_000 + id, batch("nextBatch", 1, other))]),
      told: both,
    };
  });

test("S-30 S-42 the same bytes pass and the same is told, whatever the pieces, the backpressure and the audit's pace", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(round, { maxLength: 6 }),
      cuts,
      cuts,
      flips,
      flips,
      async (rounds, askCuts, answerCuts, pauses, durables) => {
        const [near, client] = duplexPair();
        const [far, server] = duplexPair();
        const [atServer, atClient] = [hear(server, pauses), hear(client, pauses)];
        const types: string[] = [];
        const said: string[] = [];
        let told = 0;
        const seen = session((statement, line): Promise<void> | undefined => {
          if ((statement.part ?? 0) === 0) types.push(String(line["type"] ?? "…"));
          said.push(JSON.stringify(line));
          return durables[told++ % durables.length] ? turn().then(turn) : undefined;
        });
        const made = serverOn({ ...link(), ours: far });
        const done = mongodb.relay({ socket: near, pending: undefined, sasl: false }, made, seen.live);
        let [asked, answered] = [0, 0];
        for (const { asks, answers } of rounds) {
          asked += asks.length;
          await say(client, asks, askCuts);
          while (atServer.bytes < asked) await turn();
          answered += answers.length;
          await say(server, answers, answerCuts);
          while (atClient.bytes < answered) await turn();
        }
        client.end();
        server.end();
        await done;
        expect(Buffer.concat(atServer.chunks).equals(Buffer.concat(rounds.map(({ asks }) => asks)))).toBe(true);
        expect(Buffer.concat(atClient.chunks).equals(Buffer.concat(rounds.map(({ answers }) => answers)))).toBe(true);
        expect(types).toEqual(rounds.flatMap((one) => one.told));
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);

test("a body of the greatest size passes and is told whole; one byte more does not", async () => {
  const [near, client] = duplexPair();
  const [far, server] = duplexPair();
  const atServer = hear(server, [false]);
  const seen = session();
  const made = serverOn({ ...link(), ours: far });
  const done = mongodb.relay({ socket: near, pending: undefined, sasl: false }, made, seen.live);
  const least = ask(1, { find: "items", text: "", $db: "orders" }).length - 21;
  const whole = ask(1, { find: "items", text: "x".repeat(16_793_600 - least), $db: "orders" });
  await say(client, whole, [70_000]);
  while (atServer.bytes < whole.length) await turn();
  expect(Buffer.concat(atServer.chunks).equals(whole)).toBe(true);
  const all = seen.lines().map((line) => String(line["text"] ?? ""));
  expect(all.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(16_700_000);
  expect(Math.max(...all.map(({ length }) => length))).toBeLessThanOrEqual(65_536);
  await say(client, ask(2, { find: "items", text: "x".repeat(16_793_601 - least), $db: "orders" }), [70_000]);
  expect((await done).failure?.code).toBe("too_large");
  client.destroy();
  server.destroy();
}, 60_000);
