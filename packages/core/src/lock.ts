// A lock takes access away at once: from a user, a role, a database or one session. It denies before any role is looked at.
import * as z from "zod";
import { Name } from "./name.ts";

export const LockTarget = z.union([
  z.strictObject({ user: Name }),
  z.strictObject({ role: Name }),
  z.strictObject({ database: Name }),
  z.strictObject({ session: z.string().min(1).max(64) }),
]);
export type LockTarget = z.infer<typeof LockTarget>;

export const Lock = z.object({
  name: Name,
  target: LockTarget,
  message: z.string().max(500).default(""),
  createdAt: z.number(),
  createdBy: z.string(),
  expiresAt: z.number().optional(),
  revision: z.number(),
});
export type Lock = z.infer<typeof Lock>;

/** Who and what a lock is held against. */
export interface LockedThings {
  readonly user: string;
  readonly roles: readonly string[];
  readonly database: string;
  readonly session?: string | undefined;
}

const concerns = (target: LockTarget, things: LockedThings): boolean => {
  if ("user" in target) return target.user === things.user;
  if ("role" in target) return things.roles.includes(target.role);
  if ("database" in target) return target.database === things.database;
  return target.session === things.session;
};

/** The first lock in force, or undefined. */
export const findLock = (locks: readonly Lock[], things: LockedThings, now: number): Lock | undefined =>
  locks.find((lock) => (lock.expiresAt === undefined || lock.expiresAt > now) && concerns(lock.target, things));

export const describeLock = (lock: Lock): string => {
  const [[what, name] = ["", ""]] = Object.entries(lock.target);
  return `${what} ${name} is locked${lock.message ? `: ${lock.message}` : ""}`;
};
