// What both directions of one session know together: which commands wait for their answers, in which database it is, and what is
// needed to read the parameters of its prepared statements.
import { Failure } from "@sallyport/core/failure";
import type { Capabilities } from "./capability.ts";

export interface Prepared {
  /** How many parameters; undefined until the server has answered. */
  parameters: number | undefined;
  /** As last bound. */
  types: Buffer | undefined;
  /** Parameters that were sent ahead of the next EXECUTE. */
  long: Set<number> | undefined;
  /** An EXECUTE that came before the server's answer: its types count for those behind it. */
  early?: { readonly kind: "execute" | "bulk"; readonly bytes: Buffer };
}

/** A command that went to the server and waits for its answer. */
export interface Pending {
  readonly command: number;
  /** The number of its last packet so far; the answer's first has the next. */
  sequence: number;
  readonly prepared: Prepared | undefined;
  /** The database that it changes to. */
  readonly schema: Buffer | undefined;
}

export interface Session {
  readonly agreed: Capabilities;
  schema: Buffer | undefined;
  /** Are backslashes letters like others? As the server said last. */
  noEscapes: boolean;
  /** By the server's id; 2^32 - 1 is the latest, which MariaDB's clients execute before they have heard its id. */
  prepared(id: number): Prepared | undefined;
  /** A PREPARE is on its way. */
  prepare(): Prepared;
  /** @throws Failure `too_large` */
  keep(id: number, prepared: Prepared): void;
  forget(id: number): void;
  /** The server has none of them any more. */
  forgetAll(): void;
  expect(pending: Pending): void;
  /** The command that is being answered. */
  front(): Pending | undefined;
  /** Its answer is complete. */
  answered(): void;
  waiting(): number;
}

const latestId = 0xffff_ffff;
// a server's own bound (max_prepared_stmt_count) is a quarter of it
const mostPrepared = 65_536;
// of all of them: their types, and which were sent ahead, are kept
const mostParameters = 1_048_576;

export const openSession = (agreed: Capabilities, schema: string | undefined): Session => {
  const statements = new Map<number, Prepared>();
  const queue: Pending[] = [];
  let latest: Prepared | undefined;
  let parameters = 0;
  const forget = (id: number): void => {
    parameters -= statements.get(id)?.parameters ?? 0;
    statements.delete(id);
  };
  return {
    agreed,
    schema: schema === undefined ? undefined : Buffer.from(schema),
    noEscapes: false,
    prepared: (id) => (id === latestId ? latest : statements.get(id)),
    prepare: () => {
      latest = { parameters: undefined, types: undefined, long: undefined };
      return latest;
    },
    keep: (id, prepared) => {
      forget(id);
      parameters += prepared.parameters ?? 0;
      if (statements.size >= mostPrepared)
        throw new Failure("too_large", `more than ${mostPrepared} prepared statements`);
      if (parameters > mostParameters)
        throw new Failure("too_large", `prepared statements with more than ${mostParameters} parameters`);
      statements.set(id, prepared);
    },
    forget,
    forgetAll: () => {
      statements.clear();
      parameters = 0;
      // one that is on its way comes after it
      if (latest?.parameters !== undefined) latest = undefined;
    },
    expect: (pending) => void queue.push(pending),
    front: () => queue[0],
    answered: () => void queue.shift(),
    waiting: () => queue.length,
  };
};
