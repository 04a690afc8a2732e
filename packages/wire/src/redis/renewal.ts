// The login again, in time: AWS ends a connection that logged in by an IAM token twelve hours later, whatever it does. It is done
// when nothing is outstanding; a client that never stops asking waits for it once. Inside a transaction, and where a subscriber
// takes no such command, it waits, for as long as it has to.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
import type { Password } from "./password.ts";

export interface Renewal {
  /** Nothing is outstanding now. */
  look(): void;
  /** What comes next waits for this. */
  wait(): Promise<void> | undefined;
  stop(): void;
}
export interface RenewalOptions {
  /** After so many milliseconds; never, when that is without end. */
  readonly after: number;
  credential(): Promise<Password>;
  /** Sends the login. */
  enter(credential: Password): void;
  /** Is the connection still whose it was? */
  isDue(): boolean;
  /** Is nothing outstanding? */
  mayNow(): boolean;
  /** Could a login be said where the session is? */
  mayWait(): boolean;
}

/** Where no credential is to be had, or the session went on meanwhile. */
const againMs = 10_000;

export const openRenewal = (options: RenewalOptions): Renewal => {
  const { after, credential, enter, isDue, mayNow, mayWait } = options;
  let due = false;
  let asking = false;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let waiting: (() => void) | undefined;

  const letGo = (): void => {
    waiting?.();
    waiting = undefined;
  };
  const arm = (ms: number): void => {
    clearTimeout(timer);
    if (ms === Number.POSITIVE_INFINITY) return;
    // a timer takes no more than 31 bits
    timer = setTimeout(begin, Math.min(ms, 0x7fff_ffff));
    timer.unref();
  };
  const renew = async (): Promise<void> => {
    try {
      const made = await credential();
      if (stopped || !isDue() || !mayNow() || !mayWait()) return;
      due = false;
      enter(made);
      arm(after);
    } catch {
      // the connection is good for an hour yet
      due = false;
      if (!stopped) arm(againMs);
    } finally {
      asking = false;
      letGo();
    }
  };
  const look = (): void => {
    if (!due || asking || stopped || !mayWait()) return;
    if (!isDue()) {
      due = false;
      arm(after);
      letGo();
    } else if (mayNow()) {
      asking = true;
      void renew();
    }
  };
  const begin = (): void => {
    due = true;
    look();
  };
  arm(after);
  return {
    look,
    wait: () => {
      if (!due || stopped || !mayWait() || !isDue()) return undefined;
      const held = new Promise<void>((then) => {
        waiting = then;
      });
      look();
      return held;
    },
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      letGo();
    },
  };
};
