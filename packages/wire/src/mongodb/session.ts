// What has been asked in a session and waits for its answer, in order: servers answer one command after the other.
import { Failure } from "@sallyport/core/failure";
import type { Asker } from "./message.ts";

export interface Question extends Asker {
  readonly name: string;
  /** Answers may come in several messages. */
  readonly exhaust: boolean;
  /** The cursor that it goes on with. */
  readonly cursor?: bigint;
}
export interface Pending {
  ask(question: Question): void;
  /** The one whose answer comes next. */
  first(): Question | undefined;
  /** Its answer has come in full. */
  done(): void;
  count(): number;
}

/** No driver has more than a few commands on its way over one connection. */
const most = 10_000;

export const openPending = (): Pending => {
  let asked: Question[] = [];
  let next = 0;
  return {
    ask: (question) => {
      if (asked.length - next >= most)
        throw new Failure("too_many", `more than ${most} commands wait for their answers`);
      asked.push(question);
    },
    first: () => asked[next],
    done: () => {
      next++;
      // a client may always have asked one more: what was answered is let go of all the same
      if (next < asked.length && next < most) return;
      asked = asked.slice(next);
      next = 0;
    },
    count: () => asked.length - next,
  };
};
