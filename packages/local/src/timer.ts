// Things that happen after a while, by a clock that tests may turn.

export interface Timer {
  now(): number;
  /** Runs this so many milliseconds from now; answers how to call it off. */
  after(ms: number, run: () => void): () => void;
}

const longest = 2 ** 31 - 1;

export const systemTimer: Timer = {
  now: Date.now,
  after: (ms, run) => {
    const timer = setTimeout(run, Math.min(ms, longest)).unref();
    return () => clearTimeout(timer);
  },
};

/** Settles after so long. */
export const pass = (timer: Timer, ms: number): Promise<void> =>
  ms <= 0 ? Promise.resolve() : new Promise((answer) => void timer.after(ms, answer));
