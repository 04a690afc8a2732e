// A session by itself: what it does when the audit is slow, can't be written, or the session is over; and its two clocks.
import type { Statement } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { keys, toItem } from "@sallyport/core/family";
import type { AuditSink } from "@sallyport/core/ports";
import type { ConnectToken } from "@sallyport/core/token";
import { type Lines, openSpool } from "@sallyport/proxy/audit";
import { openSessions } from "@sallyport/proxy/session";
import { expect, it } from "vitest";
import { makeDatabase, makeRole, now, rolesOf } from "../core/make.ts";
import { failed, grantFor } from "../wire/door.ts";
import { makeClock } from "./house.ts";

const token: ConnectToken = {
  ...{ id: "a".repeat(64), user: "ana", database: "orders", protocol: "postgres", dbUser: "reader", dbName: "orders" },
  ...{ session: "s".repeat(64), loginExpiresAt: now + 12 * 3_600_000, issuedAt: now, expiresAt: now + 900_000 },
  way: { bearer: 20 },
};
const user = { name: "ana", roles: ["all"], traits: {}, state: "active", createdAt: 0, createdBy: "root", revision: 1 };

const open = (sink: AuditSink) => {
  const clock = makeClock(now);
  const steady = makeClock(1_000_000);
  const view = { epoch: 1, roles: new Map(), locks: [] };
  const random = { bytes: (count: number) => new Uint8Array(count) };
  const sessions = openSessions({ sink, clock, steady, random, view: () => view });
  const facts = { token, user: { ...user, state: "active" as const }, database: makeDatabase() };
  const session = sessions.open({ ...facts, grant: grantFor(), epoch: 1 }, { way: "plain", client: "10.0.0.1:1" });
  return { session, clock, steady, sessions };
};

/** A disk that is let write by hand. */
const openDisk = () => {
  const state = { bad: false, written: "", let: Promise.withResolvers<void>() };
  const lines: Lines = {
    write: async (runs) => {
      if (state.bad) throw new Error("no space left");
      await state.let.promise;
      state.written += Buffer.concat(runs).toString();
    },
    sync: async () => {},
    close: async () => {},
  };
  return { state, lines };
};
const statement = (size = 800): Statement => ({
  size,
  say: (line) => line.members({ type: "query", text: "x".repeat(size) }),
});

it("S-36 a client that says more than can be written waits, and fills the spool for nobody", async () => {
  const { state, lines } = openDisk();
  const sink = openSpool(lines, { bytes: 100_000 });
  const { session } = open(sink);
  let wait: Promise<void> | undefined;
  for (let said = 0; said < 60 && !wait; said++) wait = session.live.record(statement());
  expect(wait).toBeInstanceOf(Promise);
  expect(sink.fill()).toBeGreaterThanOrEqual(0.5);
  expect(sink.fill()).toBeLessThan(0.6);
  // all that is said meanwhile waits for the same writing
  expect(session.live.record(statement())).toBe(wait);
  state.let.resolve();
  await wait;
  expect(sink.fill()).toBe(0);
  expect(session.live.record(statement())).toBeUndefined();
  expect(session.live.ended.aborted).toBe(false);
  await sink.close();
});

it("S-42 a disk that takes nothing holds nobody up until the spool is full", async () => {
  const { state, lines } = openDisk();
  state.bad = true;
  const sink = openSpool(lines, { bytes: 100_000 });
  const { session } = open(sink);
  let taken = 0;
  for (; sink.fill() < 0.99 && taken < 200; taken++) await session.live.record(statement());
  expect(taken).toBeGreaterThan(80);
  expect(session.live.ended.aborted).toBe(false);
  expect(await failed(session.live.record(statement()) ?? Promise.resolve())).toMatchObject({ code: "audit_full" });
  expect(session.live.ended.reason).toMatchObject({ code: "audit_full" });
  state.bad = false;
  state.let.resolve();
  await sink.close();
  expect(state.written.trim().split("\n")).toHaveLength(taken);
});

it("S-42 what a cut came in the middle of is still told, and goes no further", async () => {
  const { state, lines } = openDisk();
  state.let.resolve();
  const sink = openSpool(lines, { bytes: 100_000 });
  const { session } = open(sink);
  session.cut(new Failure("ended", "the session ended: its token was revoked"));
  const told = session.live.record({ size: 128, say: (line) => line.members({ type: "copy", copied: 1_000_000 }) });
  expect(await failed(told ?? Promise.resolve())).toMatchObject({ code: "ended" });
  await sink.close();
  expect(state.written).toContain('"copied":1000000');
});

it("S-50 a wall clock set back lengthens no session, however often it is decided again", () => {
  const { lines } = openDisk();
  const { session, clock, steady } = open(openSpool(lines, { bytes: 100_000 }));
  const lasts = session.grant().until - now;
  const decideAgain = (): void => {
    const allow = { db_labels: { "*": ["*"] }, db_users: ["*"], db_names: ["*"] };
    const roles = rolesOf(makeRole("all", { allow }));
    const item = toItem(keys.connectToken(token.id), token);
    const view = { epoch: 2, roles, locks: [] };
    session.decideAgain({ view, user: { ...user, state: "active" }, database: makeDatabase(), token: item }, 2);
  };
  decideAgain();
  expect(session.grant().until).toBe(now + lasts);
  clock.move(-3_600_000);
  steady.move(lasts - 1_000);
  decideAgain();
  session.checkTime();
  expect(session.live.ended.aborted).toBe(false);
  steady.move(1_000);
  session.checkTime();
  expect(session.live.ended.reason).toMatchObject({ message: expect.stringContaining("time is over") });
});
