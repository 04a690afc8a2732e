// Logging in and out, accepting an invitation, and who one is.
import { acceptInvite } from "@sallyport/core/invite";
import { endLogin } from "@sallyport/core/login";
import { login } from "@sallyport/identity/login";
import { hashPassword } from "@sallyport/identity/password";
import type { Verbs } from "../route.ts";

export const loginVerbs: Verbs<"login" | "acceptInvite" | "logout" | "status"> = {
  login: ({ world, from }, input) => login(world, input, from),
  acceptInvite: ({ world }, { invite, password }) => acceptInvite(world, invite, () => hashPassword(password)),
  logout: async ({ world, caller }) => {
    await endLogin(world, caller);
    return {};
  },
  status: async ({ caller }) => {
    const { user, loginExpiresAt: expiresAt, admin } = caller;
    return { user: user.name, roles: user.roles, traits: user.traits, expiresAt, admin };
  },
};
