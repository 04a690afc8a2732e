// The one error of the project: a closed set of codes, a message that says what happened and a hint that says what to do.
// Each edge (HTTP, SQLSTATE, exit status, …) owns one total map over FailureCode; an unknown error becomes `internal`.

export const failureCodes = [
  "invalid", //               the input is wrong
  "too_large", //             the input is over a stated limit
  "not_logged_in", //         no valid session token or password
  "bad_token", //             a connect token is unknown, expired, revoked, used up, bound to something else
  "denied", //                decide() said no
  "not_found",
  "conflict", //              somebody else changed it first, or it exists already
  "too_many", //              a rate or a count is exhausted
  "tls_required",
  "protocol", //              the bytes are not what the protocol allows
  "unsupported", //           understood, and not offered
  "timeout", //               a deadline passed
  "starting", //              nothing there yet to connect to; try again
  "draining", //              this proxy is going away; connect again
  "ended", //                 a live session was ended: lock, revocation, expiry, idle
  "audit_full", //            nothing may happen that can't be recorded
  "unavailable", //           something of ours (the table, the vault) can't be read
  "upstream_unreachable", //  the database does not answer
  "upstream_untrusted", //    its certificate does not verify
  "upstream_refused", //      it refused the login
  "internal",
] as const;
export type FailureCode = (typeof failureCodes)[number];

/** What a Failure carries beside its code and message. */
export interface FailureParts {
  /** What the reader can do about it: the flag to set, the policy to add. */
  readonly hint?: string;
  /** Structured facts, safe to send to the one who asked. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Why, for the log; never sent. */
  readonly cause?: unknown;
}

export class Failure extends Error {
  override readonly name = "Failure";
  readonly code: FailureCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: FailureCode, message: string, parts: FailureParts = {}) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.code = code;
    this.hint = parts.hint;
    this.details = parts.details;
  }
}

/** Any thrown value as a Failure: ours as it is, everything else `internal` with its cause kept for the log. */
export const toFailure = (thrown: unknown): Failure =>
  thrown instanceof Failure ? thrown : new Failure("internal", "something went wrong on our side", { cause: thrown });
