// The decision: who may reach which database as which database user. Pure, and the only mint of a Grant.
// Semantics: locks first; deny is an OR over all roles; allow needs one single role whose labels and matchers all match;
// roles are never combined; nothing said means no. A Denial names every reason and the role that came nearest.
import { type Database, kinds, protocols } from "./database.ts";
import { formatDuration } from "./duration.ts";
import { Failure } from "./failure.ts";
import { canonicalUser, notRole, roleArnOf, roleNameOf } from "./iam-role.ts";
import { describeLock, findLock, type Lock } from "./lock.ts";
import type { CompiledRole, RoleOptions, Roles } from "./role.ts";
import { adminRole, type User } from "./user.ts";

/** Who asks, and what is known of their login. */
export interface Subject {
  readonly user: Pick<User, "name" | "roles" | "traits" | "state">;
  /** When the login they ask under ends; `disconnect_expired_cert` cuts a session then. */
  readonly loginExpiresAt: number;
  /** When a second factor was last shown; absent: never. */
  readonly mfaAt?: number;
}

/** What is asked for. `name` is the database name, where the protocol has one. */
export interface Ask {
  readonly user: string;
  readonly name?: string | undefined;
  /** When the session began; equal to now for one that is about to. */
  readonly since: number;
  /** The session's id, once there is one: a lock may name it. */
  readonly session?: string;
}

declare const minted: unique symbol;

/** Proof of a decision. Every way to an upstream takes one, so a connection without a decision does not compile. */
export interface Grant {
  readonly [minted]: true;
  readonly user: string;
  readonly database: string;
  readonly dbUser: string;
  readonly dbName: string | undefined;
  /** The roles that allow this ask. */
  readonly roles: readonly string[];
  /** The session ends then, whatever happens. */
  readonly until: number;
  /** The session ends after so many milliseconds without a byte; undefined: never. */
  readonly idleFor: number | undefined;
  readonly maxConnections: number | undefined;
  readonly audit: "spooled" | "durable";
  readonly record: "statements" | "results";
  /** What happens to live sessions while the table can't be read. */
  readonly outage: "strict" | "best_effort";
  /** For plain clients; undefined: no bearer token may be issued or used. */
  readonly bearer: { readonly ttl: number; readonly logins: number } | undefined;
  readonly localFiles: boolean;
  readonly scripts: boolean;
  readonly ownAuth: boolean;
  readonly replication: boolean;
}

export type ReasonCode =
  | "user_state"
  | "no_roles"
  | "missing_role"
  | "broken_role"
  | "locked"
  | "deny"
  | "no_allow"
  | "mfa"
  | "no_user"
  | "no_name"
  | "option";
export interface Reason {
  readonly code: ReasonCode;
  /** The role that says so, where one does. */
  readonly role?: string;
  readonly text: string;
}
export interface Denial {
  readonly denied: true;
  readonly reasons: readonly Reason[];
  /** The allow role that came nearest and what it lacked. */
  readonly nearest?: string;
}
export const isDenial = (decision: Grant | Denial): decision is Denial => "denied" in decision;

const hour = 3_600_000;
export const defaultSessionTtl = 30 * hour;
export const defaultLoginTtl = 12 * hour;
const defaultBearerTtl = 15 * 60_000;
const defaultBearerLogins = 20;

/** Is it in the list, or does the list say `*`? */
export const matches = (list: readonly string[], value: string): boolean => list.includes("*") || list.includes(value);
/** A role of AWS's by either of its names. */
const matchesUser = (list: readonly string[], database: Database, user: string): boolean =>
  matches(
    list.map((one) => canonicalUser(database, one)),
    canonicalUser(database, user),
  );
/** AWS has no two roles of an account whose names differ in case or path alone: a deny is meant for whichever it is. */
export const deniesUser = (list: readonly string[], database: Database, user: string): boolean => {
  if (matchesUser(list, database, user)) return true;
  if (!kinds[database.kind].userIsRole) return false;
  const roleOf = (one: string): string | undefined => {
    const arn = roleArnOf(database, one.toLowerCase());
    return arn === undefined ? undefined : roleNameOf(arn);
  };
  const role = roleOf(user);
  return role !== undefined && list.some((one) => roleOf(one) === role);
};
const lowest = (values: readonly (number | undefined)[]): number | undefined => {
  const given = values.filter((value): value is number => value !== undefined && value > 0);
  return given.length > 0 ? Math.min(...given) : undefined;
};
const denial = (reasons: readonly Reason[], nearest?: string): Denial => ({
  denied: true,
  reasons,
  ...(nearest === undefined ? {} : { nearest }),
});

/** The subject's roles, or why they can't be had. The built-in administrator role reaches no database. */
export const heldRoles = (subject: Subject, roles: Roles): readonly CompiledRole[] | Reason => {
  const held: CompiledRole[] = [];
  for (const name of subject.user.roles) {
    if (name === adminRole) continue;
    // a role that is gone or broken may have held a deny: without it nothing can be decided
    if (!roles.has(name)) return { code: "missing_role", role: name, text: `role ${name} does not exist` };
    const role = roles.get(name);
    if (!role) return { code: "broken_role", role: name, text: `role ${name} can't be read` };
    held.push(role);
  }
  return held.length > 0
    ? held
    : { code: "no_roles", text: `user ${subject.user.name} holds no role that reaches databases` };
};

/** Why this role denies, or undefined. */
const denies = (role: CompiledRole, database: Database, ask: Ask): Reason | undefined => {
  const { deny, name } = role;
  const says = (text: string): Reason => ({ code: "deny", role: name, text: `role ${name} denies ${text}` });
  if (deny.expression) return says("everything: its label expression is not understood");
  if (deny.labels(database.labels)) return says(`databases with these labels`);
  if (deniesUser(deny.users, database, ask.user)) return says(`database user ${JSON.stringify(ask.user)}`);
  if (ask.name !== undefined && protocols[database.protocol].checksName && matches(deny.names, ask.name))
    return says(`database name ${JSON.stringify(ask.name)}`);
  return undefined;
};

/** How far an allow got: what matched and what it lacks. */
interface Trial {
  readonly role: CompiledRole;
  readonly score: number;
  readonly lacks: readonly string[];
  readonly text: string;
}

const listed = (values: readonly string[]): string =>
  values.length === 0 ? "an empty list" : `[${values.join(", ")}]`;

const tryAllow = (role: CompiledRole, database: Database, ask: Ask): Trial => {
  const { allow, name } = role;
  const got: string[] = [];
  const lacks: string[] = [];
  // what is not lacking is not put into words: live sessions are decided on by the thousand
  const mark = (ok: boolean, what: string, miss: () => string): void => void (ok ? got.push(what) : lacks.push(miss()));
  const byLabels = !allow.expression && allow.labels(database.labels);
  mark(byLabels, "labels", () =>
    allow.expression ? "its label expression is not understood" : "its labels do not match this database",
  );
  mark(
    matchesUser(allow.users, database, ask.user),
    "db_user",
    () => `db_user ${JSON.stringify(ask.user)} is not in ${listed(allow.users)}`,
  );
  if (protocols[database.protocol].checksName) {
    const named = ask.name !== undefined && matches(allow.names, ask.name);
    mark(named, "db_name", () => `db_name ${JSON.stringify(ask.name ?? "")} is not in ${listed(allow.names)}`);
  }
  const matched = got.length > 0 ? `matches ${got.join(" and ")}, but ` : "";
  // labels weigh most: a role about another database is never the nearest while one about this one exists
  return {
    role,
    score: got.length + (byLabels ? 10 : 0),
    lacks,
    text: `role ${name} ${matched}${lacks.join(" and ")}`,
  };
};

const every = (options: readonly RoleOptions[], value: (options: RoleOptions) => boolean): boolean =>
  options.every(value);

/** The smallest max_session_ttl over all roles the user holds. */
const sessionTtl = (roles: readonly CompiledRole[]): number =>
  lowest(roles.map((role) => role.options.max_session_ttl)) ?? defaultSessionTtl;

/** Options: only roles that allow this ask count, and the safest value wins. */
const mint = (
  subject: Subject,
  database: Database,
  ask: Ask,
  held: readonly CompiledRole[],
  allowing: readonly CompiledRole[],
): Grant => {
  const options = allowing.map((role) => role.options);
  const until = ask.since + sessionTtl(held);
  const bearer = every(options, (o) => o.bearer ?? true)
    ? {
        ttl: lowest(options.map((o) => o.bearer_ttl ?? defaultBearerTtl)) ?? defaultBearerTtl,
        logins: lowest(options.map((o) => o.bearer_logins ?? defaultBearerLogins)) ?? defaultBearerLogins,
      }
    : undefined;
  const parts: Omit<Grant, typeof minted> = {
    user: subject.user.name,
    database: database.name,
    dbUser: ask.user,
    dbName: ask.name,
    roles: allowing.map((role) => role.name),
    until: options.some((o) => o.disconnect_expired_cert) ? Math.min(until, subject.loginExpiresAt) : until,
    idleFor: lowest(options.map((o) => o.client_idle_timeout)),
    maxConnections: lowest(options.map((o) => o.max_connections)),
    audit: options.some((o) => o.audit === "durable") ? "durable" : "spooled",
    record: every(options, (o) => o.record === "results") ? "results" : "statements",
    outage: options.some((o) => o.lock === "strict") ? "strict" : "best_effort",
    bearer,
    localFiles: every(options, (o) => o.local_files ?? false),
    scripts: every(options, (o) => o.scripts ?? true),
    ownAuth: every(options, (o) => o.own_auth ?? false),
    replication: every(options, (o) => o.replication ?? false),
  };
  return parts as Grant;
};

/** For the probe, which is handed a credential and lets nobody through: good for a minute, and with no option at all. */
export const grantProbe = (user: string, name: string | undefined, now: number): Grant => {
  const parts: Omit<Grant, typeof minted> = {
    ...{ user: "probe", database: "", dbUser: user, dbName: name, roles: [], until: now + 60_000, idleFor: undefined },
    ...{ maxConnections: 1, audit: "spooled", record: "statements", outage: "strict", bearer: undefined },
    ...{ localFiles: false, scripts: false, ownAuth: false, replication: false },
  };
  return parts as Grant;
};

/** Teleport's words for false; every other word, a kind of key among them, asks for a second factor. */
const noMfa = new Set(["", "no", "nope", "n", "false", "0", "off"]);
const needsMfa = ({ require_session_mfa: wanted = false }: RoleOptions): boolean =>
  !noMfa.has(String(wanted).toLowerCase());

/** May `subject` reach `database` as asked, at `now`? Total and pure. */
export const decide = (
  subject: Subject,
  roles: Roles,
  locks: readonly Lock[],
  database: Database,
  ask: Ask,
  now: number,
): Grant | Denial => {
  const { user } = subject;
  if (user.state !== "active") return denial([{ code: "user_state", text: `user ${user.name} is ${user.state}` }]);
  const lock = findLock(
    locks,
    { user: user.name, roles: user.roles, database: database.name, session: ask.session },
    now,
  );
  if (lock) return denial([{ code: "locked", text: describeLock(lock) }]);
  const held = heldRoles(subject, roles);
  if ("code" in held) return denial([held]);
  if (ask.user === "") return denial([{ code: "no_user", text: "no database user was named" }]);
  const odd = notRole(database, ask.user);
  if (odd !== undefined) return denial([{ code: "no_user", text: odd }]);
  if (protocols[database.protocol].checksName && !ask.name)
    return denial([{ code: "no_name", text: "no database name was given" }]);
  const denials = held.flatMap((role) => denies(role, database, ask) ?? []);
  if (denials.length > 0) return denial(denials);
  const trials = held.map((role) => tryAllow(role, database, ask));
  const allowing = trials.filter((trial) => trial.lacks.length === 0).map((trial) => trial.role);
  if (allowing.length === 0) {
    const nearest = trials.reduce((best, trial) => (trial.score > best.score ? trial : best));
    return denial(
      trials.map((trial) => ({ code: "no_allow", role: trial.role.name, text: trial.text })),
      nearest.text,
    );
  }
  if (allowing.some((role) => needsMfa(role.options)) && subject.mfaAt === undefined)
    return denial([
      { code: "mfa", text: "a second factor is required for each session, and this version can't ask for one" },
    ]);
  const grant = mint(subject, database, ask, held, allowing);
  if (grant.until <= now)
    return denial([
      { code: "option", text: `the session's time is over (max_session_ttl ${formatDuration(sessionTtl(held))})` },
    ]);
  return grant;
};

/** How long a login may last: what was asked, bounded by the smallest max_session_ttl of the user's roles. @throws Failure `denied` when more is asked */
export const loginTtl = (user: Pick<User, "name" | "roles">, roles: Roles, asked: number | undefined): number => {
  const held = user.roles.flatMap((name) => roles.get(name) ?? []);
  const most = sessionTtl(held);
  if (asked !== undefined && asked > most)
    throw new Failure("denied", `a login of ${formatDuration(asked)} is longer than your roles allow`, {
      hint: `ask for ${formatDuration(most)} or less`,
    });
  return asked ?? Math.min(defaultLoginTtl, most);
};

/** Something a client asks for inside a live session. */
export type Access =
  | { readonly name: string }
  | { readonly user: string }
  | { readonly use: "own_auth" | "script" | "local_file" };

/** Rules on an access inside a session that was granted: another name or user is decided like a new ask, a use by the grant's options. */
export const admit = (
  grant: Grant,
  access: Access,
  again: (ask: { user: string; name: string | undefined }) => Grant | Denial,
): Denial | undefined => {
  if ("use" in access) {
    const allowed = { own_auth: grant.ownAuth, script: grant.scripts, local_file: grant.localFiles }[access.use];
    return allowed
      ? undefined
      : denial([{ code: "option", text: `${access.use.replace("_", " ")} is not allowed by your roles` }]);
  }
  const decision = again(
    "name" in access ? { user: grant.dbUser, name: access.name } : { user: access.user, name: grant.dbName },
  );
  return isDenial(decision) ? decision : undefined;
};

/** A denial as one line: the nearest miss, else the first reason. */
export const explainDenial = (denial: Denial): string =>
  denial.nearest ?? denial.reasons.map((reason) => reason.text).join("; ");
