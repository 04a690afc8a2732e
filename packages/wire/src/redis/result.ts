// What a server says in a session, answer by answer: each is the answer to what was asked first, pushes and a subscriber's messages
// apart. An answer that is not for the client is taken out; where one of ours has its place, the run ends before it.
// https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
import { Failure } from "@sallyport/core/failure";
import type { Frames } from "../flow.ts";
import { openReplies, types } from "./reply.ts";
import {
  confirm,
  type Expected,
  isConfirmation,
  isMessage,
  isSubscriber,
  type Pending,
  type State,
  subscribed,
} from "./session.ts";

export interface ResultOptions {
  readonly pending: Pending;
  readonly state: State;
  /** The answer to something was an error. */
  failed(name: string, text: Buffer): void;
  /** In the place of an answer that was taken out. */
  instead(bytes: Buffer): void;
}

export const openResults = ({ pending, state, failed, instead }: ResultOptions): Frames => {
  const replies = openReplies();
  let dropping = false;
  let dropped = false;
  let edge = 0;

  /** Is the answer that begins here one that the client does not get? */
  const unwanted = (type: number): boolean => {
    if (type === types.push) return false;
    const first = pending.first();
    const mayBeMessage = type === types.array && isSubscriber(state);
    if (!first && !mayBeMessage) throw new Failure("upstream_refused", "the database answered what nobody asked");
    return first?.drop === true && !mayBeMessage;
  };
  /** A push, or in RESP2 an array, that says something of subscriptions. Is it an answer to nothing, or not the last one? */
  const isAside = (first: Expected | undefined): boolean => {
    const kind = replies.kind();
    const push = kind === types.push;
    const asked = first?.confirmed;
    if (!push && !(kind === types.array && state.version === 2 && (asked || isSubscriber(state)))) return false;
    const word = replies.word();
    if (!isConfirmation(word)) return push || isMessage(word);
    const before = subscribed(state, word);
    confirm(state, word, replies.number());
    if (asked?.word !== word) return true;
    asked.left = asked.left === "all" ? Math.max(1, before) - 1 : asked.left - 1;
    if (asked.left === 0) pending.done();
    return true;
  };
  const settle = (): void => {
    const first = pending.first();
    if (isAside(first)) return;
    if (!first) throw new Failure("upstream_refused", "the database answered what nobody asked");
    const kind = replies.kind();
    const isError = kind === types.error || kind === types.blob;
    pending.done();
    if (isError) failed(first.name, replies.error());
    first.after?.(isError);
    if (first.instead) instead(first.instead);
  };

  return {
    scan: (bytes, from, once) => {
      edge = from;
      let at = from;
      while (at < bytes.length) {
        if (!replies.inside()) {
          if (once) return at;
          const next = unwanted(bytes[at] ?? 0);
          // what is before it passes, it does not, or the other way round
          if (at > from && next !== dropping) return at;
          dropping = next;
        }
        dropped = dropping;
        const end = replies.next(bytes, at);
        if (end < 0) return bytes.length;
        settle();
        at = end;
        edge = at;
        if (pending.first()?.say) return at;
      }
      return at;
    },
    need: () => 1,
    inside: () => replies.inside(),
    edge: () => edge,
    dropped: () => dropped,
    hold: () => undefined,
  };
};
