// What a proxy does so that its client never hears of MOVED, ASK and TRYAGAIN: the command is asked again where the answer says, in the
// order in which the client asked, and what comes after it waits. A node that is gone is given up with its answers: what may have
// been carried out is never asked a second time.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "@sallyport/core/failure";
import type { Peer } from "../protocol.ts";
import type { Ask } from "./ask.ts";
import type { Branch } from "./branch.ts";
import type { Cluster } from "./cluster.ts";
import { command, errorAnswer, errorLine } from "./message.ts";
import { openQueue } from "./queue.ts";
import { parseRedirect, type Topology, textOfPeer } from "./topology.ts";

const redirect = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/;
export const isRedirect = (line: string): boolean => redirect.test(line);

export interface Found {
  readonly branch: Branch;
  readonly asking: boolean;
}

/** Why it is asked again: what a node said, or nothing where none was reached. */
export interface Said {
  readonly line: string;
  readonly by: Peer | undefined;
  readonly slot: number;
}

export interface Recovery {
  /** An error that says to ask elsewhere; false when it is the answer. */
  failed(ask: Ask, line: string, by: Peer): boolean;
  /** Asks that never reached a node. */
  unsent(asks: readonly Ask[], why: Failure, at: Peer): void;
  /** Asks whose answers were lost with the connection. */
  forsake(asks: readonly Ask[], failure: Failure): void;
  /** Asks again, in its turn: `go` where the answer says that its slot is, or is on its way to. */
  later(ask: Ask, after: Said, go: (found: Found) => void): void;
  /** Something was answered. */
  poke(): void;
  /** Is the slot known to be on its way? Its commands then go one by one. */
  unsettled(slot: number): boolean;
  /** Is anything on its way? */
  cautious(): boolean;
  /** Is anything about to be asked again? */
  busy(): boolean;
}

export interface RecoveryOptions {
  readonly cluster: Cluster;
  /** Looks again, and takes what it sees. @throws Failure */
  look(fresh: boolean): Promise<Topology>;
  branchAt(peer: Peer): Branch;
  /** The slot's owner has changed. False when that node owns nothing as far as is known. */
  moved(slot: number, peer: Peer): boolean;
  broken(failure: Failure): void;
  /** Something was asked again, or given up. */
  done(): void;
  readonly now: () => number;
}

const mostTries = 24;
const quickTries = 4;
const shortestMs = 20;
const longestMs = 500;
/** How long one is asked for again that can't be reached: about as long as a dial waits, and a quick one may be tried more often. */
const mostUnreachedMs = 8_000;
/** How long a slot counts as on its way after it was last seen so. */
const unsettledMs = 5_000;

/** Holds for the next command alone. */
export const asking = command("ASKING");
const restless = errorLine(
  "ERR the cluster's slots are being moved and no node takes this command; it was not carried out: try again",
);
/** What is answered where nothing was asked, as there was nobody to ask. */
export const unreached = errorLine("ERR a node of the cluster can't be reached; try again");
/** What is answered when nobody takes it. */
const givenUp = ({ line }: Said, missed: Missed | undefined): Buffer => {
  if (line.startsWith("CLUSTERDOWN")) return errorLine(line);
  if (!missed) return restless;
  const { why, at } = missed;
  const words = `a node of the cluster, ${textOfPeer(at)}, can't be reached, and the command was not carried out`;
  return errorAnswer(
    new Failure(why.code, `${words}: ${why.message}`, why.hint === undefined ? {} : { hint: why.hint }),
  );
};
/** Since when it can't be sent, and why. */
interface Missed {
  readonly since: number;
  readonly why: Failure;
  readonly at: Peer;
}
const foreign = (peer: Peer): Failure =>
  new Failure(
    "upstream_refused",
    `a node of the cluster sent us to ${textOfPeer(peer)}, which the cluster does not list`,
    {
      hint: "look at what stands at the endpoint; a node that is joining is listed after a moment",
    },
  );

export const openRecovery = (options: RecoveryOptions): Recovery => {
  const { cluster, now, look } = options;
  /** What is to be asked again, in the order in which the client asked. */
  const jobs: { readonly ask: Ask; readonly run: () => Promise<void> }[] = [];
  /** What was asked again and is not answered yet, all of one node: no other is asked meanwhile, or a later command could be there first. */
  const afoot = new Set<Ask>();
  /** The same in the order in which it was asked, with some that are no longer afoot. */
  const line = openQueue<Ask>();
  let askedOf: Branch | undefined;
  const missed = new WeakMap<Ask, Missed>();
  const restlessUntil = new Map<number, number>();
  let working = false;
  let waiting: (() => void) | undefined;

  /** Answers an ask that nobody is asked any more. */
  const conclude = (ask: Ask, words: Buffer): void => {
    afoot.delete(ask);
    const said = ask.whole ? ask.whole(words, ask) : words;
    if (said) cluster.order.take(ask, said);
    ask.replies = 0;
    cluster.order.end(ask);
  };
  const enqueue = (ask: Ask, run: () => Promise<void>): void => {
    afoot.delete(ask);
    jobs.splice(placeOf(ask), 0, { ask, run });
  };
  /** Where among the jobs its turn is: most often behind all. */
  const placeOf = ({ turn }: Ask): number => {
    let [from, to] = [0, jobs.length];
    for (let at = to - 1; from < to; at = (from + to) >> 1) {
      if ((jobs[at]?.ask.turn ?? 0) > turn) to = at;
      else from = at + 1;
    }
    return from;
  };
  const work = async (): Promise<void> => {
    if (working) return;
    working = true;
    try {
      for (let job = jobs.shift(); job; job = jobs.shift()) {
        await job.run();
        options.done();
      }
    } catch (thrown) {
      options.broken(toFailure(thrown));
    }
    working = false;
    options.done();
  };

  const isFree = (branch: Branch): boolean => afoot.size === 0 || askedOf === branch;
  const poke = (): void => {
    // one node answers in order
    for (let first = line.first(); first && (first.done || !afoot.has(first)); first = line.first()) {
      afoot.delete(first);
      line.shift();
    }
    waiting?.();
  };
  const becomeFree = async (branch: Branch): Promise<void> => {
    for (poke(); !isFree(branch) && !branch.gone(); ) {
      await new Promise<void>((resolve) => {
        waiting = resolve;
      });
      waiting = undefined;
    }
  };
  const later = (ask: Ask, after: Said, go: (found: Found) => void): void => {
    const run = async (): Promise<void> => {
      const unreachedFor = now() - (missed.get(ask)?.since ?? now());
      if (++ask.tries > mostTries || unreachedFor > mostUnreachedMs) {
        conclude(ask, givenUp(after, missed.get(ask)));
        return;
      }
      const found = await find(after, ask.tries);
      await becomeFree(found.branch);
      // one that is before it has failed again
      if ((jobs[0]?.ask.turn ?? ask.turn) < ask.turn || found.branch.gone()) {
        enqueue(ask, run);
        return;
      }
      ask.done = false;
      afoot.add(ask);
      line.push(ask);
      askedOf = found.branch;
      go(found);
    };
    cluster.settle();
    enqueue(ask, run);
    poke();
    void work();
  };

  const pause = (tries: number): Promise<void> => sleep(Math.min(longestMs, shortestMs * 2 ** Math.min(tries, 8)));

  /** Only what the cluster itself lists is dialled. @throws Failure */
  const listed = async (peer: Peer): Promise<Branch> => {
    const name = textOfPeer(peer);
    if (!cluster.topology().named.has(name) && !(await look(true)).named.has(name)) throw foreign(peer);
    return options.branchAt(peer);
  };

  const find = async ({ line, by, slot }: Said, tries: number): Promise<Found> => {
    const [, kind] = redirect.exec(line) ?? [];
    if (slot >= 0 && kind !== "CLUSTERDOWN") restlessUntil.set(slot, now() + unsettledMs);
    if (tries > quickTries || (kind !== "MOVED" && kind !== "ASK")) await pause(tries);
    if (by && (kind === "MOVED" || kind === "ASK")) {
      const said = parseRedirect(line, by);
      const branch = await listed(said.peer);
      if (kind === "ASK") return { branch, asking: true };
      if (!options.moved(said.slot, said.peer)) await look(true).catch(() => {});
      return { branch, asking: false };
    }
    if (kind !== "TRYAGAIN") await look(true).catch(() => {});
    return { branch: (slot >= 0 ? cluster.owner(slot) : undefined) ?? cluster.home(), asking: false };
  };

  const again = (ask: Ask, line: string, by: Peer | undefined): void =>
    later(ask, { line, by, slot: ask.slot }, (found) => cluster.send(found.branch, ask, found.asking));

  return {
    failed: (ask, line, by) => {
      const words = ask.failed?.(line, by);
      if (words === "taken") return true;
      if (words) {
        conclude(ask, words);
        return true;
      }
      // what has no keys and is ours alone is nowhere else: a node that says so would have us ask for ever more
      if (!isRedirect(line) || (!ask.due && ask.slot < 0)) return false;
      missed.delete(ask);
      again(ask, line, by);
      return true;
    },
    unsent: (asks, why, at) => {
      for (const ask of asks) {
        missed.set(ask, { since: missed.get(ask)?.since ?? now(), why, at });
        // a part of the whole is one node's, and no other has it
        if (ask.slot >= 0 || ask.due) again(ask, "", undefined);
        else conclude(ask, unreached);
      }
    },
    forsake: (asks, failure) => {
      const words = errorAnswer(failure);
      for (const ask of asks) conclude(ask, words);
    },
    later,
    poke,
    unsettled: (slot) => {
      const until = restlessUntil.get(slot);
      if (until === undefined) return false;
      if (until > now()) return true;
      restlessUntil.delete(slot);
      return false;
    },
    cautious: () => restlessUntil.size > 0,
    busy: () => working,
  };
};
