// Both directions of a relay against the simplest reading of the protocol: a command, then its answer. However the bytes are cut,
// however slow either side and the audit are, the same bytes pass, the same lines are told, and each line before its bytes.
import { duplexPair } from "node:stream";
import type { Statement } from "@sallyport/core/audit";
import { mysql } from "@sallyport/wire/mysql/mysql";
import fc from "fast-check";
import { expect, test } from "vitest";
import { session } from "../door.ts";
import { cuts, flips, hear, say } from "../pieces.ts";
import { bits, column, counted, eof, err, lenenc, ok, packet, packets, u16, u32, usual } from "./bytes.ts";
import { turn } from "./stand.ts";

interface Round {
  readonly asks: Buffer;
  readonly answers: Buffer;
  readonly told: readonly string[];
}
const size = fc.oneof(fc.nat(40), fc.constantFrom(65_530, 65_534, 65_535, 65_536, 65_537, 131_072, 200_000));
const long = (count: number): string => "select 1 -- ".padEnd(count, "x");

/** Commands and what answers them, as a server would that is asked so. */
const round = (noEof: boolean): fc.Arbitrary<Round> => {
  const end = (sequence: number, status = 2): Buffer =>
    noEof ? packet(sequence, 0xfe, 0, 0, u16(status), u16(0)) : eof(sequence, status);
  const rows = (count: number): Buffer =>
    Buffer.concat([
      packet(1, 1),
      column(2, "a"),
      ...(noEof ? [] : [eof(3)]),
      packet(4, counted("x".repeat(count))),
      packet(5, 0xfb),
      end(6),
    ]);
  return fc.oneof(
    fc
      .tuple(size, size)
      .map(([count, row]) => ({ asks: packet(0, 3, long(count)), answers: rows(row), told: ["query", "complete"] })),
    size.map((count) => ({
      asks: packet(0, 3, long(count)),
      answers: ok(1, { affected: 70_000 }),
      told: ["query", "complete"],
    })),
    size.map((count) => ({
      asks: packet(0, 3, "x"),
      answers: err(1, 1064, "42000", long(count % 60_000)),
      told: ["query", "error"],
    })),
    fc.constant({
      asks: packet(0, 3, "select 1; select 2"),
      answers: Buffer.concat([packet(1, 1), column(2, "a"), ...(noEof ? [] : [eof(3)]), end(4, 10), ok(5)]),
      told: ["query", "complete", "complete"],
    }),
    size.map((count) => ({
      asks: Buffer.concat([
        packet(0, 0x18, u32(7), u16(1), long(count)),
        packet(0, 0x17, u32(7), 0, u32(1), 0, 1, u16(0xfd), u16(0xfd), lenenc(count), Buffer.alloc(count, 0x61)),
      ]),
      answers: ok(1),
      told: ["long_data", "execute", "complete"],
    })),
    fc.constant({ asks: packet(0, 0x0e), answers: ok(1), told: ["complete"] }),
    fc.constant({ asks: packet(0, 0x09), answers: packet(1, "Uptime: 7"), told: ["command"] }),
    fc.constant({ asks: packet(0, 0x19, u32(99)), answers: Buffer.alloc(0), told: [] }),
  );
};
const prepared: Round = {
  asks: packet(0, 0x16, "select ?, ?"),
  answers: Buffer.concat([packet(1, 0, u32(7), u16(0), u16(2), 0, u16(0)), column(2, "?"), column(3, "?")]),
  told: ["prepare", "prepared"],
};

test("S-30 S-42 the same bytes pass and the same is told, whatever the pieces, the backpressure and the audit's pace", async () => {
  const shape = fc.boolean().chain((noEof) => fc.tuple(fc.constant(noEof), fc.array(round(noEof), { maxLength: 8 })));
  await fc.assert(
    fc.asyncProperty(
      shape,
      cuts,
      cuts,
      flips,
      flips,
      async ([noEof, rounds], askCuts, answerCuts, pauses, durables) => {
        const [near, client] = duplexPair();
        const [far, server] = duplexPair();
        const atServer = hear(server, pauses);
        const atClient = hear(client, pauses);
        const made: { type: string; part: number }[] = [];
        const seen = session((statement: Statement, line): Promise<void> | undefined => {
          made.push({ type: String(line["type"] ?? "…"), part: statement.part ?? 0 });
          return durables[made.length % durables.length] ? turn().then(turn) : undefined;
        });
        const agreed = { flags: usual | (noEof ? bits.noEof : 0), extended: 0 };
        const base = {
          peer: { address: "10.0.0.7", port: 1 },
          connection: 7,
          ready: ok(1).subarray(4),
          schema: "orders",
        };
        const done = mysql.relay(
          { socket: near, agreed, next: 1 },
          { ...base, socket: far, agreed, localFiles: false },
          seen.live,
        );
        const first = noEof ? prepared : { ...prepared, answers: Buffer.concat([prepared.answers, eof(4)]) };
        const all = [first, ...rounds];
        let [asked, answered] = [0, 0];
        for (const { asks, answers } of all) {
          asked += asks.length;
          await say(client, asks, askCuts);
          while (atServer.bytes < asked) await turn();
          answered += answers.length;
          await say(server, answers, answerCuts);
          while (atClient.bytes < answered) await turn();
        }
        client.end(packet(0, 1));
        while (atServer.bytes < asked + 5) await turn();
        server.end();
        await done;
        expect(
          Buffer.concat(atServer.chunks).equals(Buffer.concat([...all.map(({ asks }) => asks), packet(0, 1)])),
        ).toBe(true);
        expect(Buffer.concat(atClient.chunks).equals(Buffer.concat(all.map(({ answers }) => answers)))).toBe(true);
        expect(made.filter(({ part }) => part === 0).map(({ type }) => type)).toEqual(all.flatMap(({ told }) => told));
      },
    ),
    { numRuns: 50 },
  );
}, 60_000);

test.each([-1, 0, 1])(
  "S-26 a command and a row of 16 MiB%s pass and are told whole, with what comes behind them",
  async (off) => {
    const [near, client] = duplexPair();
    const [far, server] = duplexPair();
    const atServer = hear(server, [false]);
    const atClient = hear(client, [false]);
    const seen = session();
    const agreed = { flags: usual, extended: 0 };
    const base = { peer: { address: "10.0.0.7", port: 1 }, connection: 7, ready: ok(1).subarray(4), schema: undefined };
    const done = mysql.relay(
      { socket: near, agreed, next: 1 },
      { ...base, socket: far, agreed, localFiles: false },
      seen.live,
    );
    const payload = Buffer.concat([Buffer.of(3), Buffer.alloc(0xff_ffff + off - 1, 0x61)]);
    const asks = Buffer.concat([packets(0, payload), packet(0, 0x0e)]);
    const row = packets(
      4,
      Buffer.concat([Buffer.of(0xfe, 0xfb, 0xff, 0xff, 0, 0, 0, 0, 0), Buffer.alloc(0xff_ffff + off - 9, 0x62)]),
    );
    const answers = Buffer.concat([packet(1, 1), column(2, "a"), eof(3), row, eof(6), ok(1)]);
    await say(client, asks, [70_000]);
    while (atServer.bytes < asks.length) await turn();
    await say(server, answers, [70_000]);
    while (atClient.bytes < answers.length) await turn();
    expect(Buffer.concat(atServer.chunks).equals(asks)).toBe(true);
    expect(Buffer.concat(atClient.chunks).equals(answers)).toBe(true);
    const told = seen.lines().filter(({ text }) => text !== undefined);
    expect(told.reduce((all, { text }) => all + String(text).length, 0)).toBe(payload.length - 1);
    expect(seen.lines().slice(-2)).toEqual([
      { type: "complete", rows: 1 },
      { type: "complete", affected: 0 },
    ]);
    client.destroy();
    server.destroy();
    near.destroy();
    far.destroy();
    await done;
  },
  60_000,
);
