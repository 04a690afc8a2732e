// The sessions' strands: each session's records as lines, numbered and chained. A run is what a session said between two writings;
// its first line says whose it is and the hash of the run before, so one hash a run chains every line (core/chain.ts).
import { hash } from "node:crypto";
import type { Statement } from "@sallyport/core/audit";
import { json, makePen, type Sheet } from "@sallyport/core/line";
import type { Head } from "@sallyport/core/ports";

/** A run this long is closed, so that what one session says is in pieces that can be moved. */
const longestRun = 65_536;
const smallestSheet = 4_096;
const sheetsKept = 8_388_608;

const nothing = new Uint8Array(0);
/** Of every line but a run's first. */
const following = json('{"seq":');
const lineEnd = json("}\n");
const wordless = json(',"error":"this record could not be put into words"');

interface Strand {
  readonly session: string;
  seq: number;
  head: string;
  run: Sheet | undefined;
  /** How long its last run was. */
  size: number;
}

/** Bytes for runs, used again once they are written: a fresh sheet for each run of each session would be the collector's. */
const openSheets = () => {
  const free = new Map<number, Uint8Array[]>();
  let kept = 0;
  return {
    take: (size: number): Uint8Array => {
      const length = Math.max(smallestSheet, 2 ** Math.ceil(Math.log2(Math.min(size, 2 * longestRun))));
      const found = free.get(length)?.pop();
      if (!found) return new Uint8Array(length);
      kept -= length;
      return found;
    },
    give: (bytes: Uint8Array): void => {
      const { length } = bytes;
      if (kept + length > sheetsKept || length > 2 * longestRun || (length & (length - 1)) !== 0) return;
      const same = free.get(length);
      if (same) same.push(bytes);
      else free.set(length, [bytes]);
      kept += length;
    },
  };
};

/** The sessions' strands: words records into runs, and hands closed runs over. */
export const openStrands = () => {
  const pen = makePen();
  const sheets = openSheets();
  const strands = new Map<string, Strand>();
  let open: Strand[] = [];
  let ready: Uint8Array[] = [];

  const begin = (session: string): Strand => {
    const strand: Strand = { session, seq: 0, head: "", run: undefined, size: 0 };
    strands.set(session, strand);
    return strand;
  };
  const openRun = (strand: Strand, size: number): Sheet => {
    const opening = json(`{"session":${JSON.stringify(strand.session)},"chain":"${strand.head}","seq":`);
    const run = { bytes: sheets.take(Math.max(strand.size, opening.length + size)), at: opening.length };
    run.bytes.set(opening);
    strand.run = run;
    open.push(strand);
    return run;
  };
  const closeRun = (strand: Strand): void => {
    const { run } = strand;
    if (!run) return;
    const bytes = run.bytes.subarray(0, run.at);
    strand.head = hash("sha256", bytes);
    strand.size = run.at;
    strand.run = undefined;
    ready.push(bytes);
  };
  /** Where a line of about this size goes: a long one begins a run when there is no room for it, or sheets would grow and be lost. */
  const runFor = (strand: Strand, size: number): Sheet => {
    const { run } = strand;
    if (run && size > smallestSheet && run.at + size > run.bytes.length) closeRun(strand);
    return strand.run ?? openRun(strand, size);
  };
  const say = (statement: Statement): void => {
    const { part, last } = statement;
    const start = pen.mark();
    try {
      statement.say(pen);
      if (part !== undefined) pen.members({ part, last: last ?? false });
    } catch {
      // its number is not skipped
      pen.back(start);
      pen.fixed(wordless);
    }
  };
  const headOf = (session: string): Head | undefined => {
    const strand = strands.get(session);
    if (!strand) return undefined;
    closeRun(strand);
    return { seq: strand.seq, head: strand.head };
  };

  return {
    /** Answers how many bytes it took. */
    append: (session: string, at: number, statement: Statement): number => {
      const strand = strands.get(session) ?? begin(session);
      const { run: last } = strand;
      const run = runFor(strand, statement.size);
      const before = run === last ? run.at : 0;
      pen.take(run);
      if (before > 0) pen.fixed(following);
      strand.seq += 1;
      pen.number(nothing, strand.seq);
      pen.time(at);
      say(statement);
      pen.fixed(lineEnd);
      const took = run.at - before;
      if (run.at >= longestRun) closeRun(strand);
      return took;
    },
    /** Every run there is, in the order of their sessions' lines. */
    takeRuns: (): readonly Uint8Array[] => {
      for (const strand of open) closeRun(strand);
      open = [];
      const runs = ready;
      ready = [];
      return runs;
    },
    giveBack: (runs: readonly Uint8Array[]): void => {
      for (const run of runs) sheets.give(new Uint8Array(run.buffer));
    },
    head: headOf,
    seal: (session: string): Head | undefined => {
      const end = headOf(session);
      strands.delete(session);
      return end;
    },
  };
};
