// The watch over live sessions: every second the epoch is read and time limits are checked; when the epoch moved, those
// decided before it are decided again (at most every two seconds), and all of them each minute. While the table can't
// be read, strict sessions are cut after five seconds and best-effort ones go on.
import { Failure } from "@sallyport/core/failure";
import type { Clock } from "@sallyport/core/ports";
import { describeError, type Log } from "./log.ts";
import type { LiveSession, Sessions } from "./session.ts";
import { rest } from "./slice.ts";
import type { Snapshot } from "./snapshot.ts";

export interface Watch {
  /** One round; to be called each second. Reads of the table never run twice at once. Never rejects. */
  check(): Promise<void>;
}

const againEvery = 2_000;
const allEvery = 60_000;
const strictPatience = 5_000;

export const openWatch = (parts: {
  snapshot: Snapshot;
  sessions: Sessions;
  steady: Clock;
  log: Log;
  moved?: () => void;
}): Watch => {
  const { snapshot, sessions, steady, log, moved } = parts;
  let seen: number | undefined;
  let againAt = Number.NEGATIVE_INFINITY;
  let allAt = steady.now();
  let failingSince: number | undefined;
  let checking: Promise<void> | undefined;

  const decideAgain = async (stale: readonly LiveSession[], epoch: number): Promise<void> => {
    const facts = await snapshot.readLive(
      stale.map(({ token }) => ({ user: token.user, database: token.database, token: token.id })),
      epoch,
    );
    for (const [at, session] of stale.entries()) {
      const own = facts[at];
      if (own) session.decideAgain(own, epoch);
      await rest();
    }
  };

  const checkEpoch = async (): Promise<void> => {
    const epoch = await snapshot.epoch();
    if (seen !== undefined && seen !== epoch) moved?.();
    seen = epoch;
    const now = steady.now();
    const all = now - allAt >= allEvery;
    const stale = all ? sessions.all() : sessions.all().filter((session) => session.epoch() !== epoch);
    if (stale.length === 0 || (!all && now - againAt < againEvery)) return;
    againAt = now;
    await decideAgain(stale, epoch);
    if (all) allAt = now;
  };

  const cutStrict = (): void => {
    if (failingSince === undefined || steady.now() - failingSince < strictPatience) return;
    for (const session of sessions.all().filter((one) => one.grant().outage === "strict"))
      session.cut(new Failure("unavailable", "the session ended: whether it is still allowed can't be checked"));
  };

  const round = async (): Promise<void> => {
    const beganAt = steady.now();
    try {
      await checkEpoch();
      if (failingSince !== undefined) log.info("the table can be read again");
      failingSince = undefined;
    } catch (thrown) {
      if (failingSince === undefined) log.warn("the table can't be read", describeError(thrown));
      failingSince ??= beganAt;
    }
  };

  return {
    check: async () => {
      for (const session of sessions.all()) session.checkTime();
      // the table may be slow; what needs no table does not wait for it
      cutStrict();
      checking ??= round().finally(() => {
        checking = undefined;
      });
      await checking;
      cutStrict();
    },
  };
};
