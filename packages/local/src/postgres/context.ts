// What the parts of the front share about the server behind it.
import type { Secret } from "@sallyport/core/secret";
import type { Certificate } from "../certificate.ts";
import type { Fault } from "./fault.ts";

/** One login by IAM token, to be judged. */
export interface Ask {
  readonly user: string;
  readonly database: string;
  readonly password: Secret;
  /** The server name in the TLS handshake. */
  readonly servername: string | undefined;
  /** The address and port that were dialled. */
  readonly host: string;
  readonly port: number;
}

export type Identity = Pick<Certificate, "cert" | "key">;

export interface Context {
  /** The path of the server's unix socket. */
  readonly upstream: string;
  readonly identity: Identity;
  readonly check: (ask: Ask) => boolean | Promise<boolean>;
  readonly fault: () => Fault | undefined;
  readonly tally: { connections: number; admitted: number; refused: number; cancels: number; earlyBytes: number };
}
