// What is kept in people's names goes when anybody's access changes, and not before.
import { openSessions, type SessionParts } from "@sallyport/proxy/session";
import type { Snapshot } from "@sallyport/proxy/snapshot";
import { openWatch } from "@sallyport/proxy/watch";
import { expect, it } from "vitest";

it("S-08 the epoch's step drops it, with or without a live session", async () => {
  let epoch = 7;
  let dropped = 0;
  const silent = { info: () => {}, warn: () => {}, error: () => {} };
  const watch = openWatch({
    snapshot: { epoch: async () => epoch } as Snapshot,
    sessions: openSessions({} as SessionParts),
    steady: { now: () => 0 },
    log: silent,
    moved: () => {
      dropped++;
    },
  });
  await watch.check();
  await watch.check();
  expect(dropped).toBe(0);
  epoch = 8;
  await watch.check();
  await watch.check();
  expect(dropped).toBe(1);
});
