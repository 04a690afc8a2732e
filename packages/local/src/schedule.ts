// EventBridge's place: runs each job when its time has come by the clock it is given. A job still running when it is due again
// is started again all the same, and a failed one waits for its next turn: as on AWS, jobs must bear both.
export interface Job {
  readonly name: string;
  readonly everyMs: number;
}

export interface Schedule {
  /** Starts what is due at this instant; settles when those have ended, well or not. Answers their names. */
  tick(at: number): Promise<readonly string[]>;
  /** Ticks by real time from now on. */
  start(): void;
  stop(): void;
}

export const openSchedule = (
  jobs: readonly Job[],
  invoke: (name: string) => Promise<unknown>,
  openedAt: number,
): Schedule => {
  const dueAt = new Map(jobs.map((job) => [job.name, openedAt + job.everyMs]));
  let timer: NodeJS.Timeout | undefined;
  const tick = async (at: number): Promise<readonly string[]> => {
    const due = jobs.filter((job) => (dueAt.get(job.name) ?? 0) <= at);
    for (const job of due) dueAt.set(job.name, at + job.everyMs);
    await Promise.allSettled(due.map((job) => invoke(job.name)));
    return due.map((job) => job.name);
  };
  return {
    tick,
    start: () => {
      timer ??= setInterval(() => void tick(Date.now()), 1000);
      timer.unref();
    },
    stop: () => clearInterval(timer),
  };
};
