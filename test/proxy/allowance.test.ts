// How often and how many: nobody gets more, nobody pays for another, and memory is bounded.
import { openAllowance, openPlaces } from "@sallyport/proxy/allowance";
import { openDeadline, until, within } from "@sallyport/proxy/deadline";
import { describe, expect, it } from "vitest";
import { makeClock } from "./house.ts";

const count = (take: () => boolean, tries: number): number =>
  Array.from({ length: tries }, take).filter((taken) => taken).length;

describe("an allowance", () => {
  it("S-13 gives each address its burst and then its rate", () => {
    const steady = makeClock(0);
    const allowance = openAllowance(
      { total: { burst: 100, perSecond: 100 }, each: { burst: 3, perSecond: 2 } },
      steady,
    );
    expect(count(() => allowance.take("a"), 10)).toBe(3);
    expect(count(() => allowance.take("b"), 10)).toBe(3);
    steady.move(1_000);
    expect(count(() => allowance.take("a"), 10)).toBe(2);
    steady.move(3_600_000);
    expect(count(() => allowance.take("a"), 10)).toBe(3);
  });

  it("bounds all together, and asking costs nothing", () => {
    const allowance = openAllowance(
      { total: { burst: 4, perSecond: 0 }, each: { burst: 3, perSecond: 0 } },
      makeClock(0),
    );
    expect(count(() => allowance.has("a"), 10)).toBe(10);
    expect(["a", "b", "c"].map((address) => count(() => allowance.take(address), 10))).toEqual([3, 1, 0]);
    expect(allowance.has("d")).toBe(false);
  });

  it("gives nothing for a clock that goes back", () => {
    const steady = makeClock(10_000);
    const allowance = openAllowance({ total: { burst: 9, perSecond: 9 }, each: { burst: 1, perSecond: 1 } }, steady);
    expect(allowance.take("a")).toBe(true);
    steady.move(-5_000);
    expect(allowance.take("a")).toBe(false);
  });
});

describe("places", () => {
  it("S-13 are limited per address and in all, and come back once each", () => {
    const places = openPlaces({ total: 3, each: 2 });
    const first = places.enter("a");
    places.enter("a");
    expect(places.enter("a")).toBeUndefined();
    expect(places.enter("b")).toBeDefined();
    expect(places.enter("c")).toBeUndefined();
    first?.();
    first?.();
    expect(places.count()).toBe(2);
    expect(places.enter("c")).toBeDefined();
    expect(places.enter("a")).toBeUndefined();
  });
});

describe("a wait", () => {
  const never = new Promise<never>(() => {});

  it("ends with the work, with a signal's reason, or when its time is over", async () => {
    const controller = new AbortController();
    expect(await until(Promise.resolve(7), controller.signal)).toBe(7);
    await expect(until(Promise.reject(new Error("work")), controller.signal)).rejects.toThrow("work");
    const waiting = until(never, controller.signal);
    controller.abort(new Error("reason"));
    await expect(waiting).rejects.toThrow("reason");
    await expect(until(never, controller.signal)).rejects.toThrow("reason");
    await expect(within(5, "it", never)).rejects.toMatchObject({ code: "timeout" });
  });

  it("may be stopped and started again, with its whole time", async () => {
    const deadline = openDeadline(30, "it");
    deadline.stop();
    expect(await until(new Promise((resolve) => setTimeout(resolve, 60, "in time")), deadline.signal)).toBe("in time");
    deadline.start();
    await expect(until(never, deadline.signal)).rejects.toMatchObject({ code: "timeout", message: /it took longer/ });
  });
});
