// The heartbeat: this proxy's item in the table, written every five seconds, by which peers find it and the sweeper knows
// that its sessions live. On the way out it says so, and at the end it is marked as gone.
import { keys, toItem } from "@sallyport/core/family";
import type { Clock, Store } from "@sallyport/core/ports";
import type { ProxyTask } from "@sallyport/core/session";
import { within } from "./deadline.ts";
import { describeError, type Log } from "./log.ts";

export interface Heartbeat {
  /** Writes the item. @throws Failure when the table can't be written */
  start(): Promise<void>;
  /** Never rejects. */
  beat(): Promise<void>;
  /** Nothing is here any more. Never rejects. */
  stop(): Promise<void>;
}

const patience = 4_000;
/** A proxy that is gone is forgotten after this. */
const keepFor = 86_400_000;

export const openHeartbeat = (parts: {
  task: Pick<ProxyTask, "id" | "address" | "peerPort" | "network" | "version" | "revision">;
  store: Store;
  clock: Clock;
  log: Log;
  sessions(): number;
  draining(): boolean;
}): Heartbeat => {
  const { task, store, clock, log } = parts;
  const startedAt = clock.now();
  const write = async (heartbeatAt: number): Promise<void> => {
    const item: ProxyTask = {
      ...task,
      startedAt,
      heartbeatAt,
      draining: parts.draining(),
      sessions: parts.sessions(),
    };
    // the whole item each time: one that was removed by mistake comes back
    await within(
      patience,
      "the heartbeat",
      store.write({ put: toItem(keys.proxy(task.id), item, clock.now() + keepFor) }),
    );
  };
  const quietly = async (heartbeatAt: number): Promise<void> => {
    try {
      await write(heartbeatAt);
    } catch (thrown) {
      log.warn("the heartbeat can't be written", describeError(thrown));
    }
  };
  return {
    start: () => write(clock.now()),
    beat: () => quietly(clock.now()),
    stop: () => quietly(0),
  };
};
