// The first administrator, and break-glass. Nothing but IAM decides who may invoke this; each use is recorded in the table and
// logged as a warning with the message `bootstrap.invite`, which the alarm matches.
import { bootstrap } from "@sallyport/core/bootstrap";
import { Name } from "@sallyport/core/name";
import * as z from "zod";
import { compose, once, type World } from "./compose.ts";
import { type JobFunction, openJob } from "./job.ts";
import { type Log, openLog } from "./log.ts";

const Event = z.strictObject({ user: Name });

export const openBootstrap = (world: World, log: Log): JobFunction =>
  openJob(world, log, Event, async ({ requestId }, { user }) => {
    const invitation = await bootstrap(world, user, { requestId });
    log.warn("bootstrap.invite", { user, requestId, expiresAt: invitation.expiresAt });
    return { ...invitation, api: world.api };
  });

const opened = once(() => openBootstrap(compose(process.env), openLog("bootstrap")));

export const handler: JobFunction = (event, context) => opened()(event, context);
