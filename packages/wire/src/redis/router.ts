// A cluster as one lane: RESP in, RESP out, as one node that owns every slot would take it and word it. Each command goes to the node
// that owns its keys as the bytes that came in, a run of them for one node in one write; answers leave in the order in which the
// client asked. Nodes are dialled when a key first names them.
import { Duplex } from "node:stream";
import type { Failure } from "@sallyport/core/failure";
import { toFailure } from "@sallyport/core/failure";
import { answered, newAsk, openOrder } from "./ask.ts";
import type { Branch, BranchHooks } from "./branch.ts";
import type { Cluster } from "./cluster.ts";
import { openDispatch } from "./dispatch.ts";
import { openIntake } from "./intake.ts";
import type { Gather } from "./lane.ts";
import { openNodes } from "./nodes.ts";
import { asking as askingWord, openRecovery } from "./recovery.ts";
import { openSettings } from "./settings.ts";
import { openShown } from "./shown.ts";
import { openSubscriptions } from "./subscription.ts";
import { lookFrom, openSurvey } from "./survey.ts";
import { textOfPeer } from "./topology.ts";
import { openTransactions } from "./transaction.ts";

/** How many commands, and how many bytes of them, may be without an answer. */
const mostOpen = 16_384;
const mostOpenBytes = 4 * 1_048_576;
/** How many bytes of answers may wait for others. */
const mostKept = 4 * 1_048_576;
/** How many bytes for the client are gathered before they leave. */
const mostGathered = 262_144;
const lastAnswersMs = 5_000;

const forgetAll = Buffer.from(">2\r\n$10\r\ninvalidate\r\n_\r\n");

export const gather: Gather = async (first, ways) => {
  const { topology, myself } = await lookFrom(first).catch((thrown: unknown) => {
    first.socket.destroy();
    throw thrown;
  });
  // a copy answers for its primary and takes no writes
  const peer =
    myself?.peer ?? topology.primaries.find((member) => textOfPeer(member.peer) === textOfPeer(first.peer))?.peer;
  if (!peer) first.socket.destroy();

  let outgoing: Buffer[] = [];
  let waits = 0; //          how many bytes that is
  let full = false; //       is the client slow?
  let settling = false; //   is everything to be answered before more is taken?
  let holds = 0;
  let soon = false;
  let taken: ((error?: Error) => void) | undefined; // says that what was written has been taken
  let finished: (() => void) | undefined;

  const order = openOrder((bytes) => {
    outgoing.push(bytes);
    waits += bytes.length;
  });
  const flush = (): void => {
    for (const branch of nodes.all()) branch.flush();
    if (outgoing.length === 0 || lane.destroyed) return;
    const [one] = outgoing;
    const bytes = outgoing.length === 1 && one ? one : Buffer.concat(outgoing);
    outgoing = [];
    waits = 0;
    if (!lane.push(bytes)) full = true;
  };
  /** Whoever is ahead of what is due is read no further; who owes what is due always is. */
  const pace = (): void => {
    const due = order.asks.first();
    const crowded = order.kept() > mostKept;
    for (const branch of nodes.all()) {
      if (full || (crowded && due && !branch.owes(due))) branch.hold();
      else branch.resume();
    }
  };

  const free = (): boolean =>
    !settling && holds === 0 && !full && order.asks.size() < mostOpen && order.open() < mostOpenBytes;
  const goOn = (): void => {
    if (lane.destroyed) return;
    recovery.poke();
    if (settling && order.asks.size() === 0 && !recovery.busy()) settling = false;
    try {
      intake.go();
    } catch (thrown) {
      broken(toFailure(thrown));
      return;
    }
    flush();
    pace();
    if (taken && intake.empty() && !nodes.all().some((branch) => branch.full())) {
      const done = taken;
      taken = undefined;
      done();
    }
    if (finished && order.asks.size() === 0) finished();
  };
  /** What several nodes say at once leaves in one write. */
  const goOnSoon = (): void => {
    if (waits > mostGathered || order.kept() > mostKept) {
      goOn();
      return;
    }
    if (soon) return;
    soon = true;
    setImmediate(() => {
      soon = false;
      goOn();
    });
  };
  const broken = (failure: Failure): void => {
    lane.destroy(failure);
  };

  const cluster: Cluster = {
    order,
    version: () => settings.version(),
    topology: () => nodes.topology(),
    home: () => nodes.home(),
    owner: (slot) => nodes.owner(slot),
    primaries: () => nodes.primaries(),
    open: () => nodes.open(),
    send: (branch, ask, asking = false) => {
      if (ask.tries === 0) {
        if (ask.due) order.expect(ask);
        ask.preface = settings.prefix(ask.of ?? ask);
      }
      ask.sent?.(branch.peer, asking);
      if (ask.preface) cluster.whisper(branch, ask.preface);
      if (asking) {
        cluster.whisper(branch, askingWord);
        // a node takes either word for the next command, not both: it does not remember what is read
        if (ask.preface) cluster.forget(ask.of ?? ask);
      }
      branch.expect(ask);
      branch.run(ask.bytes, ask.from, ask.to);
    },
    forget: (last) => {
      if (settings.tracks() && settings.version() === 3) order.tell(forgetAll, last);
    },
    answer: (bytes) => order.expect(answered(bytes)),
    whisper: (branch, bytes, then, more) => {
      const whole = (answer: Buffer): undefined => {
        then?.(answer);
      };
      branch.expect(newAsk(bytes, 0, bytes.length, -1, { due: false, whole, ...more }));
      branch.put(bytes);
    },
    settle: () => {
      settling = true;
    },
    hold: () => {
      holds++;
      return () => {
        holds--;
      };
    },
    broken,
  };

  const lost = (branch: Branch, asks: Parameters<BranchHooks["lost"]>[1], failure: Failure, sent: boolean): void => {
    nodes.forget(branch);
    if (lane.destroyed || finished) return;
    // who listened there would wait for what never comes, and who is refused on one node is to know it
    if (subscriptions.lost(branch) || (!sent && failure.code !== "upstream_unreachable")) {
      broken(failure);
      return;
    }
    transactions.lost(branch);
    cluster.forget(undefined);
    if (sent) {
      void look(true).catch(() => {});
      recovery.forsake(asks, failure);
    } else recovery.unsent(asks, failure, branch.peer);
  };
  const hooks: BranchHooks = {
    order,
    version: () => settings.version(),
    failed: (branch, ask, line) => recovery.failed(ask, line, branch.peer),
    confirmed: (branch, word, bytes, ask) => subscriptions.confirmed(branch, word, bytes, ask),
    read: goOnSoon,
    drained: goOn,
    broken,
    lost,
  };
  const nodes = openNodes({
    topology,
    first: peer && { node: first, peer },
    enter: (at) => ways.enter(at, settings.version(), settings.name()),
    opened: (branch) => {
      for (const bytes of settings.told()) cluster.whisper(branch, bytes);
    },
    hooks,
  });
  const settings = openSettings({
    cluster,
    shown: openShown(ways.shown),
    version: first.version,
    reset: () => {
      nodes.goHome();
      subscriptions.clear();
      transactions.clear();
    },
  });
  const survey = openSurvey(
    {
      // those that answer us before those that are only named
      peers: () => [...nodes.all().map((branch) => branch.peer), ...nodes.topology().named.values()],
      enter: (at) => ways.enter(at, settings.version(), undefined),
    },
    () => performance.now(),
  );
  const look = async (fresh: boolean): Promise<typeof topology> => {
    const seen = await survey.look(fresh);
    nodes.learn(seen);
    return seen;
  };
  const recovery = openRecovery({
    cluster,
    look,
    branchAt: nodes.at,
    moved: nodes.moved,
    broken,
    done: goOnSoon,
    now: () => performance.now(),
  });
  const transactions = openTransactions({ cluster, recovery, preface: () => settings.prefix(undefined) });
  const subscriptions = openSubscriptions(cluster);
  const intake = openIntake({ take: openDispatch({ cluster, settings, subscriptions, transactions, recovery }), free });

  const lane: Duplex = new Duplex({
    write: (chunk: Buffer, _, done) => {
      taken = done;
      intake.push(chunk);
      goOn();
    },
    read: () => {
      if (!full) return;
      full = false;
      goOn();
    },
    final: (done) => {
      const late = setTimeout(() => finished?.(), lastAnswersMs);
      finished = () => {
        clearTimeout(late);
        finished = () => {};
        for (const branch of nodes.all()) branch.end();
        lane.push(null);
        done();
      };
      goOn();
    },
    destroy: (error, done) => {
      for (const branch of nodes.all()) branch.destroy();
      done(error);
    },
  });
  return lane;
};
