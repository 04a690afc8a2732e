// Managed users as documents, to be read: which there are is said by tags at AWS, and how far each has come by rotation. Their
// names are made as databases' are, and a short one will do where it stands for one user alone.
import type { Document, ManagedUserDocument } from "./api.ts";
import { scheduledPerDay, sparePerDay, spentOf } from "./budget.ts";
import { Failure } from "./failure.ts";
import { keys, readAll } from "./family.ts";
import { ManagedName, ManagedPlace, ManagedUser, managedAt, managedName } from "./managed.ts";
import type { Store } from "./ports.ts";
import type { Resource } from "./resource.ts";

/** `elasticache/eu-west-1/111122223333/app` → `app-elasticache-eu-west-1-111122223333`; another text as it is. */
export const documentNameOf = (text: string): string => {
  if (!ManagedName.safeParse(text).success) return text;
  const [service, region, account, id] = text.split("/");
  return [id, service, region, account].join("-");
};
export const managedDocumentName = (user: ManagedUser): string => documentNameOf(managedName(user));

/** All that are managed now. */
export const allManaged = async (store: Store): Promise<ManagedUser[]> => {
  const users: ManagedUser[] = [];
  for (const { place } of await readAll(store, ManagedPlace, keys.managedPlace("").pk))
    users.push(...(await readAll(store, ManagedUser, managedAt(place).pk)));
  return users.filter(({ state }) => state !== "ended");
};

/** The managed user meant by a name, whole or short. @throws Failure `not_found`, `invalid` when it stands for several */
export const findManaged = async (store: Store, text: string): Promise<ManagedUser> => {
  const users = await allManaged(store);
  const whole = users.find((user) => managedDocumentName(user) === documentNameOf(text));
  const [found, ...others] = whole ? [whole] : users.filter(({ id, user }) => id === text || user === text);
  if (!found)
    throw new Failure("not_found", `there is no managed user ${JSON.stringify(text)}`, {
      hint: "sally get managed_user lists them; one is managed when it is tagged sallyport/managed and logs in by password",
    });
  if (others.length > 0)
    throw new Failure("invalid", `${text} stands for several managed users`, {
      hint: `name one of ${[found, ...others].map(managedDocumentName).join(", ")}`,
    });
  return found;
};

/** What of its budget is used up, of the last 24 hours. */
const budgetOf = ({ budget }: ManagedUser, now: number): ManagedUserDocument["spec"]["budget"] => ({
  scheduled: { used: spentOf({ ...budget, spare: [] }, now), most: scheduledPerDay },
  spare: { used: spentOf({ ...budget, scheduled: [] }, now), most: sparePerDay },
});

const timeOf = (at: number): string => new Date(at).toISOString();

export const toManagedDocument = (user: ManagedUser, now: number): ManagedUserDocument => {
  const { service, account, region, id, state, failures, lastSuccessAt, retryAt, lastError, secret } = user;
  return {
    kind: "managed_user",
    version: "v1",
    metadata: { name: managedDocumentName(user) },
    spec: {
      ...{ service, account, region, id, user: user.user, databases: user.caches.map(({ database }) => database) },
      state,
      ...(lastSuccessAt !== undefined && { last_success: timeOf(lastSuccessAt) }),
      next_due: timeOf(user.nextDueAt),
      failures,
      ...(retryAt !== undefined && { retry_at: timeOf(retryAt) }),
      ...(lastError && { last_error: { ...lastError, at: timeOf(lastError.at) } }),
      budget: budgetOf(user, now),
      secret,
    },
  };
};

const readOnly = (): never => {
  throw new Failure("unsupported", "a managed user is not changed here: AWS's tags say which there are", {
    hint: "tag the user sallyport/managed=true at AWS, or =false; to change its password now: sally rotate USER",
  });
};

export const managedUser: Resource = {
  list: async ({ store, clock }): Promise<Document[]> =>
    (await allManaged(store))
      .map((user) => toManagedDocument(user, clock.now()))
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)),
  get: async ({ store, clock }, name) => toManagedDocument(await findManaged(store, name), clock.now()),
  put: async () => readOnly(),
  remove: async () => readOnly(),
};
