// Making way for a newer revision of the deployment: a task that has heard one for a while, by the proxies' heartbeats, asks
// the balancer for nobody new. Those it has stay until they end, or the time for that is over. When the newer ones vanish again,
// as in a deployment that is taken back, it serves on.
import type { Clock } from "@sallyport/core/ports";
import { within } from "./deadline.ts";
import { describeError, type Log } from "./log.ts";
import type { Neighbours } from "./neighbours.ts";

export interface Succession {
  /** Looks at the heartbeats. Never rejects; what can't be read changes nothing. */
  look(): Promise<void>;
  /** Serving; yielding to a newer revision; or over: those still here have had their time. */
  state(): "serving" | "yielding" | "over";
}

/** So long a newer revision must have been there: it is no crash loop, and balancers have heard of it. */
export const settledFor = 10_000;
const patience = 4_000;

export const openSuccession = (parts: {
  /** Counts up with each deployment; without one this task makes way for nobody. */
  revision: number | undefined;
  drainForMs: number;
  neighbours: Neighbours;
  steady: Clock;
  log: Log;
}): Succession => {
  const { revision, steady, log } = parts;
  /** Newer tasks, and since when each was seen without a break. */
  let seen: ReadonlyMap<string, number> = new Map();
  let yieldedAt: number | undefined;

  const newer = async (than: number): Promise<readonly string[]> => {
    const near = await parts.neighbours.look();
    // one that beat once may be of a crash loop
    return near.flatMap(({ task, heard }) =>
      heard && !task.draining && task.revision !== undefined && task.revision > than ? [task.id] : [],
    );
  };
  const judge = (ids: readonly string[]): void => {
    const now = steady.now();
    seen = new Map(ids.map((id) => [id, seen.get(id) ?? now]));
    const settled = [...seen.values()].some((since) => now - since >= settledFor);
    if (settled && yieldedAt === undefined) {
      yieldedAt = now;
      log.info("making way for a newer revision", { revision, newer: ids });
    }
    if (ids.length === 0 && yieldedAt !== undefined) {
      yieldedAt = undefined;
      log.info("the newer revision is gone, serving on", { revision });
    }
  };
  return {
    look: async () => {
      if (revision === undefined) return;
      try {
        judge(await within(patience, "reading the proxies", newer(revision)));
      } catch (thrown) {
        log.warn("the proxies can't be read", describeError(thrown));
      }
    },
    state: () => {
      if (yieldedAt === undefined) return "serving";
      return steady.now() - yieldedAt < parts.drainForMs ? "yielding" : "over";
    },
  };
};
