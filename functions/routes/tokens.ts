// Connect tokens: issued and revoked.
import { connect } from "@sallyport/core/connect";
import { revokeToken } from "@sallyport/core/login";
import { checkPublicKey } from "@sallyport/identity/key";
import type { Verbs } from "../route.ts";

export const tokenVerbs: Verbs<"connect" | "revoke"> = {
  connect: ({ world, caller }, { key, ...wanted }) =>
    connect(world, world.networks, caller, { ...wanted, ...(key === undefined ? {} : { key: checkPublicKey(key) }) }),
  revoke: async ({ world, caller }, { id }) => {
    await revokeToken(world, caller, id);
    return {};
  },
};
