// MULTI, EXEC and WATCH over many nodes: a transaction begins on the node that its first key names and stays there; a key elsewhere is
// CROSSSLOT, as in any cluster. When its slot moves before it is carried out, it is begun again where the slot went; with WATCH it
// is not carried out instead, as if a watched key had changed: the client tries again, as it must be ready to.
// https://redis.io/docs/latest/develop/using-commands/transactions/
import type { Peer } from "../protocol.ts";
import { type Ask, newAsk } from "./ask.ts";
import type { Branch } from "./branch.ts";
import type { Cluster, Request, Taken } from "./cluster.ts";
import { type Command, eachKey, fits } from "./command.ts";
import { isError, ok } from "./element.ts";
import { command, errorLine, simple } from "./message.ts";
import { asking as askingWord, isRedirect, type Recovery, unreached } from "./recovery.ts";
import { slotOf } from "./slot.ts";

export interface Transactions {
  /** Takes what belongs to a transaction, or all of it while one is open. `alone`: it can't be a part of one. */
  take(request: Request, known: Command | undefined, alone: boolean): Taken;
  /** Is one begun? */
  open(): boolean;
  lost(branch: Branch): void;
  clear(): void;
}

interface Transaction {
  /** Said before it, on whichever node: CLIENT CACHING. */
  readonly preface: Buffer | undefined;
  /** What was queued, for another node should it come to that. */
  readonly commands: Buffer[];
  /** How many bytes that is. */
  size: number;
  branch: Branch | undefined;
  /** Has the node said OK to MULTI? */
  begun: boolean;
  slot: number;
  /** Something in it could not be queued: it is never carried out. */
  spoiled: boolean;
  /** What the node said to MULTI when it was not OK. */
  refused: Buffer | undefined;
  /** How a node said that the slot is elsewhere, and which. */
  moved: { readonly line: string; readonly by: Peer } | undefined;
}
interface Watch {
  branch: Branch;
  readonly slot: number;
  /** It may have missed a change. */
  void: boolean;
}

const multi = command("MULTI");
const discard = command("DISCARD");
const unwatch = command("UNWATCH");
const queued = simple("QUEUED");
const crossSlot = errorLine("CROSSSLOT Keys in request don't hash to the same slot");
const aborted = errorLine("EXECABORT Transaction discarded because of previous errors.");
/** It is kept here until it is carried out. */
const mostQueued = 64 * 1_048_576;
const tooLong = errorLine("ERR a transaction in a cluster may have 64 MiB: store large values before it");
const nested = errorLine("ERR MULTI calls can not be nested");
const watchInside = errorLine("ERR WATCH inside MULTI is not allowed");
const inside = (name: string): Buffer =>
  errorLine(
    `ERR ${name.replace("|", " ").toUpperCase()} concerns every node of the cluster and can't be a part of a transaction`,
  );

const none = -1;
const apart = -2;
/** The slot of its keys; `none` without keys, `apart` when they are in several. */
export const slotOfKeys = (known: Command | undefined, { words }: Pick<Request, "words">): number => {
  let slot = none;
  if (!known) return slot;
  eachKey(known, words, (at) => {
    const its = slotOf(words.bytes, words.starts[at] ?? 0, words.ends[at] ?? 0);
    slot = slot === none || slot === its ? its : apart;
  });
  return slot;
};

export interface TransactionOptions {
  readonly cluster: Cluster;
  readonly recovery: Pick<Recovery, "later">;
  /** Of CLIENT CACHING, once. */
  preface(): Buffer | undefined;
}

export const openTransactions = ({ cluster, recovery, preface }: TransactionOptions): Transactions => {
  let open: Transaction | undefined;
  let watch: Watch | undefined;
  /** Nodes that have taken a MULTI from this user: the next one need not be waited for. */
  const trusted = new WeakSet<Branch>();

  /** Where keys are watched; nowhere once a change may have been missed. */
  const watching = (): Branch | undefined => (watch?.void === false ? watch.branch : undefined);
  const nil = (): Buffer => Buffer.from(cluster.version() === 3 ? "_\r\n" : "*-1\r\n");
  /** No transaction any more, and nothing watched. `told`: the node that hears it from EXEC or DISCARD itself. */
  const leave = (told: Branch | undefined): void => {
    if (watch && watch.branch !== told && !watch.branch.gone()) cluster.whisper(watch.branch, unwatch);
    open = undefined;
    watch = undefined;
  };

  /** Queues what a client was told is queued. */
  const replay = (of: Transaction, branch: Branch, asking: boolean): void => {
    if (of.preface) cluster.whisper(branch, of.preface);
    if (asking) cluster.whisper(branch, askingWord);
    cluster.whisper(branch, multi);
    queueAgain(of, branch);
  };
  const queueAgain = (of: Transaction, branch: Branch): void => {
    for (const bytes of of.commands)
      cluster.whisper(branch, bytes, undefined, { failed: (line, by) => note(of, line, by) });
  };
  /** A queued command whose slot is elsewhere counts as queued: all of it is begun again there. */
  const note = (of: Transaction, line: string, by: Peer): Buffer | undefined => {
    if (!isRedirect(line)) return undefined;
    of.moved = { line, by };
    return queued;
  };

  /** MULTI at the node, or at the one that has taken its place; false when its answer has to be waited for. */
  const start = (of: Transaction, branch: Branch, slot: number): boolean => {
    of.branch = branch;
    of.begun = trusted.has(branch);
    if (of.begun) {
      replay(of, branch, false);
      return true;
    }
    const free = cluster.hold();
    const whole = (answer: Buffer): undefined => {
      if (answer === unreached) {
        recovery.later(ask, { line: "", by: undefined, slot }, ({ branch: other }) => {
          of.branch = other;
          ask.replies = 1;
          begin(other);
        });
        return;
      }
      if (isError(answer)) of.refused = answer;
      else if (of.branch) {
        trusted.add(of.branch);
        of.begun = true;
        queueAgain(of, of.branch);
      }
      free();
    };
    const ask: Ask = newAsk(multi, 0, multi.length, none, { due: false, whole });
    const begin = (at: Branch): void => {
      if (of.preface) cluster.whisper(at, of.preface);
      cluster.send(at, ask);
    };
    begin(branch);
    return false;
  };
  /** The node that the first key names, whatever was begun elsewhere. False when it has to be waited for. */
  const go = (of: Transaction, branch: Branch, slot: number): boolean => {
    if (of.branch === branch) return true;
    if (of.branch) cluster.whisper(of.branch, discard);
    return start(of, branch, slot);
  };

  const spoil = (of: Transaction, words: Buffer): Taken => {
    of.spoiled = true;
    cluster.answer(words);
    return "taken";
  };

  const queue = (of: Transaction, request: Request, known: Command | undefined, alone: boolean): Taken => {
    if (of.refused) return spoil(of, of.refused);
    const { bytes, from, to } = request;
    const valid = known !== undefined && fits(known, request.words);
    if (alone && valid) return spoil(of, inside(known.name));
    const slot = valid ? slotOfKeys(known, request) : none;
    if (slot === apart || (slot >= 0 && of.slot >= 0 && slot !== of.slot)) return spoil(of, crossSlot);
    const watched = watching();
    const named = slot < 0 ? undefined : watched && watch?.slot === slot ? watched : cluster.owner(slot);
    if (named && of.slot === none && watched && watched !== named) return spoil(of, crossSlot);
    const branch = (of.slot === none && named) || of.branch || watched || cluster.home();
    if (of.size + to - from > mostQueued) return spoil(of, tooLong);
    if (!go(of, branch, slot)) return "wait";
    if (slot >= 0) of.slot = slot;
    of.size += to - from;
    of.commands.push(Buffer.from(bytes.subarray(from, to)));
    const whole = (answer: Buffer): Buffer => answer;
    cluster.send(branch, newAsk(bytes, from, to, slot, { whole, failed: (line, by) => note(of, line, by) }));
    return "taken";
  };

  /** Carries all of it out where its slot is now. */
  const again = (of: Transaction, ask: Ask): void => {
    const { moved } = of;
    recovery.later(ask, { line: moved?.line ?? "", by: moved?.by, slot: of.slot }, ({ branch, asking }) => {
      of.moved = undefined;
      replay(of, branch, asking);
      if (asking && of.preface) cluster.forget(ask);
      cluster.send(branch, ask);
    });
  };
  const carryOut = (of: Transaction, request: Request): Taken => {
    const missed = watch?.void === true;
    if (!of.branch && !of.spoiled && !missed) {
      if (!watch) {
        leave(undefined);
        cluster.answer(Buffer.from("*0\r\n"));
        return "taken";
      }
      if (!start(of, watch.branch, watch.slot)) return "wait";
    }
    const { branch } = of;
    const watched = watch !== undefined;
    leave(branch);
    if (of.refused || of.spoiled || missed || !branch) {
      if (branch) cluster.whisper(branch, discard);
      cluster.answer(missed && !of.spoiled ? nil() : aborted);
      return "taken";
    }
    const { bytes, from, to } = request;
    const ask: Ask = newAsk(bytes, from, to, of.slot, {
      failed: (line, by) => {
        if (isRedirect(line)) of.moved = { line, by };
        if (!of.moved) return undefined;
        if (watched) return nil();
        again(of, ask);
        return "taken";
      },
    });
    cluster.send(branch, ask);
    return "taken";
  };

  const watchKeys = (request: Request, known: Command): Taken => {
    const slot = slotOfKeys(known, request);
    if (slot < 0) return "pass";
    const branch = watch?.slot === slot ? watch.branch : cluster.owner(slot);
    if (!branch) return "pass";
    if (watch && watch.branch !== branch) {
      cluster.answer(crossSlot);
      return "taken";
    }
    const mine: Watch = watch ?? { branch, slot, void: false };
    watch = mine;
    const { bytes, from, to } = request;
    let first = true;
    const sent = (): void => {
      // it was asked again elsewhere: what was watched before is not watched there
      if (!first) mine.void = true;
      first = false;
    };
    cluster.send(branch, newAsk(bytes, from, to, slot, { sent }));
    return "taken";
  };

  const outside = (request: Request, known: Command): Taken => {
    const { name } = known;
    if (name === "multi") {
      const fresh = {
        branch: undefined,
        begun: false,
        slot: none,
        spoiled: false,
        refused: undefined,
        moved: undefined,
      };
      open = { preface: preface(), commands: [], size: 0, ...fresh };
      cluster.answer(ok);
      return "taken";
    }
    if (name === "watch") return watchKeys(request, known);
    if (name !== "unwatch" || !watch) return "pass";
    const { bytes, from, to } = request;
    cluster.send(watch.branch, newAsk(bytes, from, to, none));
    watch = undefined;
    return "taken";
  };

  return {
    take: (request, known, alone) => {
      const valid = known !== undefined && fits(known, request.words) ? known : undefined;
      if (!open) return valid ? outside(request, valid) : "pass";
      const { bytes, from, to } = request;
      if (valid?.name === "multi" || valid?.name === "watch") {
        cluster.answer(valid.name === "multi" ? nested : watchInside);
        return "taken";
      }
      if (valid?.name === "exec") return carryOut(open, request);
      if (valid?.name !== "discard") return queue(open, request, known, alone);
      const { branch } = open;
      leave(branch);
      if (branch) cluster.send(branch, newAsk(bytes, from, to, none));
      else cluster.answer(ok);
      return "taken";
    },
    open: () => open !== undefined,
    lost: (branch) => {
      if (watch?.branch === branch) watch.void = true;
      // where it has not begun, it begins elsewhere
      if (open?.branch !== branch || !open.begun) return;
      open.branch = undefined;
      open.spoiled = true;
    },
    clear: () => {
      open = undefined;
      watch = undefined;
    },
  };
};
