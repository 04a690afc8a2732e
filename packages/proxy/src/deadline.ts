// Time limits on what somebody else must do: a client that dawdles, a table that hangs. Every wait in the proxy that depends
// on a peer goes through here, so that none can last for ever.
import { Failure } from "@sallyport/core/failure";

/** `work`, or the reason of the first signal that aborts. What `work` does after that is nobody's concern here: its rejection is swallowed. */
export const until = async <T>(work: Promise<T>, ...signals: readonly AbortSignal[]): Promise<T> => {
  const undo: (() => void)[] = [];
  const cut = new Promise<never>((_, reject) => {
    for (const signal of signals) {
      const stop = (): void => reject(signal.reason);
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
      undo.push(() => signal.removeEventListener("abort", stop));
    }
  });
  // either may reject after the race is over
  cut.catch(() => {});
  work.catch(() => {});
  try {
    return await Promise.race([cut, work]);
  } finally {
    for (const step of undo) step();
  }
};

const tooLate = (ms: number, what: string): Failure =>
  new Failure("timeout", `${what} took longer than ${Math.round(ms / 1000)} s`);

/** `work`, or Failure `timeout` after so many milliseconds. */
export const within = <T>(ms: number, what: string, work: Promise<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(tooLate(ms, what)), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });

export interface Deadline {
  /** Aborted with Failure `timeout` when it passes. */
  readonly signal: AbortSignal;
  /** Runs the whole time again; no effect while it runs or once it has passed. */
  start(): void;
  stop(): void;
}

/** A deadline that runs from now. */
export const openDeadline = (ms: number, what: string): Deadline => {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const start = (): void => {
    if (timer || controller.signal.aborted) return;
    timer = setTimeout(() => {
      controller.abort(tooLate(ms, what));
    }, ms);
  };
  start();
  return {
    signal: controller.signal,
    start,
    stop: () => {
      clearTimeout(timer);
      timer = undefined;
    },
  };
};

/** Resolves when the work is done or the time is over; rejects if the work does so first. */
export const waitAtMost = async (ms: number, work: Promise<unknown>): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]);
  clearTimeout(timer);
};
