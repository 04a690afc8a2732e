// Switches IAM authentication on where a matcher asks for it: started by discovery, which may not do it itself. What it is to do
// it reads for itself, so an event carries nothing.
import { openKinds } from "@sallyport/aws/kinds";
import { enable } from "@sallyport/core/enable";
import type { Kinds } from "@sallyport/core/kind";
import { compose, once, type World } from "./compose.ts";
import { type JobFunction, Nothing, openJob } from "./job.ts";
import { type Log, openLog } from "./log.ts";

export const openEnable = (world: World, kinds: Kinds, log: Log): JobFunction =>
  openJob(world, log, Nothing, async ({ requestId }) => {
    const { store, clock, random } = world;
    const enabled = await enable({ store, kinds, clock, random });
    for (const { outcome, ...facts } of enabled)
      if (outcome === "asked") log.info("enable", { requestId, ...facts });
      else log.error("enable.refused", { requestId, ...facts });
    return { enabled };
  });

const opened = once(() => {
  const world = compose(process.env);
  return openEnable(world, openKinds({ clock: world.clock }), openLog("enable"));
});

export const handler: JobFunction = (event, context) => opened()(event, context);
