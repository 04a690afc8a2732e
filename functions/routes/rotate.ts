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
    const before = await findManaged(store, text);
    const user = managedName(before);
    const asked = { name: "rotation.ask", at: clock.now(), actor: caller.user.name, details: { user } } as const;
    await appendEvent(store, asked, random);
    await rotation({ user });
    const after = await findManaged(store, user);
    const { state, lastError, nextDueAt } = after;
    // a day has so many by hand: what is refused for that is not kept for later
    if (state === "current" && lastError?.code === "too_many" && lastError.at !== before.lastError?.at)
      throw new Failure("too_many", lastError.message, {
        hint: `the next one by the schedule is due at ${new Date(nextDueAt).toISOString()}`,
      });
    return toManagedDocument(after, clock.now());
  },
};
