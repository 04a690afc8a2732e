// What waits for its answer in a session.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { openPending } from "@sallyport/wire/mongodb/session";
import { expect, test } from "vitest";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

test("S-23 what was answered is let go of, though something always waits", () => {
  const pending = openPending();
  const question = (requestId: number) => ({ requestId, opcode: 2013, name: "ping", exhaust: false });
  pending.ask(question(0));
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let id = 1; id <= 500_000; id++) {
    pending.ask(question(id));
    pending.done();
  }
  collect();
  expect(pending.first()?.requestId).toBe(500_000);
  expect(pending.count()).toBe(1);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(10_000_000);
});
