// What the proxy tells its operator: one JSON line each. Facts only, never a secret and never a cause's own text where
// it may carry one: a failure is told by its code and message, an unknown error by its name and message.
import { Failure } from "@sallyport/core/failure";

export interface Log {
  info(message: string, facts?: Readonly<Record<string, unknown>>): void;
  warn(message: string, facts?: Readonly<Record<string, unknown>>): void;
  error(message: string, facts?: Readonly<Record<string, unknown>>): void;
}

/** A thrown value as facts for the log. */
export const describeError = (thrown: unknown): Readonly<Record<string, unknown>> => {
  if (thrown instanceof Failure)
    return {
      code: thrown.code,
      failure: thrown.message,
      ...(thrown.cause === undefined ? {} : { cause: describeCause(thrown.cause) }),
    };
  return { error: describeCause(thrown) };
};

const describeCause = (cause: unknown): string =>
  cause instanceof Error ? `${cause.name}: ${cause.message}`.slice(0, 500) : typeof cause === "string" ? cause : "";
