// Logging in with a password. Guessing is slowed for one user from one address strictly, from one address over all users
// too, and for one user from everywhere by a wait only: nobody can lock somebody else out.
import { loginTtl } from "@sallyport/core/access";
import { countedAddress } from "@sallyport/core/address";
import type { Input, Output } from "@sallyport/core/api";
import { eventChange } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { keys, read } from "@sallyport/core/family";
import { describeLock } from "@sallyport/core/lock";
import { allLocks, type Desk, keyChanges, record } from "@sallyport/core/login";
import { loginsOf } from "@sallyport/core/quota";
import { readRoles } from "@sallyport/core/role";
import { type Throttle, takeTurn, turnBack } from "@sallyport/core/throttle";
import { findUserLock, PasswordHash, User } from "@sallyport/core/user";
import { checkPassword } from "./password.ts";

const windowFor = 15 * 60_000;
const mostPerPair = 10;
const mostPerAddress = 100;
/** Failures of one user from anywhere after which each attempt waits, longer each time. */
const freeFailures = 50;
const waitStep = 100;
const longestWait = 3_000;

export interface PasswordDesk extends Desk {
  /** Resolves after so many milliseconds. */
  wait(ms: number): Promise<unknown>;
}

/** Takes the turns before the password is looked at, so that parallel guesses are counted too. @throws Failure `too_many` */
const takeTurns = async (desk: PasswordDesk, user: string, address: string, now: number): Promise<Throttle[]> => {
  // what was typed as a user name may be a password: it is counted, and not kept
  const typed = `#${desk.digest.sha256(user).slice(0, 32)}`;
  const pair = { who: `${typed}#from#${address}`, most: mostPerPair, windowFor };
  const source = { who: `#from#${address}`, most: mostPerAddress, windowFor };
  const target = { who: `${typed}#all`, windowFor };
  await takeTurn(desk.store, pair, now);
  await takeTurn(desk.store, source, now);
  const failures = await takeTurn(desk.store, target, now);
  if (failures > freeFailures) await desk.wait(Math.min(longestWait, (failures - freeFailures) * waitStep));
  return [pair, source, target];
};

const lengthOf = (...asked: Parameters<typeof loginTtl>): number | Failure => {
  try {
    return loginTtl(...asked);
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown;
    throw thrown;
  }
};

/** @throws Failure `not_logged_in` whatever is wrong with user and password; `denied`, `too_many`; `conflict` when the user changes at that moment */
export const login = async (desk: PasswordDesk, input: Input<"login">, from: string): Promise<Output<"login">> => {
  const { store, clock, random } = desk;
  const startedAt = clock.now();
  const turns = await takeTurns(desk, input.user, countedAddress(from), startedAt);
  // in this order: the write below is refused when the user changed since, and a password changes only together with its user
  const user = await read(store, User, keys.user(input.user));
  const stored = await read(store, PasswordHash, keys.password(input.user));
  // a password outlives nobody: a new user by an old name has none yet
  const own = user && stored && stored.changedAt >= user.createdAt ? stored.hash : undefined;
  const right = await checkPassword(own, input.password);
  if (!right || !user) {
    await record(desk, "login.failure", user?.name ?? "unknown", { from });
    throw new Failure("not_logged_in", "wrong user or password", {
      hint: "after a reset, log in with the new invite: sally login --invite",
    });
  }
  await store.transact(turns.map((turn) => turnBack(turn, startedAt)));
  const [roles, locks] = await Promise.all([readRoles(store), allLocks(store)]);
  const now = clock.now();
  const lock = findUserLock(locks, user.name, now);
  const against = lock
    ? describeLock(lock)
    : user.state === "active"
      ? undefined
      : `user ${user.name} is ${user.state}`;
  const refuse = async (failure: Failure): Promise<never> => {
    await record(desk, "login.failure", user.name, { from, why: failure.message });
    throw failure;
  };
  if (against !== undefined) return refuse(new Failure("denied", against, { hint: "ask an administrator" }));
  const lastsFor = lengthOf(user, roles, input.ttl);
  if (lastsFor instanceof Failure) return refuse(lastsFor);
  await takeTurn(store, loginsOf(user.name), now);
  const expiresAt = now + lastsFor;
  const { token, id, changes } = keyChanges(desk, { kind: "session", user: user.name, issuedAt: now, expiresAt });
  const details = { from, login: id, expiresAt };
  await store
    .transact([
      ...changes,
      // a reset or a disabling that came in between has ended all logins, but could not know of this one
      { update: keys.user(user.name), if: { equals: { revision: user.revision } } },
      eventChange({ name: "login.success", at: now, actor: user.name, details }, random),
    ])
    .catch((thrown: unknown) => {
      if (!(thrown instanceof Failure) || thrown.code !== "conflict") throw thrown;
      throw new Failure("conflict", `user ${user.name} was changed meanwhile`, { hint: "log in again" });
    });
  return { token: token.reveal(), expiresAt, user: user.name, roles: user.roles };
};
