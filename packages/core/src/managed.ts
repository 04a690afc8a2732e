// A database user whose password Sallyport changes every 15 minutes, and the record of how far that has come: one item, written
// by rotate alone and read by the API and the proxies. Rule: each write is on condition of the fence and the revision that were
// read, so of two rotators one gets through (rotation.ts says what the next step is).
import * as z from "zod";
import { Assumed, Endpoint, kindNames } from "./database.ts";
import { failureCodes } from "./failure.ts";
import type { Key } from "./ports.ts";

/** Whose users can be managed; of ElastiCache they are one set, whether a replication group or a serverless cache lets them in. */
export const managedServices = ["elasticache", "memorydb"] as const;
export type ManagedService = (typeof managedServices)[number];

/**
 * `due`: its time has come, or it is new. `staged`: the new password is in the vault, as pending. `applied`: the user was given it
 * beside the current one. `verified`: it logged in at every node. `current`: it was promoted. `leaving`: no longer to be managed, its
 * secret is to go. `ended`: that is done.
 */
export const managedStates = ["due", "staged", "applied", "verified", "current", "leaving", "ended"] as const;
export type ManagedState = (typeof managedStates)[number];

/** One of the caches and clusters that let the user in, and every way by which AWS says its nodes are reached. */
export const ManagedCache = z.object({
  arn: z.string(),
  /** A database of the table that stands for it: for words. */
  database: z.string(),
  vpcId: z.string().optional(),
  endpoints: z.array(Endpoint),
});
export type ManagedCache = z.infer<typeof ManagedCache>;

/** The secret versions that were made, oldest first, as minutes since the epoch: those of the last day count. */
export const Budget = z.object({
  /** By the schedule. */
  scheduled: z.array(z.number()),
  /** By hand, and for secrets that had to be made. */
  spare: z.array(z.number()),
});
export type Budget = z.infer<typeof Budget>;

export const ManagedUser = z.object({
  service: z.enum(managedServices),
  /** The kind whose listing shows it, and through which it is changed. */
  kind: z.enum(kindNames),
  arn: z.string(),
  partition: z.string(),
  account: z.string(),
  region: z.string(),
  /** What AWS calls it, and the name it logs in by. */
  id: z.string(),
  user: z.string(),
  assume: Assumed.optional(),
  /** The name of its secret: CURRENT logs in, and so does PREVIOUS until the next change. */
  secret: z.string(),
  caches: z.array(ManagedCache),

  state: z.enum(managedStates),
  /** The version that is being brought in; written before it is put. */
  version: z.string().optional(),
  /** The version that was current when it was applied, which the promotion must meet. */
  replaces: z.string().optional(),

  /** Who is at it; absent when nobody is. */
  owner: z.string().optional(),
  /** Counts up with each lease. */
  fence: z.number(),
  /** Counts up with each write; one that stays is how a lease is known to have ended. */
  revision: z.number(),

  /** When the next rotation is due by the schedule. */
  nextDueAt: z.number(),
  /** It was asked for by hand. */
  askedAt: z.number().optional(),
  appliedAt: z.number().optional(),
  /** When the last password was promoted; absent before the first. */
  lastSuccessAt: z.number().optional(),
  /** Failed attempts since the last success, and when the next one may be. */
  failures: z.number(),
  retryAt: z.number().optional(),
  lastError: z.object({ at: z.number(), code: z.enum(failureCodes), message: z.string() }).optional(),
  budget: Budget,
  /** Complete listings in a row that did not show it. */
  misses: z.number(),
  createdAt: z.number(),
});
export type ManagedUser = z.infer<typeof ManagedUser>;

/** What a kind needs to know of a managed user to ask AWS about it or to change it. */
export type ManagedRef = Pick<ManagedUser, "service" | "arn" | "account" | "region" | "id" | "user" | "assume">;

type Placed = Pick<ManagedUser, "service" | "region" | "account">;

/** Where its kind is changed at a rate of its own: `elasticache/eu-west-1/111122223333`. */
export const placeOf = ({ service, region, account }: Placed): string => `${service}/${region}/${account}`;

/** What people call it: `elasticache/eu-west-1/111122223333/app`. */
export const managedName = (user: Placed & Pick<ManagedUser, "id">): string => `${placeOf(user)}/${user.id}`;

export const ManagedName = z
  .string()
  .regex(
    new RegExp(`^(?:${managedServices.join("|")})/[a-z]{2,4}(?:-[a-z]+)+-\\d/\\d{12}/[A-Za-z][A-Za-z0-9-]{0,127}$`),
    "the whole name of a managed user, such as elasticache/eu-west-1/111122223333/app",
  );

/** Where its record is. A proxy finds it by the user name it is to log in as: users of one name may be several, in different caches. */
export const managedKey = (user: Placed & Pick<ManagedUser, "id" | "user">): Key => ({
  pk: `managed#${placeOf(user)}`,
  sk: `${user.user}#${user.id}`,
});
/** Lists the users of one place, or those of one user name. */
export const managedAt = (place: string, user?: string): { readonly pk: string; readonly prefix?: string } => ({
  pk: `managed#${place}`,
  ...(user !== undefined && { prefix: `${user}#` }),
});

/** The secret of a managed user. Ends in a word: Secrets Manager mistakes a hyphen and six characters for its own ending. */
export const managedSecret = (prefix: string, user: Placed & Pick<ManagedUser, "id">): string =>
  `${prefix}/${placeOf(user)}/user/${user.id}/password`;

/** A place that holds managed users, or held some: so they are found without knowing where to look. */
export const ManagedPlace = z.object({ place: z.string() });
export type ManagedPlace = z.infer<typeof ManagedPlace>;

/** What the API may ask of rotate: nothing but a name, looked up in the table. Which secret, which step and which stage is rotate's own to know. */
export const RotateAsked = z.strictObject({ user: ManagedName });
export type RotateAsked = z.input<typeof RotateAsked>;

/** What came of one run. */
export const Rotated = z.object({
  /** Users that are managed, and how many of them had something to do. */
  managed: z.number(),
  due: z.number(),
  /** Rotations that ended well, attempts that failed, users that wait for AWS or for another rotator. */
  rotated: z.number(),
  failed: z.number(),
  waiting: z.number(),
  /** By how much the most overdue one is late, in milliseconds; and how many fail time after time. */
  lagMs: z.number(),
  failing: z.number(),
});
export type Rotated = z.infer<typeof Rotated>;
