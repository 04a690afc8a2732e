// What listings have in common, whatever the service: one client for each place, pages to the end, and few calls at a time.
import { Failure } from "@sallyport/core/failure";
import type { Listing } from "@sallyport/core/kind";
import { hopsOf } from "./assume.ts";
import { wordCall } from "./call.ts";
import { clientOptions, type Patience } from "./client.ts";
import type { World } from "./rds.ts";

/** Listings are not in anybody's way: they may wait out a throttled API. */
const patience = { connectFor: 3000, requestFor: 15_000, attempts: 6 };
/** Somebody waits for the answer. */
export const prompt: Patience = {};
/** A change whose answer was lost may have been made: who asked for it looks first, and then decides. */
export const once: Patience = { ...patience, attempts: 1 };
/** Whose name CloudTrail shows for a listing in another account. */
const lister = "discovery";

/** The client for a place, made when it is first asked for. */
export const openClients = <C>(
  { connection, roles }: Pick<World, "connection" | "roles">,
  make: (options: ReturnType<typeof clientOptions>) => C,
  patient: Patience = patience,
): ((listing: Listing) => C) => {
  const clients = new Map<string, C>();
  return ({ region, assume }) => {
    const id = JSON.stringify([region, assume]);
    const known = clients.get(id);
    if (known !== undefined) return known;
    const keys = () => roles.keys({ hops: hopsOf(assume), person: lister, region });
    const fresh = make(clientOptions({ ...connection, region, keys }, patient));
    clients.set(id, fresh);
    return fresh;
  };
};

/** `action` begins with the service. @throws Failure */
export async function* pages<T>(
  action: string,
  { region }: Listing,
  ask: (at: string | undefined) => Promise<{ items: T[] | undefined; next: string | undefined }>,
): AsyncGenerator<readonly T[]> {
  let at: string | undefined;
  do {
    const { items = [], next } = await ask(at).catch((thrown: unknown) => {
      throw wordCall(thrown, action, region);
    });
    yield items;
    if (next !== undefined && next === at)
      throw new Failure("unavailable", `${action} in ${region} answers the same page for ever`);
    at = next;
  } while (at);
}

/** Answers in the order of the items, with this many under way at once. */
export const eachOf = async <T, R>(
  items: readonly T[],
  most: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> => {
  const done: R[] = [];
  let next = 0;
  const walk = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) done[at] = await work(items[at] as T);
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, walk));
  return done;
};
