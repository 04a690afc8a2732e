// The ways in which a database front can be told to misbehave, so that tests can show what a client makes of it.
import type { Certificate } from "../certificate.ts";

export type Fault =
  /** Nobody listens: connection refused. Sessions there are stay. */
  | { readonly is: "refusing" }
  /** Accepts and never answers: nothing at all, or nothing once the startup has come. */
  | { readonly is: "hanging"; readonly at: "connection" | "login" }
  /** Answers `N` to an SSLRequest. */
  | { readonly is: "plaintext" }
  /** Answers `S` to an SSLRequest with bytes directly behind it. */
  | { readonly is: "smuggling"; readonly bytes: Buffer }
  /** Shows another certificate. */
  | { readonly is: "impostor"; readonly identity: Pick<Certificate, "cert" | "key"> }
  /** Answers an SSLRequest, or the startup inside TLS, with these bytes. */
  | { readonly is: "garbage"; readonly at: "negotiation" | "login"; readonly bytes: Buffer }
  /** Answers the startup with an authentication request of the test's making, and nothing more. */
  | { readonly is: "asking"; readonly bytes: Buffer }
  /** Drops a session after so many bytes of what the server says in it. */
  | { readonly is: "cutting"; readonly afterBytes: number };

/** An authentication request: 0 is "you are in", 3 cleartext, 5 with a salt md5, 7 GSS, 10 with mechanisms SASL. */
export const authentication = (method: number, data: Uint8Array = Buffer.alloc(0)): Buffer => {
  const head = Buffer.from("R\0\0\0\0\0\0\0\0");
  head.writeInt32BE(8 + data.length, 1);
  head.writeInt32BE(method, 5);
  return Buffer.concat([head, data]);
};
