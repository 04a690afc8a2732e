// The ways in which MariaDB's front can be told to misbehave, so that tests can show what a client makes of it.
import type { Identity } from "../front.ts";

export type Fault =
  /** Nobody listens: connection refused. Sessions there are stay. */
  | { readonly is: "refusing" }
  /** Accepts and never answers: nothing at all, or nothing once the login has come. */
  | { readonly is: "hanging"; readonly at: "connection" | "login" }
  /** A greeting that offers no TLS. */
  | { readonly is: "plaintext" }
  /** Shows another certificate. */
  | { readonly is: "impostor"; readonly identity: Identity }
  /** These bytes in place of the greeting, or inside TLS in place of the answer to the login. */
  | { readonly is: "garbage"; readonly at: "greeting" | "login"; readonly bytes: Buffer }
  /** Answers the login with an authentication switch to this method, and nothing more. */
  | { readonly is: "asking"; readonly method: string; readonly data: Buffer }
  /** Lets in, and then answers the first command with these packets' bodies: 0xFB and a name asks for a file. */
  | { readonly is: "answering"; readonly bodies: readonly Buffer[] }
  /** Keeps the answer to the login back for so long. */
  | { readonly is: "delaying"; readonly forMs: number }
  /** Drops a session after so many bytes of what the server says in it. */
  | { readonly is: "cutting"; readonly afterBytes: number };
