// The ways in which Redis's front can be told to misbehave, so that tests can show what a client makes of it.
import type { Identity } from "../front.ts";

export type Fault =
  /** Nobody listens: connection refused. Sessions there are stay. */
  | { readonly is: "refusing" }
  /** Accepts and never answers: nothing at all, or nothing once TLS is there. */
  | { readonly is: "hanging"; readonly at: "connection" | "login" }
  /** Shows another certificate. */
  | { readonly is: "impostor"; readonly identity: Identity }
  /** These bytes in place of all that the server says. */
  | { readonly is: "garbage"; readonly bytes: Buffer }
  /** Answers each command of this name with these bytes, which the server never sees: `-MOVED 7 elsewhere:6379\r\n`. */
  | { readonly is: "answering"; readonly name: string; readonly bytes: Buffer }
  /** Keeps a login back for so long. */
  | { readonly is: "delaying"; readonly forMs: number }
  /** Drops a session after so many bytes of what the server says in it. */
  | { readonly is: "cutting"; readonly afterBytes: number };
