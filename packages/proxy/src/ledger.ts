// What the table keeps of a session: its item, the events of its start and end, and the counts it takes part in. Nothing
// begins that could not be written; what can't be written at the end is owed, and tried until it is.
import { type EventName, eventChange } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { keys, toItem, ttlAfter } from "@sallyport/core/family";
import type { AuditSink, Change, Clock, Head, Random, Store } from "@sallyport/core/ports";
import type { Seal } from "@sallyport/core/seal";
import type { Session } from "@sallyport/core/session";
import { release, spend } from "@sallyport/core/token";
import { fullFrom } from "./audit.ts";
import { within } from "./deadline.ts";
import type { Heads } from "./heads.ts";
import { describeError, type Log } from "./log.ts";
import type { LiveSession } from "./session.ts";

export interface Ledger {
  /** Takes the session's counts and writes that it begins. @throws Failure `audit_full`, `too_many`, `bad_token` (used up), `unavailable` */
  begin(session: LiveSession): Promise<void>;
  /** Writes that it ended and gives its counts back. Never rejects; for a session that began. */
  finish(session: LiveSession, by: string, failure: Failure | undefined): Promise<void>;
  /** An event beside a session's own life; lost with a log line when the table can't be written. */
  note(name: EventName, actor: string, details: Readonly<Record<string, unknown>>): Promise<void>;
  /** Tries what is owed. Never rejects. */
  settle(): Promise<void>;
  owed(): number;
}

export interface LedgerParts {
  readonly proxy: string;
  readonly store: Store;
  readonly sink: AuditSink;
  readonly heads: Pick<Heads, "signed">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type Step = () => Promise<unknown>;
type End = Head & { readonly sealed?: Seal };
interface Debt {
  readonly steps: Step[];
}

const patience = 10_000;
/** Sessions' items are kept for so long after their end; the sink keeps what must last. */
const keepFor = 90 * 86_400_000;
const isConflict = (thrown: unknown): boolean => thrown instanceof Failure && thrown.code === "conflict";
const ignoreConflict = (thrown: unknown): void => {
  if (!isConflict(thrown)) throw thrown;
};
const write = <T>(work: Promise<T>): Promise<T> => within(patience, "writing to the table", work);

const factsOf = (session: LiveSession): Readonly<Record<string, unknown>> => {
  const { id, token, visitor } = session;
  return {
    session: id,
    database: token.database,
    protocol: token.protocol,
    dbUser: token.dbUser,
    ...(token.dbName === undefined ? {} : { dbName: token.dbName }),
    token: token.id,
    way: visitor.way,
    client: visitor.client,
  };
};

export const openLedger = (parts: LedgerParts): Ledger => {
  const { proxy, store, sink, heads, clock, random, log } = parts;
  const counted = new WeakSet<LiveSession>();
  let debts: Debt[] = [];

  const event = (name: EventName, actor: string, details: Readonly<Record<string, unknown>>): Change =>
    eventChange({ name, at: clock.now(), actor, details: { proxy, ...details } }, random);

  const count = async (session: LiveSession): Promise<void> => {
    const { token } = session;
    const most = session.grant().maxConnections;
    if (most === undefined) return;
    try {
      await write(
        store.write({
          update: keys.limit(token.user, token.database),
          add: { live: 1 },
          if: { below: { live: most } },
        }),
      );
      counted.add(session);
    } catch (thrown) {
      if (!isConflict(thrown)) throw thrown;
      throw new Failure("too_many", `you have ${most} connections to ${token.database} already`, {
        hint: "close one, or ask for a higher max_connections",
        cause: thrown,
      });
    }
  };
  const uncount = (session: LiveSession): readonly Step[] =>
    counted.has(session)
      ? [() => store.write({ update: keys.limit(session.token.user, session.token.database), add: { live: -1 } })]
      : [];

  /** What a session that began gives back. */
  const returns = (session: LiveSession): readonly Change[] => {
    const { token } = session;
    const live = { live: -1 };
    return [
      ...(counted.has(session) ? [{ update: keys.limit(token.user, token.database), add: live }] : []),
      ...("bearer" in token.way ? [{ update: keys.spend(token.id), add: live }] : []),
    ];
  };

  /** Runs the steps in order; the rest is owed from the first that can't be done. */
  const pay = async (debt: Debt): Promise<void> => {
    for (let step = debt.steps[0]; step; step = debt.steps[0])
      try {
        await write(step());
        debt.steps.shift();
      } catch (thrown) {
        // an earlier try of ours did it, or the sweeper: whoever ends a session gives back what it held, in the same write
        if (isConflict(thrown)) return;
        debts.push(debt);
        log.warn("a session's end can't be written yet", describeError(thrown));
        return;
      }
  };

  const itemOf = (session: LiveSession): Session => {
    const { id, token, visitor, startedAt } = session;
    return {
      id,
      proxy,
      user: token.user,
      database: token.database,
      protocol: token.protocol,
      dbUser: token.dbUser,
      ...(token.dbName === undefined ? {} : { dbName: token.dbName }),
      token: token.id,
      ...visitor,
      state: "live",
      startedAt,
      counted: counted.has(session),
    };
  };

  const close = (session: LiveSession, reason: string, end?: End): Change => ({
    update: keys.session(proxy, session.id),
    set: {
      state: "ended",
      endedAt: clock.now(),
      reason,
      ttl: ttlAfter(clock.now() + keepFor),
      ...end,
    },
    if: { equals: { state: "live" } },
  });

  const seal = async (id: string): Promise<End | undefined> => {
    try {
      await write(sink.settled("spooled"));
    } catch (thrown) {
      log.warn("the audit can't be written", describeError(thrown));
    }
    const end = sink.seal(id);
    return end && heads.signed(id, end);
  };

  const note: Ledger["note"] = async (name, actor, details) => {
    try {
      await write(store.write(event(name, actor, details)));
    } catch (thrown) {
      log.warn("an event can't be written", { event: name, ...describeError(thrown) });
    }
  };

  const full = (): Failure =>
    new Failure("audit_full", "no new session can be recorded now", { hint: "try again in a minute" });

  /** Takes and writes what a session needs; `undo` grows with what was taken. */
  const take = async (session: LiveSession, undo: Step[]): Promise<void> => {
    const { token, id } = session;
    if (sink.fill() >= fullFrom) throw full();
    await count(session);
    undo.push(...uncount(session));
    await write(spend(store, token, clock.now()));
    undo.push(() => release(store, token));
    const facts = factsOf(session);
    if (!session.note({ event: "session.start", user: token.user, ...facts })) throw full();
    let end: End | undefined;
    undo.unshift(
      async () => {
        end ??= await seal(id);
      },
      // written or not, which a lost answer does not tell: it is not live, and its records go so far
      () => store.write(close(session, "not begun", end)).catch(ignoreConflict),
    );
    const item = toItem(keys.session(proxy, id), itemOf(session));
    await write(store.transact([{ put: item, if: { absent: true } }, event("session.start", token.user, facts)]));
    if (session.grant().audit === "durable") await write(sink.settled());
  };

  const begin = async (session: LiveSession): Promise<void> => {
    const undo: Step[] = [];
    try {
      await take(session, undo);
    } catch (thrown) {
      const reason = thrown instanceof Failure ? `${thrown.code}: ${thrown.message}` : "internal";
      if (session.begun()) session.note({ event: "session.end", user: session.token.user, reason });
      log.info("a session did not begin", { ...factsOf(session), ...describeError(thrown) });
      if (thrown instanceof Failure && thrown.code !== "unavailable" && thrown.code !== "timeout")
        void note("session.deny", session.token.user, { ...factsOf(session), reason });
      void pay({ steps: undo });
      throw thrown;
    }
  };

  const finish = async (session: LiveSession, by: string, failure: Failure | undefined): Promise<void> => {
    const { token } = session;
    const reason = failure ? `${failure.code}: ${failure.message}` : by;
    const facts = { ...factsOf(session), by, reason, lastedFor: Math.max(0, clock.now() - session.startedAt) };
    if (!session.note({ event: "session.end", user: token.user, ...facts }))
      log.error("the end of a session can't be recorded", { session: session.id });
    const end = await seal(session.id);
    const last = [close(session, reason, end), event("session.end", token.user, facts), ...returns(session)];
    await pay({ steps: [() => store.transact(last)] });
  };

  return {
    begin,
    finish,
    note,
    settle: async () => {
      const due = debts;
      debts = [];
      for (const debt of due) await pay(debt);
    },
    owed: () => debts.length,
  };
};
