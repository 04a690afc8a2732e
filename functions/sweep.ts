// Every minute: sessions of proxies that fell silent are closed and their counts given back.
import { sweep } from "@sallyport/core/sweep";
import * as z from "zod";
import { compose, once, type World } from "./compose.ts";
import { type JobFunction, Nothing, openJob, Scheduled } from "./job.ts";
import { type Log, openLog } from "./log.ts";

export const openSweep = (world: World, log: Log): JobFunction =>
  openJob(world, log, z.union([Nothing, Scheduled]), async ({ requestId }) => {
    const swept = await sweep(world);
    const { proxies, sessions, failures } = swept;
    if (failures.length > 0) log.error("sweep.partial", { requestId, failures: failures.slice(0, 20) });
    if (proxies.length + sessions.length > 0) log.warn("sweep", { requestId, proxies, sessions });
    return swept;
  });

const opened = once(() => openSweep(compose(process.env), openLog("sweep")));

export const handler: JobFunction = (event, context) => opened()(event, context);
