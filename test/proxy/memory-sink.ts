// The audit in memory: the same chain with a run for each line, no waiting, and a door that a test can shut.
import { hash } from "node:crypto";
import { Failure } from "@sallyport/core/failure";
import { json, makePen } from "@sallyport/core/line";
import type { AuditSink, Head } from "@sallyport/core/ports";

export interface MemorySink extends AuditSink {
  /** The lines as they are, each with its newline. */
  readonly lines: readonly string[];
  /** What they say, each with the head that the session then has as `hash`. */
  readonly records: readonly Readonly<Record<string, unknown>>[];
  /** How full it says it is; at 1 it takes nothing more. */
  fillTo(level: number): void;
  /** From now on settled() rejects. */
  breakDisk(): void;
}

const end = json("}\n");

export const openMemorySink = (): MemorySink => {
  const pen = makePen();
  const lines: string[] = [];
  const records: Readonly<Record<string, unknown>>[] = [];
  const heads = new Map<string, Head>();
  let level = 0;
  let broken = false;
  let closed = false;
  return {
    lines,
    records,
    fillTo: (next) => {
      level = next;
    },
    breakDisk: () => {
      broken = true;
    },
    append: (session, at, statement) => {
      if (level >= 1 || closed) return "full";
      const { head: chain, seq } = heads.get(session) ?? { head: "", seq: 0 };
      const sheet = { bytes: new Uint8Array(1024), at: 0 };
      pen.take(sheet);
      pen.fixed(json(`{"session":${JSON.stringify(session)},"chain":"${chain}","seq":${seq + 1}`));
      pen.time(at);
      statement.say(pen);
      if (statement.part !== undefined) pen.members({ part: statement.part, last: statement.last ?? false });
      pen.fixed(end);
      const line = Buffer.from(sheet.bytes.subarray(0, sheet.at)).toString();
      const head = hash("sha256", line);
      heads.set(session, { head, seq: seq + 1 });
      lines.push(line);
      records.push({ ...JSON.parse(line), hash: head });
      return "accepted";
    },
    settled: async () => {
      if (broken) throw new Failure("audit_full", "the disk is broken");
    },
    fill: () => level,
    head: (session) => heads.get(session),
    seal: (session) => {
      const last = heads.get(session);
      heads.delete(session);
      return last;
    },
    close: async () => {
      closed = true;
    },
  };
};
