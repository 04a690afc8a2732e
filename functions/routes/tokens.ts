// Connect tokens: issued and revoked.
import { connect } from "@sallyport/core/connect";
import { revokeToken } from "@sallyport/core/login";
import { tokensOf } from "@sallyport/core/quota";
import { takeTurn } from "@sallyport/core/throttle";
import { checkPublicKey } from "@sallyport/identity/key";
import type { Verbs } from "../route.ts";

export const tokenVerbs: Verbs<"connect" | "revoke"> = {
  connect: async ({ world, caller }, { key, ...wanted }) => {
    const bound = key === undefined ? {} : { key: checkPublicKey(key) };
    await takeTurn(world.store, tokensOf(caller.user.name), world.clock.now());
    return connect(world, world.networks, caller, { ...wanted, ...bound });
  },
  revoke: async ({ world, caller }, { id }) => {
    await revokeToken(world, caller, id);
    return {};
  },
};
