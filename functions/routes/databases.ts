// The databases that the caller may reach.
import { listReachable, sceneOf } from "@sallyport/core/connect";
import type { Verbs } from "../route.ts";

export const databaseVerbs: Verbs<"databases"> = {
  databases: async ({ world, caller }) => ({ databases: listReachable(await sceneOf(world, caller)) }),
};
