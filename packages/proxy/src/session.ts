// Live sessions: the registry, and what each may do. A session is registered in the moment it is decided on, so that no
// change can slip between the decision and the watch over it. Whatever ends a session ends it here, once, with a reason.
import { admit, type Denial, decide, explainDenial, type Grant, isDenial, type Subject } from "@sallyport/core/access";
import type { Statement } from "@sallyport/core/audit";
import type { Database } from "@sallyport/core/database";
import { formatDuration } from "@sallyport/core/duration";
import { Failure } from "@sallyport/core/failure";
import { fromItem } from "@sallyport/core/family";
import type { AuditSink, Clock, Random } from "@sallyport/core/ports";
import { ConnectToken } from "@sallyport/core/token";
import type { User } from "@sallyport/core/user";
import type { Live } from "@sallyport/wire/protocol";
import { within } from "./deadline.ts";
import type { Facts, View } from "./snapshot.ts";

/** A token redeemed and decided on. */
export interface Admission {
  readonly token: ConnectToken;
  readonly user: User;
  readonly database: Database;
  readonly grant: Grant;
  /** The epoch it was decided at. */
  readonly epoch: number;
}
export interface Visitor {
  readonly way: "plain" | "gate";
  /** Where the client comes from, address and port. */
  readonly client: string;
}

export interface LiveSession {
  readonly id: string;
  readonly startedAt: number;
  readonly visitor: Visitor;
  readonly token: ConnectToken;
  readonly database: Database;
  /** All but what needs the other sessions: login.ts adds that. */
  readonly live: Omit<Live, "cancel">;
  grant(): Grant;
  /** The epoch of the last decision. */
  epoch(): number;
  /** Ends it; the first reason stands. */
  cut(failure: Failure): void;
  /** Records something that is no statement. False when the spool is full. */
  note(said: Readonly<Record<string, unknown>>): boolean;
  /** Anything recorded yet? */
  begun(): boolean;
  /** Decides again; what is no longer allowed is cut. */
  decideAgain(facts: Facts, epoch: number): void;
  /** Cuts it when its time or its patience is over. */
  checkTime(): void;
  /** Out of the registry. */
  leave(): void;
}

export interface Sessions {
  /** @throws Failure `draining` */
  open(admission: Admission, visitor: Visitor): LiveSession;
  all(): readonly LiveSession[];
  count(): number;
  /** From now on no session is opened. */
  drain(): void;
  draining(): boolean;
}

export interface SessionParts {
  readonly sink: AuditSink;
  readonly clock: Clock;
  /** Never jumps; for how long something lasted. */
  readonly steady: Clock;
  readonly random: Random;
  view(): View;
}

/** What a note weighs in the spool. */
const noteSize = 1024;
/** From here on whoever says more waits until the spool is written: a hasty client must not fill it for everybody. */
const pressedFrom = 0.5;
const pressedFor = 5_000;

export const makeId = (prefix: string, random: Random): string =>
  `${prefix}_${Buffer.from(random.bytes(15)).toString("hex")}`;

const ended = (why: string): Failure => new Failure("ended", why);

/** Why a session of this token on this database can't go on, whatever the roles say. */
const objection = (token: ConnectToken, database: Database, facts: Facts, now: number): string | undefined => {
  if (!facts.user || token.issuedAt < facts.user.createdAt) return `user ${token.user} is gone`;
  if (!facts.database) return `database ${token.database} is gone`;
  if (facts.database.resourceId !== database.resourceId) return `database ${token.database} was replaced by another`;
  // expired tokens are tidied away, and expiry of a token never ends a session
  if (!facts.token) return now < token.expiresAt ? "its token is gone" : undefined;
  return fromItem(ConnectToken, facts.token).revokedAt === undefined ? undefined : "its token was revoked";
};

const openSession = (parts: SessionParts, admission: Admission, visitor: Visitor, leave: () => void): LiveSession => {
  const { sink, clock, steady } = parts;
  const { token, database } = admission;
  const id = makeId("ses", parts.random);
  const startedAt = clock.now();
  const cutter = new AbortController();
  let { user, grant, epoch } = admission;
  /** As last read: its labels may have changed. */
  let known = database;
  let begun = false;
  let active = false;
  /** When the bytes came that are being recorded: asked once for all that is said in them. */
  let saidAt: number | undefined;
  let activeAt = steady.now();
  /** The grant's end on the clock that does not jump: from the start, or a wall clock set back since then would move it. */
  const steadyStart = steady.now();
  const steadyEnd = (): number => steadyStart + (grant.until - startedAt);

  /** What the signal says, without asking it for every statement. */
  let over = false;
  const cut = (failure: Failure): void => {
    over = true;
    cutter.abort(failure);
  };
  const subject = (): Subject => ({ user, loginExpiresAt: token.loginExpiresAt });
  const append = (statement: Statement, at: number): boolean => {
    const accepted = sink.append(id, at, statement) === "accepted";
    begun ||= accepted;
    return accepted;
  };
  const refuse = (failure: Failure): Promise<never> => {
    cut(failure);
    const refused = Promise.reject(failure);
    // the relay may be gone already
    refused.catch(() => {});
    return refused;
  };
  let room: Promise<void> | undefined;
  /** When the spool is written, or can't be now: then it takes in what it still can. */
  const makeRoom = (): Promise<void> => {
    room ??= within(pressedFor, "writing the audit", sink.settled("spooled"))
      .catch(() => {})
      .finally(() => {
        room = undefined;
      });
    return room;
  };
  const record = (statement: Statement): Promise<void> | undefined => {
    saidAt ??= clock.now();
    const accepted = append(statement, saidAt);
    // what a cut came in the middle of is told all the same, and goes no further
    if (over) return refuse(cutter.signal.reason);
    if (!accepted)
      return refuse(new Failure("audit_full", "the session ended because its statements can't be recorded"));
    if (grant.audit !== "durable") return sink.fill() < pressedFrom ? undefined : makeRoom();
    return sink
      .settled()
      .catch((cause: unknown) =>
        refuse(new Failure("audit_full", "the session ended because its statements can't be recorded", { cause })),
      );
  };
  const again = (view: View, ask: { user: string; name: string | undefined }, on: Database): Grant | Denial =>
    decide(subject(), view.roles, view.locks, on, { ...ask, since: startedAt, session: id }, clock.now());

  /** @throws Failure `ended` with the reason why it must end */
  const decideAgain = (facts: Facts, at: number): void => {
    const why = objection(token, database, facts, clock.now());
    if (why !== undefined || !facts.user || !facts.database) throw ended(`the session ended: ${why}`);
    user = facts.user;
    known = facts.database;
    const decision = again(facts.view, { user: token.dbUser, name: token.dbName }, known);
    if (isDenial(decision)) throw ended(`the session ended: ${explainDenial(decision)}`);
    grant = decision;
    epoch = at;
  };

  return {
    id,
    startedAt,
    visitor,
    token,
    database,
    live: {
      guard: (access) =>
        cutter.signal.aborted
          ? { denied: true, reasons: [{ code: "option", text: "the session has ended" }] }
          : admit(grant, access, (ask) => again(parts.view(), ask, known)),
      record,
      touch: () => {
        active = true;
        saidAt = undefined;
      },
      ended: cutter.signal,
    },
    grant: () => grant,
    epoch: () => epoch,
    cut,
    note: (said) => append({ size: noteSize, say: (line) => line.members(said) }, clock.now()),
    begun: () => begun,
    decideAgain: (facts, at) => {
      try {
        decideAgain(facts, at);
      } catch (cause) {
        cut(
          cause instanceof Failure && cause.code === "ended"
            ? cause
            : new Failure("ended", "the session ended: access can't be decided", { cause }),
        );
      }
    },
    checkTime: () => {
      const now = steady.now();
      if (active) activeAt = now;
      active = false;
      // both clocks: a wall clock set back must not lengthen a session, a steady one stops while a laptop sleeps
      if (now >= steadyEnd() || clock.now() >= grant.until) cut(ended("the session's time is over"));
      else if (grant.idleFor !== undefined && now - activeAt >= grant.idleFor)
        cut(ended(`the session was idle for ${formatDuration(grant.idleFor)}`));
    },
    leave,
  };
};

export const openSessions = (parts: SessionParts): Sessions => {
  const live = new Map<string, LiveSession>();
  let draining = false;
  return {
    open: (admission, visitor) => {
      if (draining) throw new Failure("draining", "this proxy is going away", { hint: "connect again" });
      const session = openSession(parts, admission, visitor, () => live.delete(session.id));
      live.set(session.id, session);
      return session;
    },
    all: () => [...live.values()],
    count: () => live.size,
    drain: () => {
      draining = true;
    },
    draining: () => draining,
  };
};
