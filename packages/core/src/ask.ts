// What is asked for when parts of it are left out: the database by a short name, the only database user and name that the
// roles mention. To somebody whose roles are not about a database it does not exist: nothing here tells the two apart.
import { type Denial, decide, type Grant, type Subject } from "./access.ts";
import { type Database, type KindFacts, kinds, protocols } from "./database.ts";
import { Failure } from "./failure.ts";
import { canonicalUser } from "./iam-role.ts";
import type { Lock } from "./lock.ts";
import type { Roles } from "./role.ts";

/** Everything a decision rests on but the ask, as it was read for one request. */
export interface Scene {
  readonly subject: Subject;
  readonly roles: Roles;
  readonly locks: readonly Lock[];
  readonly databases: readonly Database[];
  readonly now: number;
}
export interface Wanted {
  readonly database: string;
  readonly user?: string | undefined;
  readonly name?: string | undefined;
}
type Reach = readonly { readonly user: string; readonly names: readonly string[] }[];

/** The subject's roles that are about this database: their labels match. */
const about = ({ subject, roles }: Scene, database: Database) =>
  subject.user.roles
    .flatMap((name) => roles.get(name) ?? [])
    .filter(({ allow }) => !allow.expression && allow.labels(database.labels));

/** May this subject hear that the database exists, and why they may not reach it? */
export const knows = (scene: Scene, database: Database): boolean => about(scene, database).length > 0;

/** Is `text` the database's name without the suffixes that naming.ts appends: type, kind, region, account? */
export const isShort = (
  text: string,
  { name, kind, region, account }: Pick<Database, "name" | "kind" | "region" | "account">,
): boolean => {
  if (!name.startsWith(`${text}-`)) return false;
  const rest = [kinds[kind].matcher, kind, region, account].reduce(
    (left, part) => (left.startsWith(`-${part}`) ? left.slice(part.length + 1) : left),
    name.slice(text.length),
  );
  return rest === "";
};

/** The database meant, among those that `visible` says may be talked about; a short name is for those that can be reached, if any. @throws Failure `invalid` when a short name stands for several */
export const findDatabase = (
  databases: readonly Database[],
  text: string,
  visible: (database: Database) => boolean,
  reached: (database: Database) => boolean,
): Database | undefined => {
  const exact = databases.find((database) => database.name === text);
  // asked of every database whatever was found, so that finding takes no longer than not finding
  const short = databases.filter((database) => visible(database) && isShort(text, database));
  if (exact && visible(exact)) return exact;
  const near = short.filter(reached);
  if (near.length === 1) return near[0];
  if (short.length > 1)
    throw new Failure("invalid", `${text} stands for several databases`, {
      hint: `name one of ${short.map(({ name }) => name).join(", ")}`,
      details: { databases: short.map(({ name }) => name) },
    });
  return short[0];
};

const only = (values: readonly string[]): string | undefined => {
  const named = [...new Set(values)].filter((value) => value !== "*");
  return named.length === 1 && !values.includes("*") ? named[0] : undefined;
};

/** The database user when none is named. @throws Failure `invalid` that lists them when there are several */
const chooseUser = (scene: Scene, database: Database, reach: Reach): string => {
  const users = reach.map(({ user }) => user);
  const one = only(users);
  if (one !== undefined) return one;
  if (users.length > 0)
    throw new Failure("invalid", `which database user of ${database.name}?`, {
      hint: `name one with -u: ${users.map((user) => (user === "*" ? "any" : user)).join(", ")}`,
      details: { users },
    });
  // nobody can be reached: ask as the first one mentioned, so that the denial says what stands in the way
  return (
    about(scene, database)
      .flatMap(({ allow }) => allow.users)
      .find((user) => user !== "*") ?? ""
  );
};

/** The database name when none is named; where any may be, the kind's usual one or the user's own, as clients do. @throws Failure `invalid` that lists them when there are several */
const chooseName = (database: Database, user: string, names: readonly string[]): string => {
  const one = only(names);
  if (one !== undefined) return one;
  const { usualName = user }: KindFacts = kinds[database.kind];
  if (names.length === 0 || names.includes("*") || names.includes(usualName)) return usualName;
  throw new Failure("invalid", `which database name of ${database.name}?`, {
    hint: `name one with -n: ${names.join(", ")}`,
    details: { names },
  });
};

/** The ask in full. @throws Failure `invalid` */
export const completeAsk = (
  scene: Scene,
  database: Database,
  reach: Reach,
  wanted: Wanted,
): { readonly user: string; readonly name: string | undefined } => {
  const user = wanted.user ?? chooseUser(scene, database, reach);
  if (wanted.name !== undefined || !protocols[database.protocol].checksName) return { user, name: wanted.name };
  const same = (one: string): boolean => canonicalUser(database, one) === canonicalUser(database, user);
  const own = reach.filter((one) => same(one.user) || one.user === "*");
  // for a user whom no role mentions the others' names still make the better denial
  const names = (own.length > 0 ? own : reach).flatMap((one) => one.names);
  return { user, name: chooseName(database, user, [...new Set(names)]) };
};

export const ruleOn = (
  { subject, roles, locks, now }: Scene,
  database: Database,
  ask: { readonly user: string; readonly name: string | undefined },
): Grant | Denial => decide(subject, roles, locks, database, { ...ask, since: now }, now);

/** What an outsider hears, whether there is such a database or not. */
export const unknownDatabase = (text: string): Failure =>
  new Failure("not_found", `there is no database ${JSON.stringify(text)} that you may reach`, { hint: "sally db ls" });
