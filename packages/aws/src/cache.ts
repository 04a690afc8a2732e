// What the kinds of caches share: tags that AWS may withhold, users and what they log in with, and the choice of a credential.
// Rule: managed user → IAM → none, in this order. A client's own AUTH, where its role allows it, comes before any of them and
// asks for none.
import type { Credential } from "@sallyport/core/credential";
import type { Database } from "@sallyport/core/database";
import { Failure } from "@sallyport/core/failure";
import type { Listing, Person } from "@sallyport/core/kind";
import type { Labels } from "@sallyport/core/label";
import type { FindManaged, ManagedPassword } from "@sallyport/core/managed-password";
import type { Secret } from "@sallyport/core/secret";
import { hopsOf } from "./assume.ts";
import { wordCall } from "./call.ts";
import { errorName, isAccessDenied } from "./client.ts";
import { isHostOf } from "./host.ts";
import { foreignHost, keysOrWhy, type World, word } from "./rds.ts";

/** A user of either service. */
export interface CacheUser {
  /** In MemoryDB the name. */
  readonly id: string;
  /** What is logged in with. */
  readonly name: string;
  readonly arn: string;
  /** AWS's own words, lower-case: `active`; `password`, `no-password`, `iam`. */
  readonly state: string;
  readonly authentication: string;
  /** The user groups it is in; in MemoryDB the ACLs. */
  readonly groups: readonly string[];
}

/** What the two services have in common. */
export interface CacheApi {
  readonly service: "elasticache" | "memorydb";
  userArn(where: Pick<Database, "partition" | "region" | "account">, user: string): string;
  /** @throws Failure `denied` with the policy to add, `unavailable` */
  user(listing: Listing, id: string): Promise<CacheUser | undefined>;
  users(listing: Listing): AsyncIterable<readonly CacheUser[]>;
  /** @throws the service's own error */
  tags(listing: Listing, arn: string): Promise<Labels>;
  /** Replaces the whole list. @throws the service's own error */
  setPasswords(listing: Listing, id: string, passwords: readonly Secret[]): Promise<void>;
}

/** What a kind of caches works with. */
export interface CacheWorld extends World {
  readonly now: () => number;
  /** Absent where nobody is logged in. */
  readonly managed?: FindManaged | undefined;
}

export const isMissing = (thrown: unknown): boolean =>
  ["UserNotFound", "UserNotFoundFault"].includes(errorName(thrown));
/** What is asked for can't be had in the state that its owner is in. */
export const isState = (thrown: unknown): boolean => /^Invalid\w*State(Fault)?$/.test(errorName(thrown));

export interface Told {
  readonly tags: Labels;
  /** AWS does not tell them in the state that it is in: the last known ones stay. */
  readonly withheld?: true;
  readonly warning?: string;
}

/** The tags of a cache or a user. @throws Failure what passes with the next run */
export const tagsOf = async (api: CacheApi, listing: Listing, arn: string): Promise<Told> => {
  const action = api.service === "elasticache" ? "elasticache:ListTagsForResource" : "memorydb:ListTags";
  try {
    return { tags: await api.tags(listing, arn) };
  } catch (thrown) {
    // of a user that is being changed AWS says that it is not there
    if (isState(thrown) || isMissing(thrown)) return { tags: {}, withheld: true };
    const failure = wordCall(thrown, action, listing.region, arn);
    // without tags it is there for whoever needs none; the run says so
    if (isAccessDenied(thrown))
      return { tags: {}, warning: `${arn} is listed without tags: ${failure.message}\n${failure.hint ?? ""}` };
    throw failure;
  }
};

const services = {
  elasticache: { title: "ElastiCache", hosts: "cache", connect: "elasticache:Connect", groups: "user group" },
  memorydb: { title: "MemoryDB", hosts: "memorydb", connect: "memorydb:Connect", groups: "ACL" },
} as const;
export const titleOf = (api: CacheApi): string => services[api.service].title;

/** Is it the service's own host in its region and partition? */
export const isCacheHost = (api: CacheApi, host: string, where: Pick<Database, "partition" | "region">): boolean =>
  isHostOf(services[api.service].hosts, host, where);

/** From which version on a server takes IAM tokens. */
const iamSince: Readonly<Record<string, readonly [major: number, minor: number]>> = {
  redis: [7, 0],
  valkey: [7, 2],
};

/** Why this engine takes no IAM token; undefined when it does, or when its version says nothing. */
const tooOld = ({ labels }: Database): string | undefined => {
  const { engine = "", "engine-version": version = "" } = labels;
  const [, major, minor = "0"] = /^(\d+)(?:\.(\d+))?/.exec(version) ?? [];
  const since = Object.hasOwn(iamSince, engine) ? iamSince[engine] : undefined;
  // a whole number names all versions that begin with it
  if (!since || major === undefined || (Number(major) === since[0] && !version.includes("."))) return undefined;
  if (Number(major) > since[0] || (Number(major) === since[0] && Number(minor) >= since[1])) return undefined;
  return `${engine} ${version} takes no IAM token, as ${since.join(".")} and later do`;
};

/** How long it is believed what AWS said of a user: that IAM lets it in, and that it does not. */
const believedFor = { yes: 5 * 60_000, no: 30_000 };
const mostKept = 10_000;

/** Answers why a user can't log in by IAM; undefined when it can. */
const openCapability = (api: CacheApi, now: () => number) => {
  const kept = new Map<string, { readonly why: Promise<string | undefined>; until: number }>();
  const ask = async ({ region, assume }: Database, user: string): Promise<string | undefined> => {
    const { title } = services[api.service];
    const found = await api.user({ region, ...(assume && { assume }) }, user);
    if (!found) return `${title} has no user with the id ${JSON.stringify(user)} in ${region}`;
    if (found.authentication !== "iam")
      return `the user ${user} logs in by ${found.authentication || "nothing known"}, not by IAM`;
    return found.name === user
      ? undefined
      : `the user with the id ${user} is called ${found.name}: IAM needs both alike`;
  };
  return (database: Database, user: string): Promise<string | undefined> => {
    const id = JSON.stringify([database.region, database.account, database.assume, user]);
    const known = kept.get(id);
    if (known && known.until > now()) return known.why;
    if (kept.size >= mostKept) for (const [other, { until }] of kept) if (until <= now()) kept.delete(other);
    const entry = { why: ask(database, user), until: Number.POSITIVE_INFINITY };
    kept.set(id, entry);
    entry.why.then(
      (why) => {
        entry.until = now() + (why === undefined ? believedFor.yes : believedFor.no);
      },
      () => {
        if (kept.get(id) === entry) kept.delete(id);
      },
    );
    return entry.why;
  };
};

/** What is not Sallyport's to mend, where the server refuses an IAM token. */
const iamHelp = (api: CacheApi, database: Database, user: string): string => {
  const { connect, groups } = services[api.service];
  const statement = { Effect: "Allow", Action: connect, Resource: [database.arn, api.userArn(database, user)] };
  return `the user must be in a${groups === "ACL" ? "n" : ""} ${groups} of ${database.identifier}, and the proxies' role needs ${JSON.stringify(statement)}`;
};

/** What makes a user one that can be logged in as. */
const noneHelp = (api: CacheApi, { region, ...database }: Database, user: string, why: string): string => {
  const named = word(user);
  const iam =
    api.service === "elasticache"
      ? `aws elasticache modify-user --region ${region} --user-id ${named} --authentication-mode Type=iam`
      : `aws memorydb update-user --region ${region} --user-name ${named} --authentication-mode Type=iam`;
  const arn = word(api.userArn({ ...database, region }, user));
  const tag =
    api.service === "elasticache"
      ? `aws elasticache add-tags-to-resource --region ${region} --resource-name ${arn} --tags Key=sallyport/managed,Value=true`
      : `aws memorydb tag-resource --region ${region} --resource-arn ${arn} --tags Key=sallyport/managed,Value=true`;
  return `${why}; let it log in by IAM (${iam}), have its password rotated (${tag}), or allow own_auth in the role`;
};

/** The credential of a database user of a cache. @throws Failure `denied` with the policy to add, `unavailable`, `upstream_untrusted` */
export const cacheCredential = (world: CacheWorld, api: CacheApi, more: { readonly serverless?: true } = {}) => {
  const { roles, token, turn, managed } = world;
  const objection = openCapability(api, world.now);
  const rotated = async (user: string, password: ManagedPassword): Promise<Credential> => {
    const current = await password.current();
    if (current === undefined)
      throw new Failure("unavailable", `rotation has not set a password of ${user} yet`, {
        hint: "try again in a few minutes; sally get managed_user tells how far it is",
      });
    const help = `the password that rotation keeps of ${user} does not log in: somebody changed it elsewhere; rotation mends it when it is due, or at once: sally rotate ${user}`;
    return { as: "password", user, password: current, methods: "clear", help, previous: () => password.previous() };
  };
  return async (database: Database, user: string, person: Person): Promise<Credential> => {
    const { endpoint, region, assume, identifier: cache } = database;
    // the certificate's name too: anybody can have one of Amazon's for a name of their own
    if (![endpoint.host, endpoint.verifyName].every((host) => isCacheHost(api, host, database)))
      throw foreignHost(database, titleOf(api));
    const kept = await managed?.(api.service, database, user);
    if (kept) return rotated(user, kept);
    const why =
      user === "default" ? "IAM lets nobody in as default" : (tooOld(database) ?? (await objection(database, user)));
    if (why !== undefined) return { as: "none", user, help: noneHelp(api, database, user, why) };
    await turn(database.name);
    const keys = await keysOrWhy(roles.keys({ hops: hopsOf(assume), person: person.user, region }));
    const of = { service: api.service, cache, region, user, ...more };
    const help = iamHelp(api, database, user);
    return { as: "password", user, password: await token(of, keys), methods: "clear", help };
  };
};
