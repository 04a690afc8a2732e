// The spool: a record is worded into its session's run the moment it is taken in, and runs are written every 100 ms or 256 KiB,
// off the relay's path. Nothing is dropped: what does not fit is answered `full`, and the session ends.
import { Failure } from "@sallyport/core/failure";
import type { AuditSink, Grade } from "@sallyport/core/ports";
import { openStrands } from "./strand.ts";

/** Where runs end up, whole lines each. Written again after a failure, the same bytes must end up in the same place. */
export interface Lines {
  write(runs: readonly Uint8Array[]): Promise<void>;
  /** What was written is durable. */
  sync(): Promise<void>;
  /** Bytes that may still be written, and how full that makes it, for a place that is bounded. */
  room?(): number;
  fill?(): number;
  /** Since when the oldest of what was written waits to be durable. */
  waitingSince?(): number | undefined;
  /** It takes in what it can't make durable yet: a sync that fails is no reason to take in nothing more. */
  readonly keeps?: true;
  close(): Promise<void>;
}
export interface SpoolOptions {
  /** How many bytes of lines may wait to be written. */
  readonly bytes: number;
  readonly everyMs?: number;
  readonly batch?: number;
}

/** No new sessions from here on; also while writing fails, whatever room there is. */
export const fullFrom = 0.8;
const retryMs = 250;
/** What a record's line has beside what is said in it. */
const overhead = 192;

interface Waiter {
  resolve(): void;
  reject(failure: Failure): void;
}

export const openSpool = (lines: Lines, options: SpoolOptions): AuditSink => {
  const { bytes: limit, everyMs = 100, batch = 262_144 } = options;
  const strands = openStrands();
  /** Not yet written: kept as they are for the next try, because the chains have moved on. */
  let stuck: readonly Uint8Array[] = [];
  let held = 0;
  let waiting: Readonly<Record<Grade, Waiter[]>> = { spooled: [], durable: [] };
  let timer: NodeJS.Timeout | undefined;
  let soon: NodeJS.Immediate | undefined;
  let running: Promise<void> | undefined;
  let syncing: Promise<void> | undefined;
  let failing = false;
  let closed = false;

  const failed = (cause: unknown): Failure => new Failure("audit_full", "the audit can't be written", { cause });

  /** In batches, however much a disk that stood still has let pile up. */
  const writeStuck = async (): Promise<void> => {
    while (stuck.length > 0) {
      let [count, size] = [0, 0];
      for (; count < stuck.length && size < batch; count++) size += stuck[count]?.length ?? 0;
      const some = stuck.slice(0, count);
      await lines.write(some);
      held -= size;
      strands.giveBack(some);
      stuck = stuck.slice(count);
    }
  };
  /** What is there now; what comes meanwhile is the next run's, so that nobody waits for ever. */
  const writeAll = async (): Promise<void> => {
    await writeStuck();
    stuck = strands.takeRuns();
    await writeStuck();
  };

  const flush = async (): Promise<void> => {
    // those who come while this write runs are served by the next one
    const served = waiting.spooled;
    waiting = { ...waiting, spooled: [] };
    try {
      await writeAll();
      // a disk that failed is believed again when it has proven itself
      if (failing && !lines.keeps) await lines.sync();
      failing = false;
      for (const waiter of served) waiter.resolve();
    } catch (cause) {
      failing = true;
      for (const waiter of served) waiter.reject(failed(cause));
    }
  };

  const run = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    clearImmediate(soon);
    soon = undefined;
    running ??= flush().finally(() => {
      running = undefined;
      if (closed) return;
      if (!failing && (waiting.spooled.length > 0 || held >= batch)) void run();
      else if (held > 0 || failing) schedule(failing ? retryMs : everyMs);
    });
    return running;
  };
  const schedule = (ms: number): void => {
    timer ??= setTimeout(() => void run(), ms);
  };
  const wait = (grade: Grade): Promise<void> =>
    new Promise((resolve, reject) => void waiting[grade].push({ resolve, reject }));

  const spooled = (): Promise<void> => {
    const done = wait("spooled");
    void run();
    return done;
  };
  /** One sync for all who wait; those who come while it runs are served by the next. */
  const syncAll = async (): Promise<void> => {
    while (waiting.durable.length > 0) {
      const served = waiting.durable;
      waiting = { ...waiting, durable: [] };
      try {
        await spooled();
        await lines.sync();
        for (const waiter of served) waiter.resolve();
      } catch (cause) {
        if (!lines.keeps) {
          failing = true;
          schedule(retryMs);
        }
        for (const waiter of served) waiter.reject(cause instanceof Failure ? cause : failed(cause));
      }
    }
    syncing = undefined;
  };
  const durable = (): Promise<void> => {
    const done = wait("durable");
    syncing ??= syncAll();
    return done;
  };

  return {
    append: (session, at, statement) => {
      const needed = held + statement.size + overhead;
      if (closed || needed > limit || (lines.room && needed > lines.room())) return "full";
      held += strands.append(session, at, statement);
      if (held < batch || failing) timer ??= setTimeout(() => void run(), failing ? retryMs : everyMs);
      else if (!soon && !running) soon = setImmediate(() => void run());
      return "accepted";
    },
    settled: (grade = "durable") => (grade === "spooled" ? spooled() : durable()),
    waitingSince: () => lines.waitingSince?.(),
    fill: () => Math.min(1, Math.max(held / limit, lines.fill?.() ?? 0, failing ? fullFrom : 0)),
    head: strands.head,
    seal: strands.seal,
    close: async () => {
      closed = true;
      await running;
      await run();
      clearTimeout(timer);
      // it waits for no put any more than it must; whoever waits for one is told
      await lines.close();
      await syncing;
      for (const grade of ["spooled", "durable"] as const)
        for (const waiter of waiting[grade]) waiter.reject(new Failure("audit_full", "the audit was closed"));
    },
  };
};
