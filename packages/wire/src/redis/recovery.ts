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
import { parseRedirect, type Topology, textOfPeer } from "./topology.ts";

const redirect = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/;
export const isRedirect = (line: string): boolean => redirect.test(line);

export interface Found {
  readonly branch: Branch;
  readonly asking: boolean;
}

export interface Recovery {
  /** An error that says to ask elsewhere; false when it is the answer. */
  failed(ask: Ask, line: string, by: Peer): boolean;
  /** Asks that never reached a node. */
  unsent(asks: readonly Ask[]): void;
  /** Asks whose answers were lost with the connection. */
  forsake(asks: readonly Ask[], failure: Failure): void;
  /** In its turn behind others that are asked again. */
  later(ask: Ask, job: () => Promise<void>): void;
  /** Where to ask again, after what a node said. @throws Failure */
  find(line: string, by: Peer | undefined, slot: number, tries: number): Promise<Found>;
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
/** How long a slot counts as on its way after it was last seen so. */
const unsettledMs = 5_000;

const asking = command("ASKING");
const restless = errorLine(
  "ERR the cluster's slots are being moved and no node takes this command; it was not carried out: try again",
);
const unreached = errorLine("ERR a node of the cluster can't be reached; try again");
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
  const jobs: (() => Promise<void>)[] = [];
  const restlessUntil = new Map<number, number>();
  let working = false;

  /** Answers an ask that nobody is asked any more. */
  const conclude = (ask: Ask, words: Buffer): void => {
    const said = ask.whole ? ask.whole(words, ask) : words;
    if (said) cluster.order.take(ask, said);
    ask.replies = 0;
    cluster.order.end(ask);
  };
  const work = async (): Promise<void> => {
    if (working) return;
    working = true;
    try {
      for (let job = jobs.shift(); job; job = jobs.shift()) await job();
    } catch (thrown) {
      options.broken(toFailure(thrown));
    }
    working = false;
    options.done();
  };

  const later = (ask: Ask, job: () => Promise<void>): void => {
    cluster.settle();
    jobs.push(async () => {
      if (++ask.tries > mostTries) conclude(ask, restless);
      else await job();
      options.done();
    });
    void work();
  };

  const pause = (tries: number): Promise<void> => sleep(Math.min(longestMs, shortestMs * 2 ** Math.min(tries, 8)));

  /** Only what the cluster itself lists is dialled. @throws Failure */
  const listed = async (peer: Peer): Promise<Branch> => {
    const name = textOfPeer(peer);
    if (!cluster.topology().named.has(name) && !(await look(true)).named.has(name)) throw foreign(peer);
    return options.branchAt(peer);
  };

  const find = async (line: string, by: Peer | undefined, slot: number, tries: number): Promise<Found> => {
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
    later(ask, async () => {
      const found = await find(line, by, ask.slot, ask.tries);
      if (found.asking) cluster.whisper(found.branch, asking);
      cluster.send(found.branch, ask, found.asking);
    });

  return {
    failed: (ask, line, by) => {
      const words = ask.failed?.(line, by);
      if (words === "taken") return true;
      if (words) {
        conclude(ask, words);
        return true;
      }
      if (!isRedirect(line)) return false;
      again(ask, line, by);
      return true;
    },
    unsent: (asks) => {
      for (const ask of asks) {
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
    find,
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
