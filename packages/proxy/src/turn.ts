// Taking turns: so many at once ask the table, the others wait in line. Without it a burst would wait all together, and the time
// that one read of the table may take would pass for each while this process was busy with the rest.

export interface Turns {
  /** Does the work when it is its turn. @throws the signal's reason when that comes first, and whatever the work throws */
  take<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T>;
}

export const openTurns = (most: number): Turns => {
  let busy = 0;
  /** In the order of arrival. */
  const line = new Set<() => void>();

  const enter = async (signal: AbortSignal | undefined): Promise<void> => {
    signal?.throwIfAborted();
    if (busy < most) {
      busy += 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = (): void => {
      line.delete(resolve);
      reject(signal?.reason);
    };
    line.add(resolve);
    signal?.addEventListener("abort", leave, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  };
  /** The place goes to the next in line, or is free. */
  const pass = (): void => {
    const [next] = line;
    if (next === undefined) {
      busy -= 1;
      return;
    }
    line.delete(next);
    next();
  };
  return {
    take: async (signal, work) => {
      await enter(signal);
      try {
        return await work();
      } finally {
        pass();
      }
    },
  };
};
