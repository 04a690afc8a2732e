// What happens each second: live sessions are checked, the balancer and ECS learn how things are, every five seconds the table does,
// and every minute the log.
import { Failure } from "@sallyport/core/failure";
import type { AuditSink, Clock } from "@sallyport/core/ports";
import { heartbeatEvery } from "@sallyport/core/session";
import type { Heads } from "./heads.ts";
import type { Heartbeat } from "./heartbeat.ts";
import type { Ledger } from "./ledger.ts";
import type { Log } from "./log.ts";
import { openWish, type Protection } from "./protection.ts";
import type { Sessions } from "./session.ts";
import type { Succession } from "./succession.ts";
import type { Watch } from "./watch.ts";

const pulseEvery = 60_000;

export interface RhythmParts {
  readonly clock: Clock;
  readonly steady: Clock;
  readonly log: Log;
  readonly sink: AuditSink;
  readonly protection?: Protection;
  readonly watch: Watch;
  readonly sessions: Sessions;
  readonly succession: Succession;
  readonly heads: Heads;
  readonly ledger: Ledger;
  readonly heartbeat: Heartbeat;
  leaving(): boolean;
  /** Connections that have not logged in. */
  waiting(): number;
}

/** Ends who is still there, in their own words. */
export const endAll = (sessions: Sessions): void => {
  for (const session of sessions.all())
    session.cut(new Failure("draining", "this proxy is going away", { hint: "connect again" }));
};

/** How it is, each minute: what the metrics of a proxy at rest are made of. */
const openPulse = ({ clock, steady, log, sink, sessions, ledger, waiting }: RhythmParts): (() => void) => {
  let pulseAt = steady.now();
  return () => {
    if (steady.now() - pulseAt < pulseEvery) return;
    pulseAt = steady.now();
    const now = clock.now();
    const audit = { auditFill: sink.fill(), auditBehindFor: Math.max(0, now - (sink.waitingSince?.() ?? now)) };
    log.info("pulse", { waiting: waiting(), sessions: sessions.count(), owed: ledger.owed(), ...audit });
  };
};

/** To be called each second; the call never rejects. */
export const openRhythm = (parts: RhythmParts): (() => Promise<void>) => {
  const { steady, sessions, succession, heads, heartbeat, ledger, watch, protection, leaving } = parts;
  const pulse = openPulse(parts);
  const wish = openWish(steady);
  let beatAt = steady.now();
  return async () => {
    const checked = watch.check();
    pulse();
    if (succession.state() === "over") {
      sessions.drain();
      endAll(sessions);
    }
    // ECS may be slow to answer, and holds up nothing
    void protection?.want(wish({ sessions: sessions.count(), leaving: leaving() }));
    if (steady.now() - beatAt >= heartbeatEvery) {
      beatAt = steady.now();
      // what waits for a sink or a key holds up no heartbeat
      void heads.tick();
      await Promise.all([succession.look().then(heartbeat.beat), ledger.settle()]);
    }
    await checked;
  };
};
