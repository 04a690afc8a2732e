// What reaches a terminal while one waits: a line after a second, gone when it is over, and nothing of it elsewhere.
import type { Context } from "@sallyport/cli/context";
import { exitStatus } from "@sallyport/cli/exit";
import { printable, withProgress } from "@sallyport/cli/terminal";
import { describeExpiry } from "@sallyport/cli/when";
import { failureCodes } from "@sallyport/core/failure";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { hour, makeWorld, now, type World } from "./world.ts";

let world: World;
beforeEach(() => {
  vi.useFakeTimers();
  world = makeWorld();
});
afterEach(() => {
  vi.useRealTimers();
  world.close();
});
const context = (): Context => ({ ...world.context, env: { NO_COLOR: "1" }, exit: () => {} });

describe("progress", () => {
  it("says what is waited for after a second, and takes it away again", async () => {
    Object.assign(world.stderr, { isTTY: true });
    const work = Promise.withResolvers<number>();
    const shown = withProgress(context(), "listing", work.promise);
    vi.advanceTimersByTime(999);
    expect(world.stderr.text).toBe("");
    vi.advanceTimersByTime(1);
    expect(world.stderr.text).toBe("listing …");
    work.resolve(1);
    expect(await shown).toBe(1);
    expect(world.stderr.text).toBe("listing …\r\u001b[2K");
    expect(world.stdout.text).toBe("");
  });
  it("says nothing when it was quick, failed quickly, or nobody looks", async () => {
    Object.assign(world.stderr, { isTTY: true });
    await withProgress(context(), "listing", Promise.resolve());
    await expect(withProgress(context(), "listing", Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(vi.getTimerCount()).toBe(0);
    Object.assign(world.stderr, { isTTY: false });
    const work = Promise.withResolvers<void>();
    const shown = withProgress(context(), "listing", work.promise);
    vi.advanceTimersByTime(5000);
    work.resolve();
    await shown;
    expect(world.stderr.text).toBe("");
  });
});

it("S-41 printable text has no control, no separator and no direction in it, and all else as it was", () => {
  expect(printable("a\0\u001b[31m\u009b\u2028\u202eb é 漢 \\")).toBe("a\\x00\\x1b[31m\\x9b\\u2028\\u202eb é 漢 \\");
});

it("an expiry says when, and how long from now", () => {
  expect(describeExpiry(now + 8 * hour + 1, now)).toBe("2026-09-21T22:13:20Z (in 8h)");
  // an answer takes a moment: what was given for eight hours has not lost one
  expect(describeExpiry(now + 8 * hour - 900, now)).toContain("(in 8h)");
  expect(describeExpiry(now + 30_000, now)).toContain("(in 30s)");
  expect(describeExpiry(now, now)).toContain("(expired)");
});

it("every failure has its exit status: usage 2, denied 3, not logged in 4, else 1", () => {
  const special = { invalid: 2, denied: 3, not_logged_in: 4 };
  expect(exitStatus).toEqual({ ...Object.fromEntries(failureCodes.map((code) => [code, 1])), ...special });
});
