// The audit's half of a relay: records as they are made, and the promises of those that must be durable first.
import type { Statement } from "@sallyport/core/audit";
import type { Live } from "./protocol.ts";

export interface Recorder {
  readonly record: (statement: Statement) => void;
  /** The promises of records made since it was last asked; undefined when there are none. */
  readonly waits: () => readonly Promise<void>[] | undefined;
}

export const openRecorder = (live: Live): Recorder => {
  let promises: Promise<void>[] | undefined;
  return {
    record: (statement) => {
      const durable = live.record(statement);
      if (!durable || durable === promises?.at(-1)) return;
      // the one who waits may be gone by then
      durable.catch(() => {});
      promises ??= [];
      promises.push(durable);
    },
    waits: () => {
      const made = promises;
      promises = undefined;
      return made;
    },
  };
};
