// A function without HTTP: its event is checked before anything is done, its outcome logged, and what it throws is worded for
// whoever invoked it, with the cause left in the log. A hand-made event that is none of those a job knows is refused.
import { Failure, toFailure } from "@sallyport/core/failure";
import * as z from "zod";
import type { World } from "./compose.ts";
import { describeFailure, type Log } from "./log.ts";

/** What the Lambda runtime calls. */
export type JobFunction = (event: unknown, context: unknown) => Promise<unknown>;
export interface Run<W = World> {
  readonly world: W;
  readonly log: Log;
  /** Of the invocation: finds it in CloudTrail and in the log. */
  readonly requestId: string;
}

/** EventBridge's own event, by a rule or by the Scheduler. */
export const Scheduled = z
  .object({ source: z.enum(["aws.events", "aws.scheduler"]), "detail-type": z.literal("Scheduled Event") })
  .transform(() => ({}));
/** Nothing said: run. */
export const Nothing = z.strictObject({});

const requestIdOf = (context: unknown): string =>
  z.object({ awsRequestId: z.string().max(128) }).safeParse(context).data?.awsRequestId ?? "";

export const openJob =
  <E, W = World>(
    world: W,
    log: Log,
    event: z.ZodType<E>,
    run: (parts: Run<W>, event: E) => Promise<unknown>,
  ): JobFunction =>
  async (given, context) => {
    const requestId = requestIdOf(context);
    try {
      const parsed = event.safeParse(given ?? {});
      if (!parsed.success) throw new Failure("invalid", "this is no event of this function", { cause: parsed.error });
      return await run({ world, log, requestId }, parsed.data);
    } catch (thrown) {
      const failure = toFailure(thrown);
      log.error("failed", { requestId, ...describeFailure(failure) });
      const { code, message, hint } = failure;
      // without its cause, which Lambda would send along
      throw new Failure(code, hint === undefined ? message : `${message} (${hint})`);
    }
  };
