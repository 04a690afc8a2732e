// What logs in to a database. Made by a kind (packages/aws), used by a protocol's login (packages/wire), seen by nobody else.
import type { Secret } from "./secret.ts";

/** The signed answer to a MONGODB-AWS challenge: the GetCallerIdentity request's headers. */
export interface Proof {
  readonly authorization: string;
  readonly date: string;
  readonly sessionToken?: Secret;
}

/** `help` is what to do where the database refuses it. */
export type Credential =
  | {
      readonly as: "password";
      readonly user: string;
      readonly password: Secret;
      readonly methods: PasswordMethods;
      /** The password is rotated: the one before, which is tried once where the server refuses this one. */
      readonly previous?: () => Promise<Secret | undefined>;
      readonly help?: string;
    }
  | {
      readonly as: "aws";
      readonly user: string;
      /** `host` is the server's to name and the kind's to check. @throws Failure `upstream_untrusted` */
      sign(nonce: Uint8Array, host: string): Promise<Proof>;
      readonly help?: string;
    }
  /** The project has nothing for this user: it is the server's `default` without a password, or the client proves itself where its role lets it. */
  | { readonly as: "none"; readonly user: string; readonly help?: string };

/** Which ways of proving the password the server may ask for: an IAM token only in clear inside verified TLS, a real password never in clear. */
export type PasswordMethods = "clear" | "challenge";
