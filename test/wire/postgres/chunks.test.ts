// Both directions of a relay against the simplest reading of the protocol: messages one after the other. However the bytes are
// cut, however slow either side and the audit are, the same bytes pass, the same lines are told, and each line before its bytes.
import { once } from "node:events";
import { duplexPair } from "node:stream";
import type { Statement } from "@sallyport/core/audit";
import { postgres } from "@sallyport/wire/postgres/postgres";
import fc from "fast-check";
import { expect, test } from "vitest";
import { int32, message, session } from "../door.ts";
import { cuts, flips, hear, say } from "../pieces.ts";
import { turn } from "./stand.ts";

const text = (size: number): string => "select 1 -- ".padEnd(size, "x");
const size = fc.oneof(fc.nat(40), fc.constantFrom(65_530, 65_535, 65_536, 65_537, 131_072, 200_000));
const asked = fc.oneof(
  size.map((count) => message("Q", `${text(count)}\0`)),
  size.map((count) => message("P", `s\0${text(count)}\0\0\0`)),
  size.map((count) => message("B", "p\0s\0\0\0\0\x01", int32(count), Buffer.alloc(count, 0x61), "\0\0")),
  fc.constant(message("E", "p\0", int32(0))),
  fc.constantFrom(
    message("S"),
    message("H"),
    message("D", "Ss\0"),
    message("c"),
    message("F", int32(7), "\0\0\0\0\0\0"),
  ),
  size.map((count) => message("d", Buffer.alloc(count, 0x64))),
);
const answered = fc.oneof(
  size.map((count) => message("D", Buffer.alloc(count, 0x44))),
  size.map((count) => message("E", `SERROR\0C42601\0M${text(count)}\0\0`)),
  size.map((count) => message("d", Buffer.alloc(count, 0x64))),
  fc.constantFrom(message("C", "SELECT 1\0"), message("Z", "I"), message("1"), message("2"), message("T", "\0\0")),
);

/** What must be told, in order, of one direction's messages: type, and how many bytes have passed for sure before it. */
const told = { Q: "query", P: "parse", B: "bind", E: "execute", F: "function" } as Readonly<Record<string, string>>;
const toldBack = { C: "complete", E: "error" } as Readonly<Record<string, string>>;
interface Expected {
  readonly type: string;
  /** Where its message's body begins. */
  readonly at: number;
}
const expectedOf = (messages: readonly Buffer[], names: Readonly<Record<string, string>>): readonly Expected[] => {
  let at = 0;
  return messages.flatMap((one) => {
    const begins = at + 5;
    at += one.length;
    const type = names[String.fromCharCode(one[0] ?? 0)];
    return type === undefined ? [] : [{ type, at: begins }];
  });
};

test("S-30 S-42 the same bytes pass and the same is told, whatever the pieces, the backpressure and the audit's pace", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(asked, { maxLength: 12 }),
      fc.array(answered, { maxLength: 12 }),
      cuts,
      cuts,
      flips,
      flips,
      async (asks, answers, askCuts, answerCuts, pauses, durables) => {
        const [near, client] = duplexPair();
        const [far, server] = duplexPair();
        const atServer = hear(server, pauses);
        const atClient = hear(client, pauses);
        const made: { type: string; part: number; passed: number }[] = [];
        let lines = 0;
        const seen = session((statement: Statement, line): Promise<void> | undefined => {
          const type = String(line["type"]);
          const back = type === "complete" || type === "error";
          const also = [
            ...("text" in line && type === "execute" ? ["parse"] : []),
            ...("values" in line && type === "execute" ? ["bind"] : []),
          ];
          for (const one of [...also, type])
            made.push({ type: one, part: statement.part ?? 0, passed: back ? atClient.bytes : atServer.bytes });
          if (!durables[lines++ % durables.length]) return undefined;
          return turn().then(turn);
        });
        const server0 = { socket: far, peer: { address: "10.0.0.7", port: 1 }, key: undefined };
        const done = postgres.relay(
          { socket: near, minor: 0 },
          { ...server0, parameters: [], notices: [], ready: Buffer.alloc(0) },
          seen.live,
        );
        const [asksBytes, answersBytes] = [Buffer.concat(asks), Buffer.concat(answers)];
        const heardAll = once(server, "end");
        await Promise.all([
          say(client, asksBytes, askCuts).then(() => client.end()),
          say(server, answersBytes, answerCuts),
        ]);
        // the client's end came behind all that it said; the answers still pass
        await heardAll;
        server.end();
        while (atClient.bytes < answersBytes.length) await turn();
        await done;
        expect(Buffer.concat(atServer.chunks).equals(asksBytes)).toBe(true);
        expect(Buffer.concat(atClient.chunks).equals(answersBytes)).toBe(true);
        for (const [names, messages] of [
          [told, asks],
          [toldBack, answers],
        ] as const) {
          const of = new Set(Object.values(names));
          const firsts = made.filter(({ type, part }) => of.has(type) && part === 0);
          const expected = expectedOf(messages, names);
          expect(firsts.map(({ type }) => type)).toEqual(expected.map(({ type }) => type));
          // nothing of a message's body is there before its first line
          firsts.forEach((one, index) => void expect(one.passed).toBeLessThanOrEqual(expected[index]?.at ?? 0));
        }
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);
