// The other proxies of the network, by their heartbeats in the table. One lives while its heartbeat changes, by this proxy's own
// steady time: clocks are not compared, so that a proxy whose clock is wrong is met like any other.
import { fromItem, walk } from "@sallyport/core/family";
import type { Clock, Store } from "@sallyport/core/ports";
import { heartbeatGrace, ProxyTask } from "@sallyport/core/session";

export interface Neighbour {
  readonly task: ProxyTask;
  /** Its heartbeat was seen to change, and is not older than a proxy may be silent. */
  readonly heard: boolean;
}
export interface Neighbours {
  /** Those that have not left and are not known to have fallen silent. @throws Failure `unavailable` */
  look(): Promise<readonly Neighbour[]>;
}

/** The heartbeat seen last, since when, and whether there was another one before it. */
interface Seen {
  readonly heartbeatAt: number;
  readonly since: number;
  readonly changed: boolean;
}

export const openNeighbours = (parts: { self: string; network: string; store: Store; steady: Clock }): Neighbours => {
  let seen: ReadonlyMap<string, Seen> = new Map();
  const see = ({ id, heartbeatAt }: ProxyTask, now: number): Seen => {
    const before = seen.get(id);
    if (before?.heartbeatAt === heartbeatAt) return before;
    return { heartbeatAt, since: now, changed: before !== undefined };
  };
  return {
    look: async () => {
      const tasks: ProxyTask[] = [];
      for await (const item of walk(parts.store, "proxy#"))
        try {
          tasks.push(fromItem(ProxyTask, item));
        } catch {
          // of a version that this one can't read: nothing to go by
        }
      const now = parts.steady.now();
      const next = new Map<string, Seen>();
      const found: Neighbour[] = [];
      for (const task of tasks) {
        if (task.id === parts.self || task.network !== parts.network || task.heartbeatAt === 0) continue;
        const one = see(task, now);
        next.set(task.id, one);
        if (now - one.since < heartbeatGrace) found.push({ task, heard: one.changed });
      }
      seen = next;
      return found;
    },
  };
};
