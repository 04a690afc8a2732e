// What discovery makes of a cache, whichever of the three kinds it is: its state, what keeps it from being logged in to, and one
// sighting for each of its endpoints.
import type { Endpoint } from "@sallyport/core/database";
import type { Found, Listing, Sighting } from "@sallyport/core/kind";
import { type CacheApi, isCacheHost, tagsOf, titleOf } from "./cache.ts";
import { isNowhere } from "./call.ts";
import { eachOf } from "./page.ts";
import { judge, partsOf } from "./rds.ts";

const usable = new Set(["available", "modifying", "updating", "snapshotting", "active"]);
/** Calls for tags under way at once: AWS counts them. */
const tagsAtOnce = 4;

export interface Place {
  readonly endpointType: string;
  readonly suffix?: string;
  readonly at?: { readonly Address?: string | undefined; readonly Port?: number | undefined } | undefined;
}

/** A cache as its kind reads it from AWS. */
export interface Cache {
  readonly arn: string | undefined;
  readonly identifier: string | undefined;
  readonly state: string | undefined;
  readonly engine: string;
  readonly engineVersion: string;
  /** A cache made anew under the same name is another one. */
  readonly madeAt: Date | undefined;
  readonly cluster?: string;
  /** What no login gets past, and what mends it. */
  readonly unfit: string | undefined;
  /** At least one. */
  readonly places: readonly Place[];
  /** Where each of its nodes is reached by itself; absent where the places lead to them all, or the nodes name one another. */
  readonly nodes?: readonly Place["at"][];
}

/** Where its nodes are reached, as AWS says it; undefined for a host that is not the service's. */
export const endpointOf = (
  api: CacheApi,
  at: Place["at"],
  where: { readonly partition: string; readonly region: string },
): Endpoint | undefined => {
  const { Address: host, Port: port } = at ?? {};
  return host !== undefined && port !== undefined && isCacheHost(api, host, where)
    ? { host, port, verifyName: host, roots: "amazon" }
    : undefined;
};

/** Is it there to be logged in to, as far as AWS says? */
export const isUsable = ({ identifier = "", state = "", unfit }: Cache): boolean =>
  unfit === undefined && judge(identifier, state.toLowerCase(), usable).status === "available";

/** @throws Failure when its tags can't be asked for now */
const lookAt = async (api: CacheApi, cache: Cache, listing: Listing): Promise<Found> => {
  const { arn, identifier, engine, engineVersion, cluster, madeAt, unfit } = cache;
  const { region } = listing;
  const leftOut = (warning: string): Found => ({ sightings: [], warnings: [warning] });
  if (!arn || !identifier) return leftOut(`a cache in ${region} has no name or ARN`);
  const where = partsOf(arn);
  if (where.region !== region) return leftOut(`${arn} was listed in ${region}: it is left out`);
  const { tags, withheld, warning: untold } = await tagsOf(api, listing, arn);
  const state = (cache.state ?? "").toLowerCase();
  const judged = judge(identifier, state, usable);
  const made = madeAt === undefined ? "" : `@${madeAt.getTime()}`;
  const sightings = cache.places.map(({ endpointType, suffix, at }): Sighting => {
    const endpoint = endpointOf(api, at, where);
    const foreign =
      at?.Address !== undefined && !endpoint
        ? `its endpoint ${at.Address} is not an address of ${titleOf(api)} in ${region}`
        : undefined;
    const hindrance = foreign ?? unfit;
    const reason = hindrance ?? judged.reason;
    return {
      ...where,
      protocol: "redis",
      arn,
      identifier,
      resourceId: `${identifier}${made}`,
      engine,
      engineVersion,
      endpointType,
      state,
      status: hindrance === undefined ? judged.status : "unsupported",
      tags,
      ...(withheld && { withheld }),
      ...(suffix !== undefined && { suffix }),
      ...(reason !== undefined && { reason }),
      ...(endpoint && { endpoint }),
      ...(cluster !== undefined && { cluster }),
    };
  });
  return { sightings, warnings: [untold, judged.warning].filter((one) => one !== undefined) };
};

/** A listing of caches, a page for each of AWS's. */
export async function* discoverCaches<T>(
  api: CacheApi,
  listing: Listing,
  found: AsyncIterable<readonly T[]>,
  read: (one: T) => Cache,
): AsyncGenerator<Found> {
  try {
    for await (const page of found) {
      const all = await eachOf(page, tagsAtOnce, (one) => lookAt(api, read(one), listing));
      yield {
        sightings: all.flatMap(({ sightings }) => sightings),
        warnings: all.flatMap(({ warnings }) => warnings),
      };
    }
  } catch (thrown) {
    if (!isNowhere(thrown)) throw thrown;
    yield { sightings: [], warnings: [`${titleOf(api)} has no address in ${listing.region}`], incomplete: true };
  }
}
