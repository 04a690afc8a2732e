// Discovery on request: the scheduled function, started now.
import { discoveries } from "@sallyport/core/quota";
import { takeTurn } from "@sallyport/core/throttle";
import type { Verbs } from "../route.ts";

export const discoverVerbs: Verbs<"discover"> = {
  discover: async ({ world }, { dryRun = false }) => {
    await takeTurn(world.store, discoveries, world.clock.now());
    return world.discovery({ dryRun });
  },
};
