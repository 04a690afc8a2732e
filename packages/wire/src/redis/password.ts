// What the proxy logs in to Redis with: the client's own password, where it brought one and its role lets it; else what the
// database's kind gives. Rule: nobody is let in as the server's default user who is to be another.
import type { Grant } from "@sallyport/core/access";
import type { Credential } from "@sallyport/core/credential";
import { Failure } from "@sallyport/core/failure";
import { type Secret, secret } from "@sallyport/core/secret";
import type { Upstream } from "../protocol.ts";

export type Password = Extract<Credential, { as: "password" }>;

/** The server's own user, who needs no password where it has none: any is taken. */
const nobody = "default";

/** Fresh at each call. @throws Failure `upstream_refused` where there is nothing to log in with */
export const openPassword = (
  upstream: Pick<Upstream, "credential">,
  { dbUser: user, ownAuth }: Pick<Grant, "dbUser" | "ownAuth">,
  own?: Secret,
): (() => Promise<Password>) => {
  if (own && ownAuth)
    return async () => ({
      as: "password",
      user,
      password: own,
      methods: "clear",
      help: "the password is the client's own",
    });
  return async () => {
    const credential = await upstream.credential();
    if (credential.as === "password") return credential;
    if (credential.as === "aws") throw new Failure("internal", "Redis logs in with a password");
    const { help } = credential;
    if (credential.user === nobody)
      return {
        as: "password",
        user: nobody,
        password: secret(""),
        methods: "clear",
        ...(help !== undefined && { help }),
      };
    throw new Failure("upstream_refused", `there is nothing to log ${user} in with`, {
      details: { code: "WRONGPASS" },
      ...(help !== undefined && { hint: help }),
    });
  };
};
