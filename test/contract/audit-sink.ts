// What every AuditSink must do: keep all it accepted, in order, numbered and chained per session, and say when it can't.
import { hash } from "node:crypto";
import type { Statement } from "@sallyport/core/audit";
import { type Chain, followChain, headOf, type LineHead } from "@sallyport/core/chain";
import type { AuditSink } from "@sallyport/core/ports";
import { describe, expect, it } from "vitest";

export interface SinkUnderTest {
  readonly sink: AuditSink;
  /** Every line that is durable, as text without its newline, in the order of each session. */
  lines(): Promise<readonly string[]>;
}

export const makeStatement = (said: Record<string, unknown> = {}): Statement => ({
  size: 100,
  say: (line) => line.members(said),
});

const hashAll = (pieces: readonly Uint8Array[]): string => hash("sha256", Buffer.concat(pieces));

/** What lines say that follow one another in files, each with whose it is. */
export const recordsOf = (lines: readonly string[]): readonly (LineHead & Readonly<Record<string, unknown>>)[] => {
  let before: LineHead | undefined;
  return lines.map((text) => {
    const said = JSON.parse(text) as Record<string, unknown>;
    before = headOf(said, before);
    if (!before) throw new Error(`nobody's line: ${text}`);
    return { ...before, ...said };
  });
};

/** Follows one session's chain the way anybody could: from the lines alone. */
export const chainOf = (lines: readonly string[], session: string): Chain =>
  followChain(
    recordsOf(lines)
      .map(({ seq, chain, session }, at) => ({ seq, chain, session, bytes: Buffer.from(`${lines[at]}\n`) }))
      .filter((line) => line.session === session),
    hashAll,
  );

export const auditSinkContract = (name: string, open: () => Promise<SinkUnderTest>): void => {
  describe(`${name} keeps the AuditSink contract`, () => {
    it("has written everything that was accepted once settled", async () => {
      const { sink, lines } = await open();
      for (let seq = 1; seq <= 100; seq += 1)
        expect(sink.append("a", 1_000 + seq, makeStatement({ text: `q${seq}` }))).toBe("accepted");
      await sink.settled();
      const written = (await lines()).map((line) => JSON.parse(line));
      expect(written.map(({ text }) => text)).toEqual(Array.from({ length: 100 }, (_, at) => `q${at + 1}`));
      expect(written[0]).toMatchObject({ session: "a", seq: 1, at: 1001 });
      await sink.close();
    });

    it("chains each session by itself, and its head is the hash of all it said", async () => {
      const { sink, lines } = await open();
      for (let seq = 1; seq <= 5; seq += 1) {
        sink.append("a", seq, makeStatement({ text: seq }));
        sink.append("b", seq, makeStatement({ text: -seq }));
        if (seq % 2 === 0) await sink.settled("spooled");
      }
      await sink.settled();
      const written = await lines();
      for (const session of ["a", "b"]) {
        const { seq, head, broken } = chainOf(written, session);
        expect(broken).toBeUndefined();
        expect(sink.head(session)).toEqual({ seq, head });
        expect(sink.seal(session)).toEqual({ seq: 5, head });
        expect(sink.seal(session)).toBeUndefined();
      }
      await sink.close();
    });

    it("S-41 keeps a line one line, whatever is in it, and its own members its own", async () => {
      const { sink, lines } = await open();
      const text = 'a\r\nb\u2028\u001b[31m"}\u0000';
      sink.append("a", 1001, makeStatement({ text, session: "other", seq: 99, at: 1, chain: "forged" }));
      await sink.settled();
      const written = await lines();
      expect(written).toHaveLength(1);
      expect(JSON.parse(written[0] ?? "")).toEqual({ session: "a", chain: "", seq: 1, at: 1001, text });
      expect(written[0]).not.toMatch(/[^\x20-\x7e]/);
      await sink.close();
    });

    it("takes nothing after it was closed", async () => {
      const { sink } = await open();
      await sink.close();
      expect(sink.append("a", 1, makeStatement())).toBe("full");
    });

    it("says how full it is between 0 and 1", async () => {
      const { sink } = await open();
      expect(sink.fill()).toBe(0);
      sink.append("a", 1, makeStatement());
      expect(sink.fill()).toBeGreaterThanOrEqual(0);
      expect(sink.fill()).toBeLessThan(0.8);
      await sink.close();
    });
  });
};
