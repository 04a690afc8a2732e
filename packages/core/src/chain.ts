// How the lines of a session hang together, and how anybody checks that none was changed, taken out or put elsewhere. Lines are
// numbered 1, 2, 3, … and come in runs. Every line of a run carries as `chain` the hash of the run before (the first run: ""), and
// a run's hash is the SHA-256 of its lines as they are, newlines included: a run's hash therefore covers all that came before.
import * as z from "zod";
import type { Head } from "./ports.ts";

/** What the chain needs of a line; everything else is what was said. */
export const LineHead = z.object({ session: z.string(), chain: z.string(), seq: z.number().int().min(1) });

export interface ChainLine {
  readonly seq: number;
  readonly chain: string;
  /** The line as it stands, its newline included. */
  readonly bytes: Uint8Array;
}
/** SHA-256 of these bytes after one another, as 64 lower-case hex digits. */
export type HashAll = (pieces: readonly Uint8Array[]) => string;

export interface Chain extends Head {
  /** What is wrong, the first thing found, when the lines are not what was written. */
  readonly broken?: string;
}

/** Follows the lines of one session, given in the order of their numbers. Answers how far they are proven to be whole. */
export const followChain = (lines: readonly ChainLine[], hashAll: HashAll): Chain => {
  let [head, seq, at] = ["", 0, 0];
  while (at < lines.length) {
    const chain = lines[at]?.chain ?? "";
    const run: Uint8Array[] = [];
    let next = seq;
    for (let line = lines[at]; line && line.chain === chain; line = lines[++at]) {
      if (line.seq !== next + 1)
        return {
          seq,
          head,
          broken: line.seq <= next ? `line ${line.seq} is there twice` : `line ${next + 1} is missing`,
        };
      next = line.seq;
      run.push(line.bytes);
    }
    if (chain !== head)
      return {
        seq,
        head,
        broken:
          seq === 0 ? "the first lines are not the first" : `lines up to ${seq} are not what line ${seq + 1} follows`,
      };
    seq = next;
    head = hashAll(run);
  }
  return { seq, head };
};

/** Are the lines those that a head speaks of? Undefined when they are, else why not. A head may be older than the last lines. */
export const compareHead = (chain: Chain, heads: ReadonlyMap<number, string>, said: Head): string | undefined => {
  if (chain.broken !== undefined && chain.seq < said.seq) return chain.broken;
  if (chain.seq < said.seq) return `lines ${chain.seq + 1} to ${said.seq} are missing`;
  return heads.get(said.seq) === said.head ? undefined : `lines up to ${said.seq} are not those of the head`;
};
