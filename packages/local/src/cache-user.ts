// Who may log in to a cache of ElastiCache or MemoryDB, as the account knows it: users, the groups they are in (MemoryDB calls a
// group an ACL), and the caches that a group guards. The APIs show these, the real servers follow them.
import type { Secret } from "@sallyport/core/secret";

export type CacheService = "elasticache" | "memorydb";

/** Where a user, a group or a cache is. */
export interface CachePlace {
  readonly service: CacheService;
  readonly accountId: string;
  readonly region: string;
}

export type AuthenticationType = "password" | "no-password" | "iam";

/** A user as it was last asked to be. A server may still be on its way there: see `status`. */
export interface CacheUser {
  /** ElastiCache's user id; in MemoryDB the name. Lower case. */
  readonly id: string;
  /** What is logged in with. */
  readonly name: string;
  readonly arn: string;
  readonly type: AuthenticationType;
  /** At most two, and none unless the type is password. */
  readonly passwords: readonly Secret[];
  /** As Redis's ACL SETUSER takes it, `on ~* +@all`; it says nothing of passwords. */
  readonly accessString: string;
  readonly engine: "redis" | "valkey";
}

/** Settings of a user that may change; what is not named stays. */
export type UserChange = Partial<Pick<CacheUser, "type" | "passwords" | "accessString" | "engine">>;

/** `modifying` until every server that follows has it, and never shorter than the account takes for a change. */
export type UserStatus = "active" | "modifying" | "deleting";

export interface UserSpec extends Partial<Omit<CacheUser, "arn" | "id">> {
  readonly id: string;
  readonly tags?: Tags;
}

export interface CacheGroup {
  readonly id: string;
  readonly arn: string;
  readonly userIds: readonly string[];
}

/** A replication group, a serverless cache or a MemoryDB cluster. */
export interface CacheRef extends CachePlace {
  readonly type: "replicationgroup" | "serverlesscache" | "cluster";
  /** Its id or name, lower case. */
  readonly id: string;
}

/** What guards a cache: groups; without any, the default user alone, whose password is the AUTH token where there is one. */
export interface Guard {
  readonly groups: readonly string[];
  readonly authToken?: Secret;
}

export type Tags = Readonly<Record<string, string>>;

/** ElastiCache writes `user:ann`, MemoryDB `user/ann`. */
export const cacheArn = (
  place: CachePlace,
  type: "user" | "usergroup" | "acl" | CacheRef["type"],
  id: string,
): string =>
  `arn:aws:${place.service}:${place.region}:${place.accountId}:${type}${place.service === "memorydb" ? "/" : ":"}${id}`;

/** The user that every account has from the start, and a server of its own before anybody sets one up. */
export const defaultUser = (place: CachePlace): CacheUser => ({
  id: "default",
  name: "default",
  arn: cacheArn(place, "user", "default"),
  type: "no-password",
  passwords: [],
  accessString: "on ~* +@all",
  engine: "redis",
});
