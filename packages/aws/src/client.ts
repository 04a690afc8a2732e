// What every AWS client here has in common: where it calls, as whom, how long it waits, and how its errors are read.
// Rule: no client waits for ever. A timeout is an error, and the caller says what it means.

/** Keys as the SDK takes them. */
export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}
export type KeyProvider = () => Promise<Keys>;

/** Left out: the SDK's own way, by environment and default chain. */
export interface Connection {
  readonly region?: string;
  readonly endpoint?: string;
  readonly keys?: KeyProvider;
}

export interface Patience {
  /** How long a connection may take, and one request, in milliseconds. */
  readonly connectFor?: number;
  readonly requestFor?: number;
  /** How often a request is sent at most: throttled, failed and unanswered ones are sent again. */
  readonly attempts?: number;
}

export const clientOptions = ({ region, endpoint, keys }: Connection, patience: Patience = {}) => {
  const { connectFor = 1000, requestFor = 3000, attempts = 3 } = patience;
  return {
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(keys !== undefined && { credentials: keys }),
    maxAttempts: attempts,
    requestHandler: { connectionTimeout: connectFor, requestTimeout: requestFor, throwOnRequestTimeout: true },
  };
};

/** The name AWS gives an error (`ThrottlingException`), or Node its code; empty for anything else. */
export const errorName = (thrown: unknown): string => {
  if (!(thrown instanceof Error)) return "";
  return "code" in thrown && typeof thrown.code === "string" ? thrown.code : thrown.name;
};

export const isAccessDenied = (thrown: unknown): boolean =>
  ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"].includes(errorName(thrown));

/** How often the SDK sent the request whose answer this error is. */
export const attemptsOf = (thrown: unknown): number =>
  (thrown as { $metadata?: { attempts?: number } } | undefined)?.$metadata?.attempts ?? 1;
