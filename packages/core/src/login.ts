// Logins to the API: opening one, knowing it again, ending it. Whatever ends a login also revokes the connect tokens issued
// under it. Expiry and end are checked at every use, never left to the table's tidying.
import { appendEvent, type EventName, eventChange } from "./audit.ts";
import { changeAccess } from "./epoch.ts";
import { Failure } from "./failure.ts";
import { fromItem, keys, read, readAll, toItem, ttlAfter, walk } from "./family.ts";
import { describeLock, Lock } from "./lock.ts";
import type { Change, Clock, Digest, Random, Store } from "./ports.ts";
import type { Secret } from "./secret.ts";
import { ApiKey, ConnectToken, identify, makeToken } from "./token.ts";
import { adminRole, findUserLock, User } from "./user.ts";

/** What the verbs about access need of the world. */
export interface Desk {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly digest: Digest;
}

/** Somebody logged in: who, and under which login. */
export interface Caller {
  readonly user: User;
  readonly login: string;
  readonly loginExpiresAt: number;
  readonly admin: boolean;
}

/** Clocks of two functions differ by less than this; a key from further ahead was not made by us. */
const clockSlack = 5 * 60_000;
/** Logins ended side by side. */
const mostEnding = 8;
/** Revocations in one transaction, beside the epoch and the event. */
const mostAtOnce = 90;
const issuedPrefix = keys.issued("", "").sk;

export const allLocks = (store: Store): Promise<Lock[]> => readAll(store, Lock, keys.lock("").pk);

/** A key (login or invitation) as the writes that make it. */
export const keyChanges = (
  { digest, random }: Pick<Desk, "digest" | "random">,
  key: Pick<ApiKey, "kind" | "user" | "issuedAt" | "expiresAt">,
): { readonly token: Secret; readonly id: string; readonly changes: readonly Change[] } => {
  const { token, id } = makeToken(key.kind, random, digest);
  const { kind, user, issuedAt, expiresAt } = key;
  const listed = { kind, user, issuedAt, expiresAt };
  return {
    token,
    id,
    changes: [
      { put: toItem(keys.apiKey(id), listed, expiresAt), if: { absent: true } },
      { put: toItem(keys.userKey(user, id), listed, expiresAt), if: { absent: true } },
    ],
  };
};

/** A counter that is missing counts as 0, so this holds exactly while the key has not ended. */
export const notEnded = { present: true, below: { endedAt: 1 } } as const;

/** Is this key one of that kind, and good at `now`? */
export const isGood = (key: ApiKey | undefined, kind: ApiKey["kind"], user: User | undefined, now: number): boolean =>
  key !== undefined &&
  key.kind === kind &&
  key.endedAt === undefined &&
  now < key.expiresAt &&
  key.issuedAt <= now + clockSlack &&
  user !== undefined &&
  key.user === user.name &&
  // a key outlives nobody: a new user by an old name is another one
  key.issuedAt >= user.createdAt;

const notLoggedIn = (cause: string): Failure =>
  // one message, whatever is wrong; the reason is for the log
  new Failure("not_logged_in", "you are not logged in", { hint: "sally login", cause });

/** Who presents this session token. @throws Failure `not_logged_in`; `denied` when the user is locked */
export const authenticate = async (
  { store, digest, clock }: Pick<Desk, "store" | "digest" | "clock">,
  presented: string,
): Promise<Caller> => {
  const id = identify("session", presented, digest);
  if (id === undefined) throw notLoggedIn("not a session token");
  const key = await read(store, ApiKey, keys.apiKey(id));
  if (!key) throw notLoggedIn("unknown session token");
  const [user, locks] = await Promise.all([read(store, User, keys.user(key.user)), allLocks(store)]);
  const now = clock.now();
  if (!user || !isGood(key, "session", user, now)) throw notLoggedIn("expired, ended or orphaned session token");
  if (user.state !== "active") throw notLoggedIn(`user is ${user.state}`);
  const lock = findUserLock(locks, user.name, now);
  if (lock) throw new Failure("denied", describeLock(lock), { hint: "an administrator can lift the lock" });
  return { user, login: id, loginExpiresAt: key.expiresAt, admin: user.roles.includes(adminRole) };
};

/** Marks a connect token as revoked; part of a changeAccess(). */
const revocation = (id: string, now: number): Change => ({
  update: keys.connectToken(id),
  set: { revokedAt: now },
  if: { present: true },
});

/** Revokes what was issued under a login, expired or not: a bearer that has expired may still carry live sessions. */
const revokeIssued = async ({ store, clock, random }: Desk, user: string, login: string, actor: string) => {
  const ids: string[] = [];
  for await (const item of walk(store, keys.issued(login, "").pk, issuedPrefix))
    ids.push(item.sk.slice(issuedPrefix.length));
  for (let from = 0; from < ids.length; from += mostAtOnce) {
    const items = await store.getMany(ids.slice(from, from + mostAtOnce).map(keys.connectToken));
    const open = items
      .flatMap((item) => (item ? [fromItem(ConnectToken, item)] : []))
      .filter((token) => token.revokedAt === undefined)
      .map((token) => token.id);
    const at = clock.now();
    if (open.length === 0) continue;
    await changeAccess(
      store,
      ...open.map((id) => revocation(id, at)),
      eventChange({ name: "token.revoke", at, actor, details: { user, tokens: open } }, random),
    );
  }
};

const end = async (desk: Desk, key: ApiKey, id: string, actor: string): Promise<void> => {
  const ended = { endedAt: desk.clock.now(), ttl: ttlAfter(key.expiresAt) };
  // the end comes first: from here on nothing can be issued under it, so what is listed then is all there will be
  await desk.store.write({ update: keys.apiKey(id), set: ended, if: notEnded }).catch((thrown: unknown) => {
    if (!(thrown instanceof Failure) || thrown.code !== "conflict") throw thrown;
  });
  if (key.kind === "session") await revokeIssued(desk, key.user, id, actor);
  // nothing is left to end: whoever ends this user's logins next, or again, passes it over
  await desk.store.write({ remove: keys.userKey(key.user, id) });
};

/** Ends one login and revokes its connect tokens. Doing it again finishes what was left. */
export const endLogin = async (desk: Desk, caller: Caller): Promise<void> => {
  const key = await read(desk.store, ApiKey, keys.apiKey(caller.login));
  if (!key) return;
  // also before the end: what fails here can be tried again under a login that still counts
  await revokeIssued(desk, key.user, caller.login, caller.user.name);
  await end(desk, key, caller.login, caller.user.name);
  await record(desk, "logout", caller.user.name, {});
};

/** Ends every login and every invitation of a user, or all but one kind. Doing it again goes on where it stopped. */
export const endLogins = async (desk: Desk, user: string, actor: string, but?: ApiKey["kind"]): Promise<void> => {
  const ids: string[] = [];
  for await (const item of walk(desk.store, keys.userKey(user, "").pk)) if (item["kind"] !== but) ids.push(item.sk);
  const endOne = async (id: string): Promise<void> => {
    const key = await read(desk.store, ApiKey, keys.apiKey(id));
    if (key) await end(desk, key, id, actor);
  };
  for (let from = 0; from < ids.length; from += mostEnding)
    await Promise.all(ids.slice(from, from + mostEnding).map(endOne));
};

/** Revokes a connect token: one's own, an administrator any. To others a token is unknown. @throws Failure `not_found` */
export const revokeToken = async ({ store, clock, random }: Desk, caller: Caller, id: string): Promise<void> => {
  const token = await read(store, ConnectToken, keys.connectToken(id));
  if (!token || (token.user !== caller.user.name && !caller.admin))
    throw new Failure("not_found", "there is no such token", { hint: "the id is in the answer that issued it" });
  if (token.revokedAt !== undefined) return;
  const at = clock.now();
  const details = { user: token.user, tokens: [id], database: token.database };
  await changeAccess(
    store,
    revocation(id, at),
    eventChange({ name: "token.revoke", at, actor: caller.user.name, details }, random),
  );
};

/** An event of its own, that accompanies no change. */
export const record = (
  { store, clock, random }: Pick<Desk, "store" | "clock" | "random">,
  name: EventName,
  actor: string,
  details: Readonly<Record<string, unknown>>,
): Promise<void> => appendEvent(store, { name, at: clock.now(), actor, details }, random);
