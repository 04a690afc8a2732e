// The audit in memory: the same chain, no waiting, and a door that a test can shut.
import { createHash } from "node:crypto";
import { Failure } from "@sallyport/core/failure";
import type { AuditSink } from "@sallyport/core/ports";

export interface MemorySink extends AuditSink {
  readonly records: readonly Readonly<Record<string, unknown>>[];
  /** How full it says it is; at 1 it takes nothing more. */
  fillTo(level: number): void;
  /** From now on settled() rejects. */
  breakDisk(): void;
}

export const openMemorySink = (): MemorySink => {
  const records: Readonly<Record<string, unknown>>[] = [];
  const heads = new Map<string, { head: string; seq: number }>();
  let level = 0;
  let broken = false;
  let closed = false;
  return {
    records,
    fillTo: (next) => {
      level = next;
    },
    breakDisk: () => {
      broken = true;
    },
    append: (record) => {
      if (level >= 1 || closed) return "full";
      const { session, seq, at } = record;
      const own = { session, seq, at };
      const body = JSON.stringify({ ...own, ...record.line(), ...own });
      const head = createHash("sha256")
        .update(heads.get(session)?.head ?? "")
        .update(body)
        .digest("hex");
      heads.set(session, { head, seq });
      records.push({ ...JSON.parse(body), hash: head });
      return "accepted";
    },
    settled: async () => {
      if (broken) throw new Failure("audit_full", "the disk is broken");
    },
    fill: () => level,
    seal: (session) => {
      const end = heads.get(session);
      heads.delete(session);
      return end;
    },
    close: async () => {
      closed = true;
    },
  };
};
