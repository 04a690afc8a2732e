// Where a command goes: to the node that owns its keys, to all of them, to one of them, or nowhere as its answer is here. What is not
// known goes to one node as it is, which says itself where its keys are; then what comes behind it waits.
import { newAsk } from "./ask.ts";
import type { Branch } from "./branch.ts";
import type { Cluster, Handler, Request } from "./cluster.ts";
import { type Command, eachKey, findCommand, fits } from "./command.ts";
import { errorLine } from "./message.ts";
import type { Recovery } from "./recovery.ts";
import type { Settings } from "./settings.ts";
import { slotOf } from "./slot.ts";
import { isOverKeys, spreads } from "./spread.ts";
import type { Subscriptions } from "./subscription.ts";
import type { Transactions } from "./transaction.ts";
import type { Words } from "./word.ts";

export interface DispatchOptions {
  readonly cluster: Cluster;
  readonly settings: Settings;
  readonly subscriptions: Subscriptions;
  readonly transactions: Transactions;
  readonly recovery: Recovery;
}

/** Takes one command; false when it has to wait until more is answered. */
export type Dispatch = (words: Words, from: number, to: number) => boolean;

const notWhileListening = (name: string): Buffer =>
  errorLine(
    `ERR Can't execute '${name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`,
  );
const ofTransactions = new Set(["multi", "exec", "discard", "watch", "unwatch"]);

export const openDispatch = (options: DispatchOptions): Dispatch => {
  const { cluster, settings, subscriptions, transactions, recovery } = options;
  const handlers = new Map<string, Handler>([...spreads(cluster), ...settings.handlers, ...subscriptions.handlers]);
  const plain = new WeakMap<Command, boolean>();
  /** Is it for one node alone, whatever its arguments? */
  const isPlain = (known: Command): boolean => {
    const before = plain.get(known);
    if (before !== undefined) return before;
    const is = !handlers.has(known.name) && !ofTransactions.has(known.name);
    plain.set(known, is);
    return is;
  };

  /** The slot of its first key; -1 where it has none, or is not as it should be: the server has words for that. */
  const slotOfFirst = (known: Command | undefined, words: Words): number => {
    if (!known || !fits(known, words)) return -1;
    const at = known.find ? known.find(words)[0] : known.first;
    return at === undefined || at === 0 ? -1 : slotOf(words.bytes, words.starts[at] ?? 0, words.ends[at] ?? 0);
  };
  const isUnsettled = (known: Command | undefined, words: Words): boolean => {
    let found = false;
    if (known)
      eachKey(known, words, (at) => {
        found ||= recovery.unsettled(slotOf(words.bytes, words.starts[at] ?? 0, words.ends[at] ?? 0));
      });
    return found;
  };

  const send = (known: Command | undefined, words: Words, from: number, to: number): void => {
    const slot = slotOfFirst(known, words);
    const ask = newAsk(words.bytes, from, to, slot);
    const branch = slot < 0 ? cluster.home() : cluster.owner(slot);
    if (branch) cluster.send(branch, ask);
    else {
      cluster.order.expect(ask);
      recovery.failed(ask, "CLUSTERDOWN Hash slot not served", cluster.home().peer);
    }
    if (!known) cluster.settle();
  };
  /** In RESP2 a connection that listens takes nothing else, in the server's own words: a node would first look where the keys are. */
  const answerListener = (
    listener: Branch,
    known: Command | undefined,
    words: Words,
    from: number,
    to: number,
  ): void => {
    if (known && known.name !== "ping" && fits(known, words)) cluster.answer(notWhileListening(known.name));
    else cluster.send(listener, newAsk(words.bytes, from, to, -1));
  };
  const listener = (known: Command | undefined): Branch | undefined =>
    settings.version() === 2 && !(known && (subscriptions.handlers.has(known.name) || known.name === "reset"))
      ? subscriptions.listening()
      : undefined;

  return (words, from, to) => {
    const known = findCommand(words);
    if (recovery.cautious() && cluster.order.asks.size() > 0 && isUnsettled(known, words)) return false;
    const heard = listener(known);
    if (heard) {
      answerListener(heard, known, words, from, to);
      return true;
    }
    if (known && isPlain(known) && !transactions.open()) {
      send(known, words, from, to);
      return true;
    }
    const request: Request = { words, bytes: words.bytes, from, to };
    const handler = known && fits(known, words) ? handlers.get(known.name) : undefined;
    // leaves a transaction as it leaves everything
    if (known?.name === "reset" && handler) return handler(request) !== "wait";
    const part = transactions.take(request, known, handler !== undefined && !(known && isOverKeys(known.name)));
    if (part !== "pass") return part === "taken";
    const taken = handler?.(request) ?? "pass";
    if (taken === "pass") send(known, words, from, to);
    return taken !== "wait";
  };
};
