// What the functions tell their operator: one JSON line each, by Powertools. Facts only: never an input, never an answer.
// Failures are told by code and message, what is behind them by name, message and stack.
import { Logger } from "@aws-lambda-powertools/logger";
import type { Failure } from "@sallyport/core/failure";

type Facts = Readonly<Record<string, unknown>>;
export interface Log {
  info(message: string, facts?: Facts): void;
  warn(message: string, facts?: Facts): void;
  error(message: string, facts?: Facts): void;
}

export const openLog = (service: string): Log => {
  const logger = new Logger({ serviceName: `sallyport-${service}` });
  return {
    info: (message, facts = {}) => logger.info(message, facts),
    warn: (message, facts = {}) => logger.warn(message, facts),
    error: (message, facts = {}) => logger.error(message, facts),
  };
};

const describeCause = (cause: unknown): string | undefined => {
  if (typeof cause === "string") return cause;
  if (!(cause instanceof Error)) return undefined;
  const behind = cause.cause === undefined ? undefined : describeCause(cause.cause);
  const own = cause.stack ?? `${cause.name}: ${cause.message}`;
  return behind === undefined ? own : `${own}\nbecause of ${behind}`;
};

/** A failure as facts for the log. */
export const describeFailure = (failure: Failure): Facts => {
  const cause = describeCause(failure.cause);
  return { code: failure.code, failure: failure.message, ...(cause === undefined ? {} : { cause }) };
};
