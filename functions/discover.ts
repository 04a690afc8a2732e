// Every five minutes, and on request by the API: the AWS APIs are read and the table is brought in line.
import { openKinds } from "@sallyport/aws/kinds";
import { discover } from "@sallyport/core/discovery";
import type { Kinds } from "@sallyport/core/kind";
import * as z from "zod";
import { compose, once, type World } from "./compose.ts";
import { type JobFunction, openJob, Scheduled } from "./job.ts";
import { type Log, openLog } from "./log.ts";

const Asked = z.strictObject({ dryRun: z.boolean().default(false) });
const Event = z.union([Asked, Scheduled.transform(() => ({ dryRun: false }))]);

export const openDiscover = (world: World, kinds: Kinds, log: Log): JobFunction =>
  openJob(world, log, Event, async ({ requestId }, { dryRun }) => {
    const { store, clock, random, enabling } = world;
    const runs = await discover({ store, kinds, clock, random, dryRun, ...(enabling && { enable: enabling }) });
    for (const run of runs) {
      const { listing, complete, found, written, removed, warnings, error } = run;
      const facts = { requestId, dryRun, listing, complete, found, written, removed, warnings };
      if (error !== undefined) log.error("discover.partial", { ...facts, error });
      // a service that has no address in a region: told, but nothing that anybody is paged for
      else if (!complete) log.warn("discover.incomplete", facts);
      else if (written.length + removed.length + warnings.length > 0) log.info("discover", facts);
    }
    return { runs };
  });

const opened = once(() => {
  const world = compose(process.env);
  return openDiscover(world, openKinds({ clock: world.clock }), openLog("discover"));
});

export const handler: JobFunction = (event, context) => opened()(event, context);
