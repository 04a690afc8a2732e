// Users of caches whose passwords Sallyport keeps: those that are tagged for it, log in by password, and are in a group of a cache
// that can be logged in to. And the change of one: its whole list of passwords.
import { Failure } from "@sallyport/core/failure";
import type { FoundUsers, Kind, Listing, ManagedSighting, UserState } from "@sallyport/core/kind";
import { isManaged } from "@sallyport/core/managed-tag";
import { type CacheApi, type CacheUser, isMissing, isState, tagsOf, titleOf } from "./cache.ts";
import { type Cache, endpointOf, isUsable, type Place } from "./cache-sighting.ts";
import { isNowhere, wordCall } from "./call.ts";
import { errorName } from "./client.ts";
import { eachOf } from "./page.ts";
import { partsOf } from "./rds.ts";

const tagsAtOnce = 4;

/** A cache, and the groups whose users it lets in. */
export interface Guarded {
  readonly cache: Cache;
  readonly groups: readonly string[];
  /** It is of the kind that lists: another kind's cache is told of beside it. */
  readonly own: boolean;
}

const placeIn = (listing: Listing, guarded: readonly Guarded[], api: CacheApi) => {
  const usable = guarded.flatMap(({ cache, groups, own }) => {
    const { arn } = cache;
    if (!arn || !isUsable(cache)) return [];
    const where = partsOf(arn);
    const open = (ways: readonly Place["at"][] = []) => ways.flatMap((at) => endpointOf(api, at, where) ?? []);
    const [places, nodes] = [open(cache.places.map(({ at }) => at)), open(cache.nodes)];
    const endpoints = places.length > 0 && nodes.length > 0 ? nodes : places;
    return where.region === listing.region && endpoints.length > 0 ? [{ arn, endpoints, groups, own }] : [];
  });
  /** The caches that let a user of these groups in; none where no one of them is the listing kind's. */
  return (groups: readonly string[]): ManagedSighting["caches"] => {
    const open = usable.filter((one) => one.groups.some((group) => groups.includes(group)));
    return open.some(({ own }) => own) ? open.map(({ arn, endpoints }) => ({ arn, endpoints })) : [];
  };
};

/** @throws Failure when its tags can't be asked for now */
const lookAt = async (
  api: CacheApi,
  listing: Listing,
  user: CacheUser,
  caches: ManagedSighting["caches"],
): Promise<FoundUsers> => {
  const { arn, id, name } = user;
  const where = partsOf(arn);
  if (where.region !== listing.region)
    return { users: [], warnings: [`${arn} was listed in ${listing.region}: it is left out`] };
  const { tags, withheld, warning } = await tagsOf(api, listing, arn);
  const sighting: ManagedSighting = {
    ...where,
    service: api.service,
    arn,
    id,
    user: name,
    caches,
    ...(withheld && { withheld }),
  };
  const users = withheld || isManaged(tags) ? [sighting] : [];
  // whose tags may not be read may be a managed one: nobody is missed then
  return warning === undefined ? { users, warnings: [] } : { users, warnings: [warning], incomplete: true };
};

/** The users to be managed, a page for each of AWS's. */
export async function* managedUsersOf(
  api: CacheApi,
  listing: Listing,
  guarded: () => Promise<readonly Guarded[]>,
): AsyncGenerator<FoundUsers> {
  try {
    const cachesOf = placeIn(listing, await guarded(), api);
    for await (const page of api.users(listing)) {
      const asked = page.flatMap((user) => {
        const caches = cachesOf(user.groups);
        const counts = user.authentication === "password" && user.state !== "deleting" && user.arn && user.id;
        return counts && caches.length > 0 ? [{ user, caches }] : [];
      });
      const all = await eachOf(asked, tagsAtOnce, ({ user, caches }) => lookAt(api, listing, user, caches));
      yield {
        users: all.flatMap(({ users }) => users),
        warnings: all.flatMap(({ warnings }) => warnings),
        ...(all.some(({ incomplete }) => incomplete) && { incomplete: true as const }),
      };
    }
  } catch (thrown) {
    if (!isNowhere(thrown)) throw thrown;
    yield { users: [], warnings: [`${titleOf(api)} has no address in ${listing.region}`], incomplete: true };
  }
}

const stateOf = (user: CacheUser | undefined): UserState => {
  if (!user || user.state === "deleting") return "gone";
  if (user.authentication !== "password") return "iam";
  return user.state === "active" ? "active" : "modifying";
};

const throttled = ["Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"];

/** The half of a Kind that rotation asks. */
export const managingOf = (api: CacheApi): Required<Pick<Kind, "userState" | "apply">> => ({
  async userState({ region, assume, id }) {
    return stateOf(await api.user({ region, ...(assume && { assume }) }, id));
  },
  async apply({ region, assume, id, arn }, passwords) {
    try {
      await api.setPasswords({ region, ...(assume && { assume }) }, id, passwords);
    } catch (thrown) {
      const say = (code: "conflict" | "not_found" | "too_many", message: string) =>
        new Failure(code, message, { cause: thrown });
      if (isMissing(thrown)) throw say("not_found", `${arn} is gone`);
      if (isState(thrown)) throw say("conflict", `${arn} can't be changed now`);
      if (throttled.includes(errorName(thrown)))
        throw say("too_many", `${titleOf(api)} takes no more changes in ${region} just now`);
      const action = api.service === "elasticache" ? "elasticache:ModifyUser" : "memorydb:UpdateUser";
      throw wordCall(thrown, action, region, arn);
    }
  },
});
