// A rotation by hand: the scheduled function, started now for one managed user. Whoever asks is in the audit before it begins.
import { appendEvent } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { managedName } from "@sallyport/core/managed";
import { findManaged, toManagedDocument } from "@sallyport/core/managed-document";
import { rotations } from "@sallyport/core/quota";
import { takeTurn } from "@sallyport/core/throttle";
import type { Verbs } from "../route.ts";

export const rotateVerbs: Verbs<"rotate"> = {
  rotate: async ({ world, caller }, { user: text }) => {
    const { store, clock, random, rotation } = world;
    if (!rotation)
      throw new Failure("unsupported", "this deployment rotates no passwords", { hint: "deploy the rotate function" });
    await takeTurn(store, rotations, clock.now());
    const user = managedName(await findManaged(store, text));
    const asked = { name: "rotation.ask", at: clock.now(), actor: caller.user.name, details: { user } } as const;
    await appendEvent(store, asked, random);
    await rotation({ user });
    return toManagedDocument(await findManaged(store, user), clock.now());
  },
};
