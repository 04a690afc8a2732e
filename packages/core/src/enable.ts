// Switching IAM authentication on, where a matcher asks for it. Discovery starts this and tells of what came of it, but it runs as
// a principal of its own, because whoever may change a database's settings may do more than this. So it believes nobody:
// which databases, their tags and their states it reads from AWS again, and what is asked for from the table.
// Rule: a database is asked for at most once an hour, whatever came of it.
import * as z from "zod";
import { appendEvent } from "./audit.ts";
import { type Discovery, readAsked } from "./discovery.ts";
import { Failure, toFailure } from "./failure.ts";
import { keys, toItem } from "./family.ts";
import type { Kind, Sighting } from "./kind.ts";
import { foreignTo, type Wanted } from "./listing.ts";

export const Enabled = z.object({
  /** The resource id of the instance or cluster; of what could not be listed, the listing. */
  resource: z.string(),
  outcome: z.enum(["asked", "refused"]),
  at: z.number(),
  /** Why it was refused, and what to do. */
  reason: z.string().optional(),
});
export type Enabled = z.infer<typeof Enabled>;

const againAfter = 3_600_000;
const keepFor = 30 * 86_400_000;

type Job = Pick<Discovery, "store" | "kinds" | "clock" | "random">;

/** Asks AWS for every database that may be switched on and is asked for; one that is refused does not stop the others. */
export const enable = async (job: Job): Promise<Enabled[]> => {
  const { wanted } = await readAsked(job.store);
  const outcomes = new Map<string, Enabled>();
  for (const listing of wanted) {
    const kind = job.kinds[listing.kind];
    if (listing.enabling.length === 0 || kind.enable === undefined) continue;
    try {
      // a cluster is sighted once for each of its endpoints
      for await (const page of kind.discover(listing))
        for (const sighting of page.sightings)
          if (!outcomes.has(sighting.resourceId) && isAskedFor(sighting, listing))
            outcomes.set(sighting.resourceId, await switchOn(job, kind, listing, sighting));
    } catch (thrown) {
      outcomes.set(listing.key, {
        resource: listing.key,
        outcome: "refused",
        at: job.clock.now(),
        reason: say(thrown),
      });
    }
  }
  return [...outcomes.values()];
};

const isAskedFor = (sighting: Sighting, listing: Wanted): boolean =>
  sighting.iamOff === true &&
  !foreignTo(listing, sighting) &&
  listing.enabling.some((selects) => selects(sighting.tags));

const switchOn = async (job: Job, kind: Kind, listing: Wanted, sighting: Sighting): Promise<Enabled> => {
  const { store, clock, random } = job;
  const { resourceId: resource, arn } = sighting;
  const key = keys.run("enable", resource);
  const before = Enabled.safeParse(await store.get(key)).data;
  const now = clock.now();
  if (before && now - before.at < againAfter) return before;
  const asked: Enabled = { resource, outcome: "asked", at: now };
  const put = (value: Enabled) => toItem(key, value, now + keepFor);
  try {
    await store.write({ put: put(asked), if: before ? { equals: { at: before.at } } : { absent: true } });
  } catch (thrown) {
    // another run is at it
    if (thrown instanceof Failure && thrown.code === "conflict") return asked;
    throw thrown;
  }
  const refusal = await kind.enable?.(listing, sighting).then(() => undefined, say);
  const outcome: Enabled = refusal === undefined ? asked : { ...asked, outcome: "refused", reason: refusal };
  if (refusal !== undefined) await store.write({ put: put(outcome) });
  const details = { kind: kind.name, arn, resource, outcome: outcome.outcome, listing: listing.key };
  await appendEvent(store, { name: "database.enable", at: now, actor: "enable", details }, random);
  return outcome;
};

const say = (thrown: unknown): string => {
  const { message, hint } = toFailure(thrown);
  return hint === undefined ? message : `${message}\n${hint}`;
};
