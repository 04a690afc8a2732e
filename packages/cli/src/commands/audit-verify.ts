// sally audit verify: are these the records that were written, all of them? From the files alone, against what the table says of
// how far they go, and against the key that signed that.
import { createHash, type KeyObject } from "node:crypto";
import { type Chain, followChain, objectTo } from "@sallyport/core/chain";
import { Failure } from "@sallyport/core/failure";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Format, formatOption, listing, printAs } from "../format.ts";
import { isSigned, readKey, readSessions, type SessionEnd } from "../head.ts";
import { printTable } from "../table.ts";
import { note, printable, withProgress } from "../terminal.ts";
import { readTrail, type TrailLine } from "../trail.ts";

interface Options {
  readonly session?: string;
  readonly sessions?: string;
  readonly key?: string;
  readonly format: Format;
}

interface Verdict {
  readonly session: string;
  readonly lines: number;
  readonly from?: string;
  readonly to?: string;
  /** Proven whole up to this line. */
  readonly whole: number;
  /** What the table says of it. */
  readonly state?: SessionEnd["state"];
  /** Told by the table, and signed, up to this line; absent when it is not known. */
  readonly told?: number;
  readonly signed?: number;
  readonly problem?: string;
}

/** What a session is judged by, beside its lines. */
interface Evidence {
  readonly end: SessionEnd | undefined;
  readonly key: KeyObject | undefined;
  /** When the last of all lines was said. */
  readonly newest: number;
}

/** A proxy tells every ten minutes how far its living sessions are. */
const toldWithin = 1_200_000;

const hashAll = (pieces: readonly Uint8Array[]): string => {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
};

/** What is wrong with the lines, seen with what the table says; the first thing found. */
const objection = (
  id: string,
  chain: Chain,
  lines: readonly TrailLine[],
  { end, key, newest }: Evidence,
): string | undefined => {
  if (chain.broken !== undefined) return chain.broken;
  if (end?.seq !== undefined && end.head !== undefined) {
    const missing = objectTo(chain, { seq: end.seq, head: end.head });
    if (missing !== undefined) return missing;
    if (end.state === "ended" && chain.seq > end.seq) return `it ended with line ${end.seq}, and there are more`;
    // a head signed on the way is no proof of the end: who put it in the end's place had to leave the end out
    if (end.state === "ended" && !lines.at(-1)?.ends)
      return `it ended, and line ${chain.seq}, the last, is not its end`;
  }
  if (!key || !end) return undefined;
  if (!end.sealed) {
    const young = end.state === "live" && newest - (lines[0]?.at ?? newest) < toldWithin;
    return young ? undefined : "nothing of it is signed";
  }
  return isSigned(id, end.sealed, key) ? objectTo(chain, end.sealed) : "its signature is not the key's";
};

const judge = (session: string, lines: readonly TrailLine[], evidence: Evidence): Verdict => {
  const { end, key } = evidence;
  const chain = followChain(lines, hashAll);
  const problem = objection(session, chain, lines, evidence);
  const at = (line: TrailLine | undefined): string | undefined => line && new Date(line.at).toISOString();
  const [from, to] = [at(lines[0]), at(lines.at(-1))];
  return {
    session,
    lines: lines.length,
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    whole: chain.seq,
    ...(end && { state: end.state }),
    ...(end?.seq !== undefined && { told: end.seq }),
    ...(key && end?.sealed && problem === undefined && { signed: end.sealed.seq }),
    ...(problem !== undefined && { problem }),
  };
};

const words = ({ problem, lines, state, told, signed }: Verdict): string => {
  if (problem !== undefined) return problem;
  const open = state === undefined || state === "ended" ? "" : `, ${state}`;
  if (signed !== undefined)
    return signed === lines ? `whole, signed${open}` : `whole, signed up to line ${signed}${open}`;
  if (told === undefined) return `whole as far as it goes${open}`;
  return told === lines ? `whole${open}` : `whole, told up to line ${told}${open}`;
};

const act = async (context: Context, paths: readonly string[], options: Options): Promise<void> => {
  const only = options.session;
  if (options.key !== undefined && options.sessions === undefined)
    throw new Failure("invalid", "a key alone proves nothing", {
      hint: "give --sessions too: the signatures are there",
    });
  const known = options.sessions === undefined ? undefined : await readSessions(options.sessions);
  const key = options.key === undefined ? undefined : await readKey(options.key);
  const { sessions, problems, files } = await withProgress(context, "reading the audit", readTrail(paths, only));
  const ids = new Set([...sessions.keys(), ...(known?.keys() ?? [])].filter((id) => only === undefined || id === only));
  let newest = 0;
  for (const lines of sessions.values()) for (const { at } of lines) newest = Math.max(newest, at);
  const verdicts = [...ids].sort().map((id) => judge(id, sessions.get(id) ?? [], { end: known?.get(id), key, newest }));
  printAs(context, options.format, { files, problems, sessions: verdicts }, () => {
    const rows = verdicts.map((one) => [one.session, String(one.lines), one.from ?? "", one.to ?? "", words(one)]);
    printTable(context, ["Session", "Lines", "From", "To", "Verdict"], rows);
    for (const problem of problems) note(context, `problem: ${printable(problem)}`);
  });
  const bad = verdicts.filter(({ problem }) => problem !== undefined).length;
  if (bad + problems.length > 0) {
    note(context, `the audit is not as it was written: ${bad} sessions, ${problems.length} files or lines`);
    context.exit(1);
    return;
  }
  if (ids.size === 0) throw new Failure("not_found", "no session is there to be verified");
  const unknown = known ? verdicts.filter(({ state }) => state === undefined).length : 0;
  if (unknown > 0)
    note(context, `${unknown} sessions are not among those of --sessions: what is missing at their ends does not show`);
  if (!known)
    note(context, "lines missing at a session's end show only with --sessions, changed ones there with --key");
};

export const auditVerify = (audit: Command, context: Context): void => {
  audit
    .command("verify")
    .description("check that records were not changed, taken out or put elsewhere")
    .argument("<path...>", "folders or files of the audit's lines")
    .option("--session <id>", "only this one")
    .option("--sessions <file>", "session items of the table, as aws dynamodb query prints them")
    .option("--key <file>", "the key that signs, as aws kms get-public-key prints it")
    .addOption(formatOption(listing))
    .action((paths: readonly string[], options: Options) => act(context, paths, options));
};
