// Making way for a newer revision of the deployment: a task that has seen one serve for a while, by the proxies' heartbeats, asks
// the balancer for nobody new. Those it has stay until they end, or the time for that is over. When the newer ones vanish again,
// as in a deployment that is taken back, it serves on.
import { fromItem, walk } from "@sallyport/core/family";
import type { Clock, Store } from "@sallyport/core/ports";
import { isAlive, ProxyTask } from "@sallyport/core/session";
import { within } from "./deadline.ts";
import { describeError, type Log } from "./log.ts";

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
  self: string;
  network: string;
  /** Counts up with each deployment; without one this task makes way for nobody. */
  revision: number | undefined;
  drainForMs: number;
  store: Store;
  clock: Clock;
  steady: Clock;
  log: Log;
}): Succession => {
  const { revision, steady, log } = parts;
  /** Newer tasks, and since when each was seen without a break. */
  let seen: ReadonlyMap<string, number> = new Map();
  let yieldedAt: number | undefined;

  const newer = async (than: number): Promise<readonly string[]> => {
    const found: string[] = [];
    for await (const item of walk(parts.store, "proxy#"))
      try {
        const task = fromItem(ProxyTask, item);
        const { id, network, draining } = task;
        if (id === parts.self || network !== parts.network || draining || !isAlive(task, parts.clock.now())) continue;
        if (task.revision !== undefined && task.revision > than) found.push(id);
      } catch {
        // of a version that this one can't read: nothing to go by
      }
    return found;
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
