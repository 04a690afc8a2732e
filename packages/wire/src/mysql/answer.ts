// A server's refusals and mistakes as failures of ours.
import { Failure, toFailure } from "@sallyport/core/failure";
import { errorFields } from "./message.ts";

export const unexpected = (what: string): Failure =>
  new Failure("upstream_refused", `the database answered with ${what}`, {
    hint: "look at what stands at the endpoint: it does not speak as MySQL does",
  });

// ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR
const denials = new Set([1045, 1698]);

/** The server's own words as a failure; `hint` where it refused whom we are. */
export const serverError = (payload: Buffer, hint?: string): Failure => {
  const { errno, sqlState, message } = errorFields(payload);
  return new Failure("upstream_refused", message || "the database refused without a reason", {
    details: { errno, sqlstate: sqlState },
    ...(hint === undefined || !denials.has(errno) ? {} : { hint }),
  });
};

/** A malformed answer is the server's fault, not the client's. */
export const wordedUpstream = (thrown: unknown): Failure => {
  const failure = toFailure(thrown);
  return failure.code === "protocol" || failure.code === "too_large"
    ? unexpected(`a packet that is not right: ${failure.message}`)
    : failure;
};
