// What is wrong with a deployment or one database, and what mends it. Where there is a probe, it is asked from inside the network.
import { examine } from "@sallyport/core/doctor";
import { examinations } from "@sallyport/core/quota";
import { takeTurn } from "@sallyport/core/throttle";
import type { Verbs } from "../route.ts";

export const doctorVerbs: Verbs<"doctor"> = {
  doctor: async ({ world }, { database }) => {
    await takeTurn(world.store, examinations, world.clock.now());
    return { findings: await examine(world, database) };
  },
};
