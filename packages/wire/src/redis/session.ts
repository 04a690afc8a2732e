// What has been asked in a session and waits for its answer, in order; and what the session is in: a transaction, subscriptions,
// answers that the client does not want, another user. Some answers are the proxy's own and have their place among the server's.
import type { Command } from "./command.ts";
import type { Version } from "./lane.ts";

/** What the next answer is to. */
export interface Expected {
  /** The command, as the audit names it. */
  readonly name: string;
  /** The answer is ours: nothing is waited for. */
  readonly say?: Buffer;
  /** The server's answer is not the client's. */
  readonly drop?: true;
  /** What is said in its place. */
  readonly instead?: Buffer;
  /** Something hangs on it. */
  after?(failed: boolean): void;
  /** So many confirmations of this kind are the answer; `all`: one for each that there is. */
  readonly confirmed?: { readonly word: string; left: number | "all" };
}

export interface Pending {
  expect(expected: Expected): void;
  first(): Expected | undefined;
  done(): void;
  count(): number;
  /** Those among them that were made for the occasion, and take room. */
  own(): number;
}
const isOwn = ({ say, instead, after, confirmed }: Expected): boolean =>
  (say ?? instead ?? after ?? confirmed) !== undefined;
const tidyFrom = 1_024;

export const openPending = (): Pending => {
  let asked: Expected[] = [];
  let next = 0;
  let own = 0;
  return {
    expect: (expected) => {
      if (isOwn(expected)) own++;
      asked.push(expected);
    },
    first: () => asked[next],
    done: () => {
      const first = asked[next++];
      if (first && isOwn(first)) own--;
      if (next === asked.length) {
        asked.length = 0;
        next = 0;
      } else if (next >= tidyFrom && 2 * next >= asked.length) {
        asked = asked.slice(next);
        next = 0;
      }
    },
    count: () => asked.length - next,
    own: () => own,
  };
};

/** What later commands and answers depend on. */
export interface State {
  version: Version;
  /** Between MULTI and EXEC, as far as has been asked. */
  multi: boolean;
  /** A command of the transaction was refused here: it must not be carried out. */
  dirty: boolean;
  /** CLIENT REPLY. */
  replies: "on" | "off" | "skip";
  /** The user that the server takes it for. */
  as: string;
  channels: number;
  patterns: number;
  shards: number;
}
export const openState = (version: Version, user: string): State => ({
  ...{ version, multi: false, dirty: false, replies: "on", as: user, channels: 0, patterns: 0, shards: 0 },
});

/** Whose a command is where it is not the session's own user's, as the audit says it. */
export const otherThan = (user: string, { as }: State): { readonly user?: string } => (as === user ? {} : { user: as });

/** Does it take hardly a command, and messages that are no answers? */
export const isSubscriber = ({ version, channels, patterns, shards }: State): boolean =>
  version === 2 && channels + patterns + shards > 0;

const confirmations = {
  subscribe: "channels",
  unsubscribe: "channels",
  psubscribe: "patterns",
  punsubscribe: "patterns",
  ssubscribe: "shards",
  sunsubscribe: "shards",
} as const;
export const isConfirmation = (word: string): word is keyof typeof confirmations => Object.hasOwn(confirmations, word);
const messages: ReadonlySet<string> = new Set(["message", "pmessage", "smessage", "invalidate", "disconnected"]);
export const isMessage = (word: string): boolean => messages.has(word);

/** How many of that kind there are. */
export const subscribed = (state: State, word: keyof typeof confirmations): number => state[confirmations[word]];
/** A confirmation says how many there are now; channels and patterns count as one. */
export const confirm = (state: State, word: keyof typeof confirmations, count: number): void => {
  const kind = confirmations[word];
  if (kind === "channels") state.channels = Math.max(0, count - state.patterns);
  else if (kind === "patterns") state.patterns = Math.max(0, count - state.channels);
  else state.shards = count;
};

export const nameOf = (command: Command | undefined): string => command?.name ?? "?";
