// Protection from being stopped: while sessions live, ECS is asked, through the agent beside this task, not to end it for a
// deployment or to scale in. Asked for an hour at a time and again long before that, so that a task that hangs is not kept for
// ever. Without an answer nothing else changes: then SIGTERM's own drain is what sessions have.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
import type { Clock } from "@sallyport/core/ports";
import * as z from "zod";
import { describeError, type Log } from "./log.ts";

export interface Protection {
  /** Asks when what is wanted is not so, or will soon not be. Never rejects. */
  want(wanted: boolean): Promise<void>;
  /** As ECS last said. */
  active(): boolean;
}

/** ECS takes 1 to 2,880. */
const expiresInMinutes = 60;
const renewAfter = 20 * 60_000;
/** Idle for less than this a task stays protected: sessions come and go, and ECS counts requests. */
const restFor = 60_000;
const retryAfter = 15_000;
const patience = 5_000;

const Answer = z.union([
  z.object({ protection: z.object({ ProtectionEnabled: z.boolean() }) }),
  z.object({ failure: z.object({ Reason: z.string() }) }),
  z.object({ error: z.object({ Code: z.string(), Message: z.string().optional() }) }),
]);

const put = async (endpoint: string, wanted: boolean): Promise<void> => {
  const response = await fetch(`${endpoint}/task-protection/v1/state`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(
      wanted ? { ProtectionEnabled: true, ExpiresInMinutes: expiresInMinutes } : { ProtectionEnabled: false },
    ),
    signal: AbortSignal.timeout(patience),
  });
  const answer = Answer.parse(await response.json());
  if ("error" in answer) throw new Error(`${answer.error.Code}: ${answer.error.Message ?? ""}`);
  if ("failure" in answer) throw new Error(answer.failure.Reason);
  if (answer.protection.ProtectionEnabled !== wanted) throw new Error("ECS answers that it is not so");
};

export const openProtection = (parts: { endpoint: string; steady: Clock; log: Log }): Protection => {
  const { endpoint, steady, log } = parts;
  let active = false;
  let askedAt = Number.NEGATIVE_INFINITY;
  let triedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;

  const ask = async (wanted: boolean): Promise<void> => {
    const now = steady.now();
    triedAt = now;
    try {
      await put(endpoint, wanted);
      if (active !== wanted) log.info(wanted ? "protected from being stopped" : "may be stopped", {});
      active = wanted;
      askedAt = now;
      triedAt = Number.NEGATIVE_INFINITY;
    } catch (thrown) {
      log.warn(wanted ? "ECS does not protect this task" : "ECS still protects this task", describeError(thrown));
    }
  };
  const isDue = (wanted: boolean): boolean => {
    if (steady.now() - triedAt < retryAfter) return false;
    if (wanted) return !active || steady.now() - askedAt >= renewAfter;
    return active;
  };
  return {
    active: () => active,
    want: async (wanted) => {
      if (asking) return asking;
      if (!isDue(wanted)) return;
      asking = ask(wanted).finally(() => {
        asking = undefined;
      });
      await asking;
    },
  };
};

/** Wanted while there is somebody to protect, and a little longer unless the task is leaving. */
export const openWish = (steady: Clock): ((now: { sessions: number; leaving: boolean }) => boolean) => {
  let busyAt = Number.NEGATIVE_INFINITY;
  return ({ sessions, leaving }) => {
    if (sessions > 0) busyAt = steady.now();
    return sessions > 0 || (!leaving && steady.now() - busyAt < restFor);
  };
};
