// The folder sink: the audit as JSON lines, one file per proxy and hour, readable by its owner only. It is where the
// laptop's audit goes; the spool in front of it makes the lines.
import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import type { AuditSink, Clock } from "@sallyport/core/ports";
import { type Lines, openSpool, type SpoolOptions } from "./audit.ts";

export interface FolderOptions extends SpoolOptions {
  readonly folder: string;
  /** The proxy's id: no two write the same file. */
  readonly proxy: string;
  readonly clock: Clock;
}

// what the system takes in one call (IOV_MAX)
const mostRuns = 1_000;
/** What is left of the runs behind so many bytes. */
const after = (runs: readonly Uint8Array[], bytes: number): readonly Uint8Array[] => {
  let skipped = 0;
  for (let at = 0; at < runs.length; at++) {
    const run = runs[at] ?? new Uint8Array(0);
    if (skipped + run.length > bytes) return [run.subarray(bytes - skipped), ...runs.slice(at + 1)];
    skipped += run.length;
  }
  return [];
};

/** `<proxy>-2026-11-21T10.jsonl` */
export const fileName = (proxy: string, at: number): string =>
  `${proxy}-${new Date(at).toISOString().slice(0, 13)}.jsonl`;

/** All of them from this place on; answers how many bytes. */
export const writeRuns = async (handle: FileHandle, runs: readonly Uint8Array[], at: number): Promise<number> => {
  let [left, done] = [runs, 0];
  while (left.length > 0) {
    const { bytesWritten } = await handle.writev(left.slice(0, mostRuns), at + done);
    done += bytesWritten;
    left = after(left, bytesWritten);
  }
  return done;
};

const openFolder = ({ folder, proxy, clock }: FolderOptions): Lines => {
  let current: { name: string; handle: FileHandle; end: number } | undefined;
  const openCurrent = async (name: string): Promise<{ name: string; handle: FileHandle; end: number }> => {
    const handle = await open(join(folder, name), constants.O_CREAT | constants.O_RDWR, 0o600);
    // a clock set back may bring an earlier file of ours again: go on at its end
    return { name, handle, end: (await handle.stat()).size };
  };
  const closeCurrent = async (): Promise<void> => {
    if (!current) return;
    // what a failed write left behind the end is written again, elsewhere
    await current.handle.truncate(current.end);
    await current.handle.datasync();
    await current.handle.close();
    current = undefined;
  };
  const fileNow = async (): Promise<{ name: string; handle: FileHandle; end: number }> => {
    const name = fileName(proxy, clock.now());
    if (current?.name === name) return current;
    await closeCurrent();
    current = await openCurrent(name);
    return current;
  };
  return {
    write: async (runs) => {
      const file = await fileNow();
      // at a given place, so that a write tried again overwrites what a failed one left
      file.end += await writeRuns(file.handle, runs, file.end);
    },
    sync: async () => {
      await current?.handle.datasync();
    },
    close: closeCurrent,
  };
};

/** @throws an Error when the folder can't be made */
export const openFolderSink = async (options: FolderOptions): Promise<AuditSink> => {
  await mkdir(options.folder, { recursive: true, mode: 0o700 });
  return openSpool(openFolder(options), options);
};
