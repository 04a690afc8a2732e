// Discovery on request: the scheduled function, started now.
import type { Verbs } from "../route.ts";

export const discoverVerbs: Verbs<"discover"> = {
  discover: ({ world }, { dryRun = false }) => world.discovery({ dryRun }),
};
