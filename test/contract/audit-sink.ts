// What every AuditSink must do: keep all it accepted, in order, chained per session, and say when it can't.
import { createHash } from "node:crypto";
import type { AuditRecord, AuditSink } from "@sallyport/core/ports";
import { describe, expect, it } from "vitest";

export interface SinkUnderTest {
  readonly sink: AuditSink;
  /** Every line written so far, as text, in order. */
  lines(): Promise<readonly string[]>;
}

export const makeRecord = (session: string, seq: number, line: Record<string, unknown> = {}): AuditRecord => ({
  session,
  seq,
  at: 1_000 + seq,
  size: 100,
  line: () => line,
});

/** Checks one session's chain the way anybody could: from the lines alone. Answers its head. */
export const checkChain = (lines: readonly string[], session: string): { head: string; seq: number } => {
  let head = "";
  let seq = 0;
  for (const line of lines.filter((one) => JSON.parse(one).session === session)) {
    const { hash } = JSON.parse(line);
    const body = line.replace(`,"hash":"${hash}"}`, "}");
    expect(createHash("sha256").update(head).update(body).digest("hex")).toBe(hash);
    expect(JSON.parse(line).seq).toBe(seq + 1);
    seq += 1;
    head = hash;
  }
  return { head, seq };
};

export const auditSinkContract = (name: string, open: () => Promise<SinkUnderTest>): void => {
  describe(`${name} keeps the AuditSink contract`, () => {
    it("has written everything that was accepted once settled", async () => {
      const { sink, lines } = await open();
      for (let seq = 1; seq <= 100; seq += 1)
        expect(sink.append(makeRecord("a", seq, { text: `q${seq}` }))).toBe("accepted");
      await sink.settled();
      const written = (await lines()).map((line) => JSON.parse(line));
      expect(written.map(({ text }) => text)).toEqual(Array.from({ length: 100 }, (_, at) => `q${at + 1}`));
      expect(written[0]).toMatchObject({ session: "a", seq: 1, at: 1001 });
      await sink.close();
    });

    it("chains each session by itself and seals it with its last hash", async () => {
      const { sink, lines } = await open();
      for (let seq = 1; seq <= 5; seq += 1) {
        sink.append(makeRecord("a", seq, { text: seq }));
        sink.append(makeRecord("b", seq, { text: -seq }));
      }
      await sink.settled();
      const written = await lines();
      expect(sink.seal("a")).toEqual(checkChain(written, "a"));
      expect(sink.seal("b")).toEqual(checkChain(written, "b"));
      expect(sink.seal("a")).toBeUndefined();
      await sink.close();
    });

    it("S-41 keeps a line one line, whatever is in it, and its own members its own", async () => {
      const { sink, lines } = await open();
      const text = 'a\r\nb\u2028\u001b[31m"}\u0000';
      sink.append(makeRecord("a", 1, { text, session: "other", seq: 99, at: 1, hash: "forged" }));
      await sink.settled();
      const written = await lines();
      expect(written).toHaveLength(1);
      expect(JSON.parse(written[0] ?? "")).toMatchObject({ session: "a", seq: 1, at: 1001, text });
      await sink.close();
    });

    it("takes nothing after it was closed", async () => {
      const { sink } = await open();
      await sink.close();
      expect(sink.append(makeRecord("a", 1))).toBe("full");
    });

    it("says how full it is between 0 and 1", async () => {
      const { sink } = await open();
      expect(sink.fill()).toBe(0);
      sink.append(makeRecord("a", 1));
      expect(sink.fill()).toBeGreaterThanOrEqual(0);
      expect(sink.fill()).toBeLessThan(0.8);
      await sink.close();
    });
  });
};
