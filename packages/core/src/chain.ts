// How the lines of a session hang together, and how anybody checks that none was changed, taken out or put elsewhere. Lines are
// numbered 1, 2, 3, … and come in runs, which lie in one piece in one file. A run's first line says whose it is and, as `chain`, the
// hash of the run before (the first run: ""); a run's hash is the SHA-256 of its lines as they are, newlines included, and so
// covers all that came before. What shows that lines are missing at the end is a head kept elsewhere (seal.ts), always of a run's end.
import * as z from "zod";
import type { Head } from "./ports.ts";

/** What the chain needs of a line; everything else is what was said. Lines of before ADR 0023 each say all of it. */
const LineHead = z.object({
  session: z.string(),
  chain: z.string().regex(/^(?:[0-9a-f]{64})?$/),
  seq: z.number().int().min(1),
  /** As a date can have it. */
  at: z.number().int().min(0).max(8.64e15),
});
export type LineHead = z.infer<typeof LineHead>;
const Following = LineHead.pick({ seq: true, at: true });

/**
 * Whose line this is, by its own word or by that of the line before it in its file, whose number it then follows. Undefined when it
 * is no line, or nobody's.
 */
export const headOf = (said: unknown, before: LineHead | undefined): LineHead | undefined => {
  if (typeof said !== "object" || said === null) return undefined;
  if ("session" in said || "chain" in said) return LineHead.safeParse(said).data;
  const { data } = Following.safeParse(said);
  return data && before && data.seq === before.seq + 1 ? { ...before, ...data } : undefined;
};

export type ChainLine = Pick<LineHead, "seq" | "chain"> & {
  /** The line as it stands, its newline included. */
  readonly bytes: Uint8Array;
};
/** SHA-256 of these bytes after one another, as 64 lower-case hex digits. */
export type HashAll = (pieces: readonly Uint8Array[]) => string;

export interface Chain extends Head {
  /** What is wrong, the first thing found, when the lines are not what was written. */
  readonly broken?: string;
  /** The heads there were on the way, by the number of the last line. */
  readonly ends: ReadonlyMap<number, string>;
}

/** Follows the lines of one session, in the order of their numbers, as far as they are what was written. */
export const followChain = (lines: readonly ChainLine[], hashAll: HashAll): Chain => {
  const ends = new Map<number, string>();
  let [head, seq, at] = ["", 0, 0];
  const stop = (broken: string): Chain => ({ seq, head, ends, broken });
  while (at < lines.length) {
    const { chain = "" } = lines[at] ?? {};
    const run: Uint8Array[] = [];
    for (let line = lines[at]; line?.chain === chain; line = lines[++at]) {
      const wanted = seq + run.length + 1;
      if (line.seq !== wanted)
        return stop(line.seq < wanted ? `line ${line.seq} is there twice` : `line ${wanted} is missing`);
      run.push(line.bytes);
    }
    if (chain !== head)
      return stop(
        seq === 0
          ? "its first lines are not the first"
          : `lines up to ${seq} are not those that line ${seq + 1} follows`,
      );
    seq += run.length;
    head = hashAll(run);
    ends.set(seq, head);
  }
  return { seq, head, ends };
};

/** Are these the lines that a head speaks of, all of them? Why not, or undefined. There may be more lines than that. */
export const objectTo = (chain: Chain, said: Head): string | undefined => {
  if (chain.seq < said.seq) return chain.broken ?? `lines ${chain.seq + 1} to ${said.seq} are missing`;
  if (chain.ends.get(said.seq) !== said.head) return `lines up to ${said.seq} are not those of its head`;
  return undefined;
};
