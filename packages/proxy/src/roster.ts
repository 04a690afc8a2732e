// Who is being served, so that a proxy that goes away can wait for them, and at last need not.
import type { Visit } from "./login.ts";

/** Connections being served, whatever their state. */
export interface Roster {
  /** Resolves as the work does. */
  track(visit: Visit, work: Promise<void>): Promise<void>;
  allServed(): Promise<void>;
  destroy(): void;
}

export const openRoster = (): Roster => {
  const serving = new Map<Promise<void>, Visit>();
  return {
    track: (visit: Visit, work: Promise<void>): Promise<void> => {
      const one = work.finally(() => serving.delete(one));
      serving.set(one, visit);
      return one;
    },
    allServed: async (): Promise<void> => {
      while (serving.size > 0) await Promise.all(serving.keys());
    },
    destroy: (): void => {
      for (const { socket } of serving.values()) socket.destroy();
    },
  };
};
