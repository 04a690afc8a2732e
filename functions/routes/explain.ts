// Why and why not: for oneself, and for anybody when an administrator asks.
import { defaultLoginTtl } from "@sallyport/core/access";
import { explain, readScene, sceneOf } from "@sallyport/core/connect";
import { Failure } from "@sallyport/core/failure";
import { keys, read } from "@sallyport/core/family";
import { User } from "@sallyport/core/user";
import type { Verbs } from "../route.ts";

export const explainVerbs: Verbs<"explain"> = {
  explain: async ({ world, caller }, { as, ...wanted }) => {
    if (as === undefined || as === caller.user.name) return explain(await sceneOf(world, caller), wanted, caller.admin);
    if (!caller.admin)
      throw new Failure("denied", "only administrators may ask for somebody else", { hint: "leave --as out" });
    const user = await read(world.store, User, keys.user(as));
    if (!user) throw new Failure("not_found", `there is no user ${as}`, { hint: "sally users ls" });
    const now = world.clock.now();
    return explain(await readScene(world.store, { user, loginExpiresAt: now + defaultLoginTtl }, now), wanted, true);
  },
};
