// The store of cache users: what the APIs change and the real servers follow. A change is done when every server that follows a
// cache of the user says so, and not before the account's own time for a change has passed.
// Rule: a follower is told of one state at a time, always the newest; what came meanwhile is told next.
import { type Secret, secret } from "@sallyport/core/secret";
import {
  type CacheGroup,
  type CachePlace,
  type CacheRef,
  type CacheUser,
  cacheArn,
  defaultUser,
  type Guard,
  type Tags,
  type UserChange,
  type UserSpec,
  type UserStatus,
} from "./cache-user.ts";

/** Brings a server to these users, all that may log in; settles when every node of it has them. */
export type Apply = (users: readonly CacheUser[]) => Promise<void>;

export interface CacheUsers {
  /** How long a change takes at least, in milliseconds; AWS takes up to a couple of minutes. */
  takes(ms: number): void;

  /** Adds a user, active at once as on AWS. What it says nothing of is: the id as name, type `no-password`, `on ~* +@all`, engine redis. */
  addUser(place: CachePlace, spec: UserSpec): CacheUser;
  /** Changes a user, who is `modifying` from now on. Whether that is allowed is the API's to judge. */
  changeUser(place: CachePlace, id: string, change: UserChange): CacheUser;
  /** Removes a user, from its groups and from the servers too. It is seen `deleting` for as long as a change takes. */
  removeUser(place: CachePlace, id: string): void;
  user(place: CachePlace, id: string): CacheUser | undefined;
  users(place: CachePlace): readonly CacheUser[];
  status(place: CachePlace, id: string): UserStatus;

  /** Adds a group, or replaces who is in it. */
  setGroup(place: CachePlace, id: string, userIds: readonly string[]): CacheGroup;
  removeGroup(place: CachePlace, id: string): void;
  group(place: CachePlace, id: string): CacheGroup | undefined;
  groups(place: CachePlace): readonly CacheGroup[];
  groupsOf(place: CachePlace, userId: string): readonly CacheGroup[];

  /** Says what guards a cache from now on. */
  guard(cache: CacheRef, guard: Guard): void;
  unguard(cache: CacheRef): void;
  guardOf(cache: CacheRef): Guard;
  /** The caches that a group guards. */
  guarded(place: CachePlace, groupId: string): readonly CacheRef[];
  /** Everybody who may log in to a cache. */
  usersOf(cache: CacheRef): readonly CacheUser[];

  /** Calls `apply` with the users of a cache now and whenever they change. Answers how to stop. */
  follow(cache: CacheRef, apply: Apply): () => void;
  /** Settles when every follower has what there is now. */
  settled(): Promise<void>;

  /** Tags of any resource of the two services, by ARN. */
  tags(arn: string): Tags;
  setTags(arn: string, tags: Tags): void;
}

interface Held {
  user: CacheUser;
  /** The store's revision at its last change, and when the account is done with it. */
  revision: number;
  doneAt: number;
  /** When it will be gone; set while it is deleted. */
  goneAt?: number;
}

interface Follower {
  readonly cache: CacheRef;
  readonly apply: Apply;
  /** The newest revision the server is known to have. */
  applied: number;
  /** Who is being applied now. */
  running: Promise<void> | undefined;
}

export function openCacheUsers(options: { readonly now?: () => number; readonly takesMs?: number } = {}): CacheUsers {
  const { now = Date.now, takesMs = 1_000 } = options;
  const held = new Map<string, Held>();
  const groups = new Map<string, CacheGroup & { readonly place: CachePlace }>();
  const guards = new Map<string, Guard & { readonly cache: CacheRef }>();
  const tagged = new Map<string, Tags>();
  const followers = new Set<Follower>();
  let revision = 0;
  let leastMs = takesMs;

  // an ARN says service, account, region and id at once
  const userKey = (place: CachePlace, id: string): string => cacheArn(place, "user", id.toLowerCase());
  const groupKey = (place: CachePlace, id: string): string => cacheArn(place, groupType(place), id.toLowerCase());
  const cacheKey = (cache: CacheRef): string => cacheArn(cache, cache.type, cache.id.toLowerCase());

  const heldOf = (place: CachePlace, id: string): Held | undefined => {
    const key = userKey(place, id);
    if (id === "default" && !held.has(key)) held.set(key, { user: defaultUser(place), revision: 0, doneAt: 0 });
    const { goneAt } = held.get(key) ?? {};
    if (goneAt !== undefined && goneAt <= now()) held.delete(key);
    return held.get(key);
  };
  const known = (place: CachePlace, id: string): Held => {
    const found = heldOf(place, id);
    if (!found) throw new Error(`no user ${id} in ${place.service} of ${place.accountId}/${place.region}`);
    return found;
  };
  const groupsAt = (place: CachePlace): readonly CacheGroup[] =>
    [...groups.values()].filter((group) => same(group.place, place));
  const guardOf = (cache: CacheRef): Guard => guards.get(cacheKey(cache)) ?? { groups: [] };

  const usersOf = (cache: CacheRef): readonly CacheUser[] => {
    const guard = guardOf(cache);
    if (guard.groups.length === 0) return [guardian(cache, guard.authToken)];
    const ids = guard.groups.flatMap((id) => groups.get(groupKey(cache, id))?.userIds ?? []);
    return [...new Set(ids)].flatMap((id) => heldOf(cache, id)?.user ?? []);
  };

  /** One state at a time: a change that comes while one is applied is applied after it. */
  const pump = (follower: Follower): Promise<void> => {
    const behind = (): boolean => followers.has(follower) && follower.applied < revision;
    // what has nothing to do is over before it is known to run, and would never run again
    if (follower.running === undefined && !behind()) return Promise.resolve();
    follower.running ??= (async () => {
      try {
        while (behind()) {
          const target = revision;
          await follower.apply(usersOf(follower.cache));
          follower.applied = target;
        }
      } catch (thrown) {
        // its users stay modifying: nothing says that the server has them
        process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
      } finally {
        follower.running = undefined;
      }
    })();
    return follower.running;
  };

  const changed = (): number => {
    revision++;
    for (const follower of followers) void pump(follower);
    return revision;
  };

  const status = (place: CachePlace, id: string): UserStatus => {
    const { revision: wanted, doneAt, goneAt } = known(place, id);
    if (goneAt !== undefined) return "deleting";
    const waiting = [...followers].some(
      (one) =>
        one.applied < wanted &&
        same(one.cache, place) &&
        usersOf(one.cache).some((user) => user.id === id.toLowerCase()),
    );
    return waiting || now() < doneAt ? "modifying" : "active";
  };

  return {
    status,
    usersOf,
    guardOf,
    takes: (ms) => {
      leastMs = ms;
    },
    addUser(place, { tags = {}, ...spec }) {
      const id = spec.id.toLowerCase();
      const user = { ...defaultUser(place), name: id, ...spec, id, arn: userKey(place, id) };
      if (heldOf(place, id)) throw new Error(`user ${id} exists already`);
      // in no group yet: no server has to hear of it
      held.set(user.arn, { user, revision: 0, doneAt: 0 });
      tagged.set(user.arn, tags);
      return user;
    },
    changeUser(place, id, change) {
      const one = known(place, id);
      one.user = { ...one.user, ...change };
      one.doneAt = now() + leastMs;
      one.revision = changed();
      return one.user;
    },
    removeUser(place, id) {
      const one = known(place, id);
      const { user } = one;
      one.goneAt = now() + leastMs;
      for (const [key, group] of groups)
        if (same(group.place, place))
          groups.set(key, { ...group, userIds: group.userIds.filter((member) => member !== user.id) });
      changed();
    },
    user: (place, id) => heldOf(place, id)?.user,
    users(place) {
      heldOf(place, "default");
      const prefix = cacheArn(place, "user", "");
      const here = [...held.values()].filter(({ user }) => user.arn.startsWith(prefix));
      return here.flatMap(({ user }) => heldOf(place, user.id)?.user ?? []);
    },

    setGroup(place, id, userIds) {
      const ids = userIds.map((userId) => known(place, userId).user.id);
      const group = { id: id.toLowerCase(), arn: groupKey(place, id), userIds: ids, place };
      groups.set(group.arn, group);
      changed();
      return group;
    },
    removeGroup(place, id) {
      groups.delete(groupKey(place, id));
      tagged.delete(groupKey(place, id));
      changed();
    },
    group: (place, id) => groups.get(groupKey(place, id)),
    groups: groupsAt,
    groupsOf: (place, userId) => groupsAt(place).filter((group) => group.userIds.includes(userId.toLowerCase())),

    guard(cache, guard) {
      guards.set(cacheKey(cache), { ...guard, cache });
      changed();
    },
    unguard(cache) {
      guards.delete(cacheKey(cache));
      changed();
    },
    guarded: (place, groupId) =>
      [...guards.values()]
        .filter(({ cache, groups: ids }) => same(cache, place) && ids.some((id) => id === groupId.toLowerCase()))
        .map(({ cache }) => cache),

    follow(cache, apply) {
      const follower: Follower = { cache, apply, applied: -1, running: undefined };
      followers.add(follower);
      void pump(follower);
      return () => {
        followers.delete(follower);
      };
    },
    async settled() {
      await Promise.all([...followers].map(pump));
    },

    tags: (arn) => tagged.get(arn) ?? {},
    setTags: (arn, tags) => {
      tagged.set(arn, tags);
    },
  };
}

/** The default user of a cache without groups, whatever the account's user of that name is. */
const guardian = (place: CachePlace, authToken: Secret | undefined): CacheUser =>
  authToken === undefined
    ? defaultUser(place)
    : { ...defaultUser(place), type: "password", passwords: [secret(authToken.reveal())] };

const groupType = ({ service }: CachePlace): "usergroup" | "acl" => (service === "memorydb" ? "acl" : "usergroup");

const same = (a: CachePlace, b: CachePlace): boolean =>
  a.service === b.service && a.accountId === b.accountId && a.region === b.region;
