// The spool: records are taken in at once, worded and chained when they are written (every 100 ms or 256 KiB, off the
// relay's path), and bounded in bytes. Nothing is dropped: what does not fit is answered `full`, and the session ends.
// A line is the record's JSON with its hash last: sha256 of the session's previous hash and the JSON without it.
import { hash } from "node:crypto";
import { Failure } from "@sallyport/core/failure";
import type { AuditRecord, AuditSink } from "@sallyport/core/ports";

/** Where lines end up. Written again after a failure, the same bytes must end up in the same place. */
export interface Lines {
  write(lines: Buffer): Promise<void>;
  /** What was written is on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}
export interface SpoolOptions {
  /** How many bytes of records may wait to be written. */
  readonly bytes: number;
  readonly everyMs?: number;
  readonly batch?: number;
}

/** What a waiting record costs beside its own bytes. */
const overhead = 256;
/** No new sessions from here on; also while writing fails, whatever room there is. */
export const fullFrom = 0.8;
const retryMs = 250;

/** These members are the record's own, whatever a line says. */
const isOurs = (said: Readonly<Record<string, unknown>>): boolean =>
  "session" in said || "seq" in said || "at" in said || "hash" in said;
const without = (said: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const { session: _session, seq: _seq, at: _at, hash: _hash, ...rest } = said;
  return rest;
};
const saidOf = (record: AuditRecord): string => {
  try {
    const said = record.line();
    return JSON.stringify(isOurs(said) ? without(said) : said);
  } catch {
    return '{"error":"this record could not be put into words"}';
  }
};

/** The line of a record and its hash. A record that can't be worded says so in its place: its number is not skipped. */
export const wordLine = (record: AuditRecord, previous: string): { line: string; hash: string } => {
  const { session, seq, at } = record;
  const said = saidOf(record);
  // written out rather than merged with what is said: there is one for every statement
  const opening = `{"session":${JSON.stringify(session)},"seq":${seq},"at":${at}`;
  const open = said === "{}" ? opening : `${opening},${said.slice(1, -1)}`;
  const digest = hash("sha256", `${previous}${open}}`, "hex");
  return { line: `${open},"hash":"${digest}"}\n`, hash: digest };
};

interface Batch {
  readonly bytes: Buffer;
  readonly cost: number;
  readonly count: number;
}
interface Waiter {
  resolve(): void;
  reject(failure: Failure): void;
}

export const openSpool = (lines: Lines, options: SpoolOptions): AuditSink => {
  const { bytes: limit, everyMs = 100, batch = 262_144 } = options;
  const heads = new Map<string, { head: string; seq: number }>();
  let pending: AuditRecord[] = [];
  /** Worded, not yet written: kept as they are for the next try, because the chain has moved on. */
  let stuck: Batch | undefined;
  let held = 0;
  let waiting: Waiter[] = [];
  let timer: NodeJS.Timeout | undefined;
  let soon: NodeJS.Immediate | undefined;
  let running: Promise<void> | undefined;
  let failing = false;
  let closed = false;

  const startOf = (session: string): { head: string; seq: number } => {
    const start = { head: "", seq: 0 };
    heads.set(session, start);
    return start;
  };
  const costOf = (record: AuditRecord): number => record.size + overhead;

  const word = (most: number): Batch => {
    let cost = 0;
    let count = 0;
    const worded: string[] = [];
    for (const record of pending.slice(0, most)) {
      const end = heads.get(record.session) ?? startOf(record.session);
      const { line, hash: head } = wordLine(record, end.head);
      end.head = head;
      end.seq = record.seq;
      worded.push(line);
      cost += costOf(record);
      count += 1;
      if (cost >= batch) break;
    }
    pending = pending.slice(count);
    return { bytes: Buffer.from(worded.join("")), cost, count };
  };

  const writeStuck = async (): Promise<void> => {
    if (!stuck) return;
    await lines.write(stuck.bytes);
    held -= stuck.cost;
    stuck = undefined;
  };
  /** What is there now; what comes meanwhile is the next run's, so that nobody waits for ever. */
  const writeAll = async (): Promise<void> => {
    await writeStuck();
    for (let left = pending.length; left > 0; ) {
      stuck = word(left);
      left -= stuck.count;
      await writeStuck();
    }
  };

  const flush = async (): Promise<void> => {
    // those who come while this write runs are served by the next one
    const served = waiting;
    waiting = [];
    try {
      await writeAll();
      // a disk that failed is believed again when it has proven itself
      if (served.length > 0 || failing) await lines.sync();
      failing = false;
      for (const waiter of served) waiter.resolve();
    } catch (cause) {
      failing = true;
      const failure = new Failure("audit_full", "the audit can't be written", { cause });
      for (const waiter of served) waiter.reject(failure);
    }
  };

  const run = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    soon = undefined;
    running ??= flush().finally(() => {
      running = undefined;
      if (closed) return;
      if (waiting.length > 0 && !failing) void run();
      else if (pending.length > 0 || stuck || waiting.length > 0 || failing) schedule(failing ? retryMs : everyMs);
    });
    return running;
  };
  const schedule = (ms: number): void => {
    timer ??= setTimeout(() => void run(), ms);
  };

  return {
    append: (record) => {
      const cost = costOf(record);
      if (closed || held + cost > limit) return "full";
      held += cost;
      pending.push(record);
      if (held < batch || failing) schedule(everyMs);
      else if (!soon && !running) soon = setImmediate(() => void run());
      return "accepted";
    },
    settled: () =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        void run();
      }),
    fill: () => Math.max(held / limit, failing ? fullFrom : 0),
    seal: (session) => {
      const end = heads.get(session);
      heads.delete(session);
      return end;
    },
    close: async () => {
      closed = true;
      await running;
      await run();
      for (const waiter of waiting) waiter.reject(new Failure("audit_full", "the audit was closed"));
      await lines.close();
    },
  };
};
