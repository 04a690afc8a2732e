// A person or program that logs in. What they hold is roles and traits; what they know (password, codes) is in another
// family of the table that only the API reads.
import * as z from "zod";
import { findLock, type Lock } from "./lock.ts";
import { Name } from "./name.ts";

export const Traits = z.record(z.string().min(1).max(64), z.array(z.string().max(255)).max(64));
export type Traits = z.infer<typeof Traits>;

export const User = z.object({
  name: Name,
  description: z.string().optional(),
  roles: z.array(Name).max(64),
  traits: Traits.default({}),
  /** `invited` until a password is set; `disabled` is denied everything. */
  state: z.enum(["invited", "active", "disabled"]),
  createdAt: z.number(),
  createdBy: z.string(),
  revision: z.number(),
});
export type User = z.infer<typeof User>;

/** The built-in role that may manage resources; it reaches no database by itself. */
export const adminRole = "admin";

/** What a user's password is checked against; in the family of the table that only the API reads. */
export const PasswordHash = z.object({ user: z.string(), hash: z.string(), changedAt: z.number() });
export type PasswordHash = z.infer<typeof PasswordHash>;

/** The lock on this user themself; a lock on a role or a database is decide()'s matter. */
export const findUserLock = (locks: readonly Lock[], user: string, now: number): Lock | undefined =>
  findLock(locks, { user, roles: [], database: "" }, now);

/** Those who can act as administrators at `now`. */
export const activeAdmins = (users: readonly User[], locks: readonly Lock[], now: number): readonly User[] =>
  users.filter(
    (user) => user.state === "active" && user.roles.includes(adminRole) && !findUserLock(locks, user.name, now),
  );
