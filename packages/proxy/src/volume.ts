// The spool volume: what is spooled lies here, in a bounded number of bytes, until it is durable. Runs go into a file; every 5 s
// or 5 MiB the file is closed and shipped as one segment of many sessions, and deleted when it is kept. While segments can't be
// shipped they stay; what an earlier process left on the same volume is shipped first.
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, readFile, rm, truncate, unlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "@sallyport/core/failure";
import type { AuditSink, Clock, Segments } from "@sallyport/core/ports";
import { type Lines, openSpool, type SpoolOptions } from "./audit.ts";
import { writeRuns } from "./folder.ts";
import { describeError, type Log } from "./log.ts";

export interface VolumeOptions {
  readonly folder: string;
  /** The proxy's id, so that no two write the same segment. */
  readonly proxy: string;
  readonly segments: Segments;
  readonly clock: Clock;
  readonly log: Log;
  /** How many bytes may lie here. */
  readonly volumeBytes: number;
  readonly shipEveryMs?: number;
  readonly segmentBytes?: number;
  /** The first and the longest pause between two tries, and how one waits. */
  readonly retryMs?: readonly [number, number];
  readonly wait?: (ms: number, wake: AbortSignal) => Promise<void>;
  /** How long a proxy that goes away tries to ship what is left. */
  readonly closeMs?: number;
}

interface Segment {
  /** Sorts by time. */
  readonly name: string;
  readonly size: number;
}
interface Queued extends Segment {
  /** Counts up as segments come. */
  readonly number: number;
}
interface Waiter {
  /** Resolved once every segment up to this number is shipped. */
  readonly upTo: number;
  resolve(): void;
  reject(failure: Failure): void;
}

const suffix = ".jsonl";
const sleepUnless = async (ms: number, wake: AbortSignal): Promise<void> => {
  await sleep(ms, undefined, { signal: wake }).catch(() => {});
};

/** When a segment was begun, by its name. */
const timeOf = (name: string): number => {
  const [day = "", time = ""] = name.slice(0, 24).split("T");
  return Date.parse(`${day}T${time.replaceAll("-", ":")}`);
};

/** What an earlier process left, oldest first. A line that it was killed in the middle of is taken off. */
const leftovers = async (folder: string): Promise<readonly Segment[]> => {
  const found: Segment[] = [];
  for (const file of (await readdir(folder)).filter((name) => name.endsWith(suffix)).sort()) {
    const path = join(folder, file);
    const bytes = await readFile(path);
    const size = bytes.lastIndexOf(0x0a) + 1;
    if (size < bytes.length) await truncate(path, size);
    if (size === 0) await unlink(path);
    else found.push({ name: file.slice(0, -suffix.length), size });
  }
  return found;
};

/** Ships segments in their order, one at a time, for as long as it takes. */
const openShipping = (options: VolumeOptions, left: readonly Segment[]) => {
  const { folder, segments, log, retryMs: [first, longest] = [250, 10_000], wait = sleepUnless } = options;
  const queue: Queued[] = left.map((segment, number) => ({ ...segment, number }));
  let used = left.reduce((sum, { size }) => sum + size, 0);
  let count = left.length;
  let waiters: Waiter[] = [];
  let wake = new AbortController();
  let running: Promise<void> | undefined;
  let failing = false;
  let stopped = false;

  const rejectAll = (cause?: unknown): void => {
    const failure = new Failure("audit_full", "the audit can't be made durable", { cause });
    for (const waiter of waiters) waiter.reject(failure);
    waiters = [];
  };
  /** A segment that can't be read holds up no other; one that is gone is told of, and waited for no more. */
  const read = async (segment: Queued, path: string): Promise<Buffer> => {
    try {
      return await readFile(path);
    } catch (thrown) {
      queue.splice(queue.indexOf(segment), 1);
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") queue.push(segment);
      else {
        used -= segment.size;
        log.error("audit is gone from the volume", { segment: segment.name, bytes: segment.size });
      }
      throw thrown;
    }
  };
  const shipOne = async (segment: Queued): Promise<void> => {
    const path = join(folder, `${segment.name}${suffix}`);
    await segments.put(segment.name, await read(segment, path));
    // it is where it belongs; a file that stays is shipped once more by the next process, to no harm
    await rm(path, { force: true }).catch((thrown: unknown) => log.warn("a segment stays", describeError(thrown)));
    queue.splice(queue.indexOf(segment), 1);
    used -= segment.size;
    if (failing) log.info("the audit is shipped again", { waiting: queue.length, bytes: used });
    failing = false;
  };
  const isShipped = (upTo: number): boolean => queue.every(({ number }) => number > upTo);
  const ship = async (): Promise<void> => {
    let pause = first;
    for (let next = queue[0]; next && !stopped; next = queue[0])
      try {
        await shipOne(next);
        pause = first;
        for (const waiter of waiters) if (isShipped(waiter.upTo)) waiter.resolve();
        waiters = waiters.filter(({ upTo }) => !isShipped(upTo));
      } catch (cause) {
        if (!failing)
          log.error("the audit can't be shipped", { ...describeError(cause), waiting: queue.length, bytes: used });
        failing = true;
        rejectAll(cause);
        wake = new AbortController();
        if (stopped) break;
        await wait(pause, wake.signal);
        pause = Math.min(longest, 2 * pause);
      }
    running = undefined;
  };
  const start = (): void => {
    if (queue.length > 0 && !stopped) running ??= ship();
  };
  start();

  return {
    add: (segment: Segment): void => {
      queue.push({ ...segment, number: count++ });
      used += segment.size;
      start();
    },
    /** Everything added up to now. */
    settled: (): Promise<void> =>
      new Promise((resolve, reject) => {
        if (queue.length === 0) {
          resolve();
          return;
        }
        waiters.push({ upTo: count - 1, resolve, reject });
        // whoever waits does not wait for the pause
        wake.abort();
        if (stopped) rejectAll();
        else start();
      }),
    idle: async (): Promise<void> => running,
    stop: (): void => {
      stopped = true;
      wake.abort();
      rejectAll();
    },
    used: () => used,
    count: () => queue.length,
    oldest: () => queue[0]?.name,
  };
};

/** @throws an Error when the folder can't be made or read */
export const openVolume = async (options: VolumeOptions): Promise<Lines> => {
  const { folder, proxy, clock, log, volumeBytes } = options;
  const { shipEveryMs = 5_000, segmentBytes = 5 * 1_048_576, closeMs = 15_000 } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const left = await leftovers(folder);
  if (left.length > 0) log.info("an earlier process left audit to ship", { segments: left.length });
  const shipping = openShipping(options, left);
  let current: { readonly name: string; readonly handle: FileHandle; end: number } | undefined;
  let count = 0;
  let timer: NodeJS.Timeout | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** One after the other: a file is not closed while it is written. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = turn.then(work, work);
    turn = done;
    return done;
  };
  const openFile = async () => {
    const at = new Date(clock.now()).toISOString().replaceAll(":", "-");
    const name = `${at}_${proxy}_${String(++count).padStart(6, "0")}`;
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY;
    return { name, handle: await open(join(folder, `${name}${suffix}`), flags, 0o600), end: 0 };
  };
  const closeLater = (): void => {
    timer ??= setTimeout(() => {
      inTurn(close).catch((thrown: unknown) => {
        log.warn("a segment can't be closed", describeError(thrown));
        closeLater();
      });
    }, shipEveryMs);
  };
  const close = async (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    if (!current || current.end === 0) return;
    const { name, handle, end } = current;
    // what a failed write left behind the end is written again, into the next
    await handle.truncate(end);
    current = undefined;
    shipping.add({ name, size: end });
    await handle.close();
  };
  const write = async (runs: readonly Uint8Array[]): Promise<void> => {
    current ??= await openFile();
    // at a given place, so that a write tried again overwrites what a failed one left
    current.end += await writeRuns(current.handle, runs, current.end);
    closeLater();
    if (current.end >= segmentBytes) await close();
  };
  const used = (): number => shipping.used() + (current?.end ?? 0);

  return {
    keeps: true,
    write: (runs) => inTurn(() => write(runs)),
    sync: async () => {
      await inTurn(close);
      await shipping.settled();
    },
    room: () => volumeBytes - used(),
    fill: () => used() / volumeBytes,
    waitingSince: () => {
      const oldest = shipping.oldest() ?? current?.name;
      return oldest === undefined ? undefined : timeOf(oldest);
    },
    close: async () => {
      await inTurn(close).catch((thrown: unknown) =>
        log.error("the last segment can't be closed", describeError(thrown)),
      );
      const late = new AbortController();
      const timeUp = sleepUnless(closeMs, late.signal);
      await Promise.race([shipping.settled().catch(() => shipping.idle()), timeUp]);
      late.abort();
      shipping.stop();
      if (shipping.count() > 0) log.error("audit stays on the volume", { segments: shipping.count(), bytes: used() });
    },
  };
};

/** The spool in front of the volume. @throws an Error when the folder can't be made or read */
export const openVolumeSink = async (options: VolumeOptions & SpoolOptions): Promise<AuditSink> =>
  openSpool(await openVolume(options), options);
