// How sally ends: 0 ok, 1 error, 2 usage, 3 denied, 4 not logged in. One total map, so that a new code must choose.
import type { FailureCode } from "@sallyport/core/failure";

export const exitStatus = {
  invalid: 2,
  too_large: 1,
  not_logged_in: 4,
  bad_token: 1,
  denied: 3,
  not_found: 1,
  conflict: 1,
  too_many: 1,
  tls_required: 1,
  protocol: 1,
  unsupported: 1,
  timeout: 1,
  starting: 1,
  draining: 1,
  ended: 1,
  audit_full: 1,
  unavailable: 1,
  upstream_unreachable: 1,
  upstream_untrusted: 1,
  upstream_refused: 1,
  internal: 1,
} as const satisfies Record<FailureCode, number>;
export const usageStatus = exitStatus.invalid;
