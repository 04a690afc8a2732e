// Asking a cluster what it looks like: one question at a time, no more often than it can have changed, on a connection that is free or
// on one of its own, of any node that the cluster has named. One that keeps silent is not waited for: the next is asked beside it.
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, toFailure } from "@sallyport/core/failure";
import type { Peer } from "../protocol.ts";
import type { Node } from "./lane.ts";
import { command } from "./message.ts";
import { openReplies } from "./reply.ts";
import { findMyself, type Member, parseNodes, parseSlots, type Topology } from "./topology.ts";

export interface Survey {
  /** What it looks like now. `fresh`: what is known already is known to be wrong. @throws Failure `upstream_…` when no node says */
  look(fresh: boolean): Promise<Topology>;
}

export interface SurveyOptions {
  /** Those to ask, the likeliest first. */
  peers(): readonly Peer[];
  enter(peer: Peer): Promise<Node>;
}

// between two questions
const restMs = 1_000;
const freshMs = 100;
const patienceMs = 5_000;
/** The next node is asked after so long. */
const nextMs = 500;
/** Nobody is asked any more after so long. */
const lookMs = 10_000;

const questions = [command("CLUSTER", "SLOTS"), command("CLUSTER", "NODES")] as const;

/** The answers to `commands`, in order. @throws Failure */
const converse = ({ socket, peer }: Node, commands: readonly Buffer[]): Promise<readonly Buffer[]> =>
  new Promise((resolve, reject) => {
    const replies = openReplies();
    const answers: Buffer[] = [];
    let pieces: Buffer[] = [];
    const done = (failure?: Failure): void => {
      clearTimeout(timer);
      socket.pause();
      socket.off("data", onData).off("close", onClose).off("end", onClose);
      if (failure) reject(failure);
      else resolve(answers);
    };
    const where = `${peer.address}:${peer.port}`;
    const onClose = (): void => done(new Failure("upstream_unreachable", `${where} closed the connection`));
    const timer = setTimeout(() => done(new Failure("upstream_unreachable", `${where} does not answer`)), patienceMs);
    const onData = (chunk: Buffer): void => {
      try {
        for (let at = 0; at < chunk.length; ) {
          const end = replies.next(chunk, at);
          pieces.push(chunk.subarray(at, end < 0 ? chunk.length : end));
          if (end < 0) return;
          at = end;
          answers.push(Buffer.concat(pieces));
          pieces = [];
        }
        if (answers.length >= commands.length) done();
      } catch (thrown) {
        done(toFailure(thrown));
      }
    };
    socket.on("data", onData).once("close", onClose).once("end", onClose);
    if (socket.destroyed) onClose();
    else socket.write(Buffer.concat(commands));
    socket.resume();
  });

/** One node's view, and which of the primaries it is. @throws Failure */
export const lookFrom = async (node: Node): Promise<{ topology: Topology; myself: Member | undefined }> => {
  const [slots, nodes] = await converse(node, questions);
  const topology = parseNodes(nodes, parseSlots(slots ?? Buffer.alloc(0), node.peer));
  return { topology, myself: findMyself(nodes, topology) };
};

export const openSurvey = ({ peers, enter }: SurveyOptions, now: () => number): Survey => {
  let last: { at: number; topology: Promise<Topology> } | undefined;
  let running: Promise<Topology> | undefined;

  const askOne = async (peer: Peer): Promise<Topology> => {
    const node = await enter(peer);
    try {
      return (await lookFrom(node)).topology;
    } finally {
      node.socket.destroy();
    }
  };
  const ask = async (): Promise<Topology> => {
    const begun = now();
    const asked: Promise<Topology>[] = [];
    let failed: unknown;
    /** Undefined when nobody has said it after `ms`, or everybody has failed. */
    const first = (ms: number): Promise<Topology | undefined> => {
      const silence = new AbortController();
      const nobody = (): undefined => undefined;
      return Promise.race([
        Promise.any(asked).catch(nobody),
        sleep(ms, undefined, { signal: silence.signal }).catch(nobody),
      ]).finally(() => silence.abort());
    };
    for (const peer of peers()) {
      asked.push(
        askOne(peer).catch((thrown: unknown) => {
          failed = thrown;
          throw thrown;
        }),
      );
      const seen = await first(nextMs);
      if (seen) return seen;
      if (now() - begun > lookMs) break;
    }
    const seen = asked.length > 0 && (await first(Math.max(1, lookMs - (now() - begun))));
    if (seen) return seen;
    throw failed ?? new Failure("upstream_unreachable", "no node of the cluster says what it looks like");
  };

  return {
    look: (fresh) => {
      if (running) return running;
      if (last && now() - last.at < (fresh ? freshMs : restMs)) return last.topology;
      running = ask().finally(() => {
        running = undefined;
      });
      const topology = running;
      topology.catch(() => {});
      last = { at: now(), topology };
      return topology;
    },
  };
};
