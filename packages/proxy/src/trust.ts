// The proxy's side of TLS, the only one: plain ports TLS 1.2 and later, the gate TLS 1.3 with its own ALPN. AES-GCM comes
// first, nobody renegotiates, and a client that began with TLS must have said which protocol it means (ALPACA).
import { constants } from "node:crypto";
import type { Duplex } from "node:stream";
import { createSecureContext, type SecureContext, type SecureVersion, TLSSocket } from "node:tls";
import { Failure } from "@sallyport/core/failure";

export const gateAlpn = "sallyport/1";

const ciphers = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

export interface Trust {
  /** TLS as server for a plain port; with `alpn` a client that did not negotiate it is refused. @throws Failure `protocol` */
  secure(socket: Duplex, alpn?: string): Promise<TLSSocket>;
  /** TLS as server for the gate. @throws Failure `protocol` for anything but TLS 1.3 with the gate's ALPN */
  gate(socket: Duplex): Promise<TLSSocket>;
  /** From now on new connections are shown this certificate; live ones are not disturbed. */
  swap(identity: Identity): void;
}

/** PEM: a certificate with its chain, and its key. */
export interface Identity {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

const contextOf = (identity: Identity, minVersion: SecureVersion): SecureContext =>
  createSecureContext({
    ...identity,
    minVersion,
    ciphers,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  });

/** The handshake as server. Its deadline is the caller's: destroying the socket ends it. */
const shake = (socket: Duplex, secureContext: SecureContext, alpn: string | undefined): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const refuse = (cause?: unknown): void => {
      socket.destroy();
      reject(new Failure("protocol", "the TLS handshake failed", cause === undefined ? {} : { cause }));
    };
    if (socket.destroyed) return refuse();
    const secured = new TLSSocket(socket, {
      isServer: true,
      secureContext,
      ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
    });
    const failed = (cause?: unknown): void => {
      secured.destroy();
      refuse(cause);
    };
    const closed = (): void => failed();
    secured.once("error", failed);
    secured.once("close", closed);
    socket.once("close", closed);
    secured.once("secure", () => {
      // a client that offers no ALPN at all is accepted by TLS itself
      if (alpn !== undefined && secured.alpnProtocol !== alpn) return failed();
      secured.off("error", failed);
      secured.off("close", closed);
      socket.off("close", closed);
      // whoever reads it hears of its end by "close"; an error nobody listens for would end the process
      secured.on("error", () => {});
      resolve(secured);
    });
  });

/** @throws an Error when the certificate and its key are not a pair */
export const openTrust = (identity: Identity): Trust => {
  let plain = contextOf(identity, "TLSv1.2");
  let gate = contextOf(identity, "TLSv1.3");
  return {
    secure: (socket, alpn) => shake(socket, plain, alpn),
    gate: (socket) => shake(socket, gate, gateAlpn),
    swap: (next) => {
      const made = [contextOf(next, "TLSv1.2"), contextOf(next, "TLSv1.3")] as const;
      [plain, gate] = made;
    },
  };
};
