// Sweeping: the sessions of proxies that fell silent are closed as lost, and the counts they held are given back. Silent is one
// whose heartbeat has not changed since an earlier sweep marked it: proxies' clocks are not compared with ours. Each session is
// one transaction that only a live one lets through, so a sweep may run twice, late or beside another.
import { eventChange } from "./audit.ts";
import { Failure } from "./failure.ts";
import { keys, ttlAfter, walk } from "./family.ts";
import type { Change, Clock, Random, Store } from "./ports.ts";
import { isGone, ProxyTask, Session } from "./session.ts";

export interface Swept {
  /** Proxies that were forgotten. */
  readonly proxies: readonly string[];
  /** Sessions that were closed. */
  readonly sessions: readonly string[];
  /** What could not be done this time; the next sweep tries again. */
  readonly failures: readonly string[];
}
interface Broom {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
}

/** Sessions' items stay to be listed; the sink keeps what must last. */
const keepFor = 90 * 86_400_000;
const isConflict = (thrown: unknown): boolean => thrown instanceof Failure && thrown.code === "conflict";

/** The writes that close a live session whose proxy is gone. */
export const closeLost = (session: Session, now: number, random: Random): readonly Change[] => {
  const { id, proxy, user, database, token, seq, head } = session;
  const details = { session: id, proxy, user, database, token, startedAt: session.startedAt, seq, head };
  return [
    {
      update: keys.session(proxy, id),
      set: { state: "lost", endedAt: now, reason: "its proxy is gone", ttl: ttlAfter(now + keepFor) },
      if: { equals: { state: "live" } },
    },
    eventChange({ name: "session.lost", at: now, actor: "sweep", details }, random),
    // the plain port takes bearer tokens only, which count
    ...(session.way === "plain"
      ? [{ update: keys.spend(token), add: { live: -1 }, set: { ttl: ttlAfter(now + keepFor) } }]
      : []),
    ...(session.counted ? [{ update: keys.limit(user, database), add: { live: -1 } }] : []),
  ];
};

/** Closes what one proxy left behind. True when nothing is left. */
const sweepProxy = async (
  { store, clock, random }: Broom,
  proxy: string,
  closed: string[],
  failures: string[],
): Promise<boolean> => {
  let clean = true;
  for await (const item of walk(store, keys.session(proxy, "").pk)) {
    const session = Session.safeParse(item).data;
    if (session && session.state !== "live") continue;
    try {
      if (!session) throw new Failure("internal", `session ${item.sk} can't be read`);
      await store.transact(closeLost(session, clock.now(), random));
      closed.push(session.id);
    } catch (thrown) {
      // a conflict means that somebody else closed it
      if (isConflict(thrown)) continue;
      clean = false;
      failures.push(thrown instanceof Error ? thrown.message : "unknown error");
    }
  }
  return clean;
};

/** Marks a heartbeat that was not seen before. */
const mark = async ({ store, clock }: Broom, { id, heartbeatAt, seenAt }: ProxyTask): Promise<void> => {
  if (seenAt !== undefined) return;
  await store.write({ update: keys.proxy(id), set: { seenAt: clock.now() }, if: { equals: { heartbeatAt } } });
};
/** Forgets a proxy, unless it came back meanwhile. */
const forget = async ({ store }: Broom, { id, heartbeatAt, seenAt }: ProxyTask): Promise<void> => {
  const seen = seenAt === undefined ? {} : { seenAt };
  await store.write({ remove: keys.proxy(id), if: { equals: { heartbeatAt, ...seen } } });
};

export const sweep = async (broom: Broom): Promise<Swept> => {
  const { store, clock } = broom;
  const [proxies, sessions, failures]: [string[], string[], string[]] = [[], [], []];
  for await (const item of walk(store, keys.proxy("").pk)) {
    const task = ProxyTask.safeParse(item).data;
    if (!task) {
      failures.push(`proxy ${item.sk} can't be read`);
      continue;
    }
    const gone = isGone(task, clock.now());
    if (gone && !(await sweepProxy(broom, task.id, sessions, failures))) continue;
    try {
      await (gone ? forget(broom, task) : mark(broom, task));
      if (gone) proxies.push(task.id);
    } catch (thrown) {
      // a conflict means that it beat meanwhile
      if (!isConflict(thrown)) failures.push(thrown instanceof Error ? thrown.message : "unknown error");
    }
  }
  return { proxies, sessions, failures };
};
