// What somebody may reach, for listings: the users and names that their roles mention, as far as decide() would allow them.
import { decide, deniesUser, heldRoles, isDenial, matches, type Subject } from "./access.ts";
import { type Database, protocols } from "./database.ts";
import type { Lock } from "./lock.ts";
import type { CompiledRole, Roles } from "./role.ts";

/** The users and names that a role mentions, without those that any role denies. */
const mentioned = (
  role: CompiledRole,
  held: readonly CompiledRole[],
  database: Database,
): { users: string[]; names: string[] } => ({
  users: role.allow.users.filter(
    (user) => user !== "" && !held.some(({ deny }) => deniesUser(deny.users, database, user)),
  ),
  names: protocols[database.protocol].checksName
    ? role.allow.names.filter((name) => name !== "" && !held.some(({ deny }) => matches(deny.names, name)))
    : [""],
});

/** The database users and names that the subject's roles mention for this database; `*` stands for any. Denied ones are left out. */
export const reachable = (
  subject: Subject,
  roles: Roles,
  locks: readonly Lock[],
  database: Database,
  now: number,
): readonly { readonly user: string; readonly names: readonly string[] }[] => {
  const held = heldRoles(subject, roles);
  if ("code" in held) return [];
  const about = held.filter((role) => !role.allow.expression && role.allow.labels(database.labels));
  const found = new Map<string, Set<string>>();
  for (const role of about) {
    const { users, names } = mentioned(role, held, database);
    const [user, name] = [users[0], names[0]];
    if (user === undefined || name === undefined) continue;
    // all the rest (state, locks, labels denied, a second factor) is the same for every user and name of this role
    if (isDenial(decide(subject, roles, locks, database, { user, name, since: now }, now))) continue;
    for (const each of users) found.set(each, new Set([...(found.get(each) ?? []), ...names]));
  }
  return [...found].map(([user, names]) => ({ user, names: [...names].filter((name) => name !== "") }));
};
