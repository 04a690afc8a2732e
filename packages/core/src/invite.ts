// Invitations: the only way to a password. Single use, short-lived, shown once; accepting one ends everything that was
// valid before it. An administrator's invitation or reset and the bootstrap function make them.
import { type EventName, eventChange } from "./audit.ts";
import { type Plan, planAccess } from "./epoch.ts";
import { Failure } from "./failure.ts";
import { keys, read, readAll, toItem, ttlAfter } from "./family.ts";
import { allLocks, type Desk, endLogins, isGood, keyChanges, notEnded } from "./login.ts";
import type { Change, Store } from "./ports.ts";
import { Role } from "./role.ts";
import { ApiKey, identify } from "./token.ts";
import { activeAdmins, adminRole, type PasswordHash, type Traits, User } from "./user.ts";

export const day = 86_400_000;
const inviteFor = 7 * day;

/** An invitation as it is answered, once. */
export interface Invitation {
  readonly invite: string;
  readonly user: string;
  readonly expiresAt: number;
}

export const allUsers = (store: Store): Promise<User[]> => readAll(store, User, keys.user("").pk);

/** Puts a user, if it is still as it was read. */
export const userChange = (next: User, before: User | undefined): Change => ({
  put: toItem(keys.user(next.name), next),
  if: before ? { equals: { revision: before.revision } } : { absent: true },
});

/** @throws Failure `invalid` naming the roles that do not exist */
export const requireRoles = async (store: Store, names: readonly string[]): Promise<void> => {
  const wanted = names.filter((name) => name !== adminRole);
  const found = await Promise.all(wanted.map((name) => read(store, Role, keys.role(name))));
  const missing = wanted.filter((_, at) => !found[at]);
  if (missing.length > 0)
    throw new Failure("invalid", `there is no role ${missing.join(", ")}`, {
      hint: "create it first: sally create -f",
    });
};

/** @throws Failure `conflict` when nobody else could administer this deployment */
export const requireOtherAdmin = async ({ store, clock }: Pick<Desk, "store" | "clock">, user: User): Promise<void> => {
  const [users, locks] = await Promise.all([allUsers(store), allLocks(store)]);
  const admins = activeAdmins(users, locks, clock.now());
  if (admins.length === 1 && admins[0]?.name === user.name)
    throw new Failure("conflict", `${user.name} is the last active administrator`, {
      hint: "make another one first: sally users add NAME --roles admin",
    });
};

/** The writes of an invitation for `user` as it will be, with its event. */
export const invitation = (
  { clock, random, digest }: Pick<Desk, "clock" | "random" | "digest">,
  about: { readonly next: User; readonly before: User | undefined; readonly event: EventName; readonly actor: string },
  lastsFor: number,
  facts: Readonly<Record<string, unknown>> = {},
): Plan<Invitation> => {
  const { next, before, event, actor } = about;
  const issuedAt = clock.now();
  const expiresAt = issuedAt + lastsFor;
  const key = { kind: "invite", user: next.name, issuedAt, expiresAt } as const;
  const { token, id, changes } = keyChanges({ random, digest }, key);
  const details = { user: next.name, roles: next.roles, state: next.state, expiresAt, ...facts };
  return {
    changes: [
      userChange(next, before),
      ...changes,
      // from this write on the ones before it are void, ended or not
      { update: keys.openInvite(next.name), set: { id, ttl: ttlAfter(expiresAt) } },
      eventChange({ name: event, at: issuedAt, actor, details }, random),
    ],
    answer: { invite: token.reveal(), user: next.name, expiresAt },
  };
};

/** A new user, with the invitation to set a password. @throws Failure `conflict` when there is one by that name */
export const invite = (
  desk: Desk,
  actor: string,
  user: { readonly name: string; readonly roles: readonly string[]; readonly traits: Traits },
): Promise<Invitation> =>
  planAccess(desk.store, async () => {
    if (await desk.store.get(keys.user(user.name)))
      throw new Failure("conflict", `there is a user ${user.name} already`, {
        hint: "another name, or sally users reset for a new invite",
      });
    await requireRoles(desk.store, user.roles);
    const { name, traits } = user;
    const made = { createdAt: desk.clock.now(), createdBy: actor, revision: 1 };
    const next: User = { name, roles: [...new Set(user.roles)], traits, state: "invited", ...made };
    return invitation(desk, { next, before: undefined, event: "user.invite", actor }, inviteFor);
  });

/** Takes password and logins away and answers a new invitation. @throws Failure `not_found`, `conflict` */
export const reset = async (desk: Desk, actor: string, name: string): Promise<Invitation> => {
  const answer = await planAccess(desk.store, async () => {
    const before = await read(desk.store, User, keys.user(name));
    if (!before) throw new Failure("not_found", `there is no user ${name}`, { hint: "sally users ls" });
    if (before.state === "disabled")
      throw new Failure("conflict", `user ${name} is disabled`, { hint: "enable the user first" });
    await requireOtherAdmin(desk, before);
    // while invited the user is denied everything, so whatever they hold is void with this write
    const next: User = { ...before, state: "invited", revision: before.revision + 1 };
    const plan = invitation(desk, { next, before, event: "user.invite", actor }, inviteFor, { reset: true });
    return { ...plan, changes: [...plan.changes, { remove: keys.password(name) }] };
  });
  await endLogins(desk, name, actor, "invite");
  return answer;
};

const badInvite = (): Failure =>
  new Failure("bad_token", "this invite is not valid: unknown, expired, used or replaced", {
    hint: "ask an administrator for a new one: sally users reset",
  });

/** Sets the first or a new password. `hash` is asked only for a good invitation. @throws Failure `bad_token`, `denied` */
export const acceptInvite = async (
  desk: Desk,
  presented: string,
  hash: () => Promise<string>,
): Promise<{ readonly user: string }> => {
  const { store, clock, random, digest } = desk;
  const id = identify("invite", presented, digest);
  const key = id === undefined ? undefined : await read(store, ApiKey, keys.apiKey(id));
  const user = key && (await read(store, User, keys.user(key.user)));
  const open = user && (await store.get(keys.openInvite(user.name)));
  if (id === undefined || !user || open?.["id"] !== id || !isGood(key, "invite", user, clock.now())) throw badInvite();
  if (user.state === "disabled")
    throw new Failure("denied", `user ${user.name} is disabled`, { hint: "ask an administrator" });
  const made: PasswordHash = { user: user.name, hash: await hash(), changedAt: clock.now() };
  // before the new password counts, so that nothing old outlives it
  await endLogins(desk, user.name, user.name, "invite");
  const answer = await planAccess(store, async () => {
    const [invited, before, current] = await Promise.all([
      read(store, ApiKey, keys.apiKey(id)),
      read(store, User, keys.user(user.name)),
      store.get(keys.openInvite(user.name)),
    ]);
    const now = clock.now();
    if (!before || before.state === "disabled" || current?.["id"] !== id || !isGood(invited, "invite", before, now))
      throw badInvite();
    const next: User = { ...before, state: "active", revision: before.revision + 1 };
    return {
      changes: [
        { update: keys.apiKey(id), set: { endedAt: now }, if: notEnded },
        { remove: keys.openInvite(user.name), if: { equals: { id } } },
        { put: toItem(keys.password(user.name), made) },
        userChange(next, before),
        eventChange({ name: "user.password", at: now, actor: user.name, details: { user: user.name } }, random),
      ],
      answer: { user: user.name },
    };
  });
  // an old password may have been good until then
  await endLogins(desk, user.name, user.name, "invite");
  return answer;
};
