// What clients verify the proxies with. Public: every client is shown the same in its handshake.
import { allAnchors } from "@sallyport/core/trust";
import type { Verbs } from "../route.ts";

export const trustVerbs: Verbs<"trust"> = {
  trust: async ({ world }) => {
    const { pins, ...ca } = await allAnchors(world.store, world.networks, world.clock.now());
    return { ...ca, pins: [...pins] };
  },
};
