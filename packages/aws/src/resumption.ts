// TLS sessions kept for the next connection to the same database, where its server offers that (MySQL does, PostgreSQL does not):
// it saves both sides the certificate. Rules: a session is kept only after the server was verified in full, used only with the same
// trusted roots, name, host, port and protocol, and for five minutes at most, so that a certificate is looked at again soon.
import type { SecureContext, TLSSocket } from "node:tls";

/** Whom a session was verified to be. */
export interface Identity {
  readonly host: string;
  readonly port: number;
  readonly verifyName: string;
  readonly alpn: string | undefined;
}
export interface Resumption {
  /** What to offer in the handshake. */
  readonly session: Buffer | undefined;
  /** To be called at once: sessions come when the server likes. */
  watch(socket: TLSSocket): void;
  /** Sessions of this connection are kept: the server is who it should be. */
  verified(): void;
  /** Nothing of this server is kept: the handshake failed. */
  failed(): void;
}

const keepFor = 5 * 60_000;
const mostKept = 1_000;
interface Kept {
  readonly session: Buffer;
  readonly until: number;
}
/** By roots first: what one set of authorities vouched for means nothing to another. */
const kept = new WeakMap<SecureContext, Map<string, Kept>>();

export const openResumption = (
  roots: SecureContext,
  { host, port, verifyName, alpn }: Identity,
  now: () => number = () => performance.now(),
): Resumption => {
  const name = JSON.stringify([host, port, verifyName, alpn]);
  const sessions = kept.get(roots) ?? new Map<string, Kept>();
  kept.set(roots, sessions);
  const found = sessions.get(name);
  const fresh = found && found.until > now() ? found.session : undefined;
  let trusted = false;
  let waiting: Buffer | undefined;

  const keep = (session: Buffer): void => {
    // a session that was resumed lives no longer for it
    const until = found && fresh ? found.until : now() + keepFor;
    const oldest = sessions.keys().next().value;
    if (sessions.size >= mostKept && oldest !== undefined) sessions.delete(oldest);
    sessions.set(name, { session, until });
  };
  return {
    session: fresh,
    watch: (socket: TLSSocket): void => {
      // TLS 1.2 offers it before the server is verified, TLS 1.3 after
      socket.on("session", (session: Buffer) => {
        if (trusted) keep(session);
        else waiting = session;
      });
    },
    verified: (): void => {
      trusted = true;
      if (waiting) keep(waiting);
    },
    failed: (): void => void sessions.delete(name),
  };
};
