// Inviting users, and inviting them again.
import { invite, reset } from "@sallyport/core/invite";
import type { Verbs } from "../route.ts";

export const userVerbs: Verbs<"invite" | "reset"> = {
  invite: ({ world, caller }, { user, roles, traits = {} }) =>
    invite(world, caller.user.name, { name: user, roles, traits }),
  reset: ({ world, caller }, { user }) => reset(world, caller.user.name, user),
};
