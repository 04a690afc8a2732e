// Every minute, and on request by the API: passwords of managed users that are due are carried on towards their change. An event
// says no more than that it is time, or for whom: which secret, which version and which step it is stands in the table (S-45).
import { openCacheKinds } from "@sallyport/aws/kinds";
import { openVault } from "@sallyport/aws/vault";
import { Failure } from "@sallyport/core/failure";
import type { Kinds } from "@sallyport/core/kind";
import { RotateAsked } from "@sallyport/core/managed";
import type { Vault } from "@sallyport/core/ports";
import { isAlarming } from "@sallyport/core/rotation";
import { openRounds, type Rounded } from "@sallyport/core/round";
import * as z from "zod";
import { compose, once, type World } from "./compose.ts";
import { type JobFunction, Nothing, openJob, Scheduled } from "./job.ts";
import { type Log, openLog } from "./log.ts";

const Event = z.union([RotateAsked, Nothing, Scheduled]);

/** Nobody is taken up later than this: the next tick comes after a minute. Who asks for one user waits for less. */
const tickFor = 45_000;
const askedFor = 15_000;

export interface RotateParts {
  readonly kinds: Partial<Kinds>;
  readonly vault: Vault;
  /** What the secrets' names begin with. */
  readonly prefix: string;
}

const tell = (log: Log, requestId: string, { rotated, failures, repaired, roll = [] }: Rounded): void => {
  for (const { listing, users, complete, warnings, error } of roll) {
    const facts = { requestId, listing, users, complete, warnings };
    if (error !== undefined) log.error("rotate.partial", { ...facts, error });
    else if (!complete || warnings.length > 0) log.warn("rotate.roll", facts);
  }
  for (const { user, failure, failures: count } of failures) {
    const { code, message, hint } = failure;
    const facts = { requestId, user, code, reason: message, hint, failures: count };
    if (isAlarming(count)) log.error("rotate.failing", facts);
    else log.warn("rotate.failed", facts);
  }
  for (const user of repaired) log.error("rotate.repaired", { requestId, user });
  // one line a run, whatever happened: what the metrics are made of
  const { lagMs, failing, ...counts } = rotated;
  log.info("rotate", { requestId, ...counts, lagMs, failing });
};

export const openRotate = (world: World, { kinds, vault, prefix }: RotateParts, log: Log): JobFunction => {
  const { store, clock, random, wait, probing } = world;
  // what it saw others hold is kept from tick to tick
  const rounds = openRounds({ store, vault, kinds, clock, random, wait, probing, prefix });
  return openJob(world, log, Event, async ({ requestId }, event) => {
    const user = "user" in event ? event.user : undefined;
    const until = clock.now() + (user === undefined ? tickFor : askedFor);
    const rounded = await rounds.run({ until, ...(user !== undefined && { user }) });
    tell(log, requestId, rounded);
    return rounded.rotated;
  });
};

const Settings = z.object({
  SALLYPORT_SECRET_PREFIX: z.string().min(1),
  SALLYPORT_MANAGED_KEY: z.string().default(""),
});

const opened = once(() => {
  const world = compose(process.env);
  const settings = Settings.safeParse(process.env).data;
  if (!settings) throw new Failure("internal", "settings: SALLYPORT_SECRET_PREFIX: what secrets' names begin with");
  const { SALLYPORT_SECRET_PREFIX: prefix, SALLYPORT_MANAGED_KEY: kmsKey } = settings;
  const vault = openVault(kmsKey === "" ? {} : { kmsKey });
  return openRotate(world, { kinds: openCacheKinds({ clock: world.clock }), vault, prefix }, openLog("rotate"));
});

export const handler: JobFunction = (event, context) => opened()(event, context);
