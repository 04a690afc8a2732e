// The invariants, looked at after every single step of the world, whoever made it. A hand that changes a user's passwords or its
// secret takes the promise away (nobody can keep it then); the next promotion gives it again.
//   I1 CURRENT logs in at every node; PREVIOUS too, from a promotion to the next change of the user
//   I2 one fence at a time: nobody else writes the record, changes the user, or moves CURRENT anywhere but where the record says
//   I3 at most 98 versions of a user's secret in any 24 hours
//   I7 a user that is gone or logs in by IAM is left alone; a secret that is not ours is never touched
import type { UserState } from "@sallyport/core/kind";
import type { ManagedUser } from "@sallyport/core/managed";
import type { FakeSecretsManager, SecretChange } from "../fakes/secrets-manager.ts";
import type { Engine, EngineUser } from "./engine.ts";
import type { Actor } from "./machine.ts";

interface Watched {
  readonly id: string;
  readonly secret: string;
  /** CURRENT must log in from now on; PREVIOUS too. */
  armed: boolean;
  previous: boolean;
  /** Passwords and the caches at whose nodes all they logged in, and whether somebody changed something by hand since. */
  readonly proven: Map<string, Set<string>>;
  disturbed: boolean;
  readonly fences: Map<number, number>;
  readonly looks: Map<number, UserState>;
  readonly versions: number[];
}

const password = /[0-9a-f]{128}/;
const mostVersions = 98;
const day = 86_400_000;

export const openWatch = (parts: {
  readonly engine: Engine;
  /** How many let each user in. */
  readonly caches: number;
  readonly secrets: FakeSecretsManager;
  readonly now: () => number;
  readonly recordOf: (id: string) => ManagedUser | undefined;
  readonly say: (text: string) => void;
}) => {
  const { engine, caches, secrets, now, recordOf, say } = parts;
  const users = new Map<string, Watched>();
  const bySecret = new Map<string, Watched>();
  let sender: Actor | undefined;

  const holds = (one: Watched, password: string): boolean => {
    const user = engine.users.get(one.id);
    return user?.nodes.every(({ passwords }) => passwords.includes(password)) === true;
  };
  const check = (): void => {
    for (const one of users.values()) {
      if (!one.armed) continue;
      const current = secrets.current(one.secret);
      if (!current || !holds(one, current.value)) {
        say(`I1: CURRENT of ${one.id} does not log in at every node`);
        one.armed = false;
      }
      const previous = one.previous ? secrets.previous(one.secret) : undefined;
      if (previous && !holds(one, previous.value)) {
        say(`I1: PREVIOUS of ${one.id} does not log in at every node`);
        one.previous = false;
      }
    }
  };
  const isHolder = (one: Watched, actor: Actor): boolean => {
    const record = recordOf(one.id);
    return record?.owner !== undefined && record.fence === one.fences.get(actor.id);
  };

  /** A version came to be current by a rotator's doing. */
  const promoted = (one: Watched, { version, from }: SecretChange): void => {
    const record = recordOf(one.id);
    if (record?.version !== version || record?.replaces !== from)
      say(`I2: CURRENT of ${one.id} was moved to what its record does not say`);
    const value = secrets.current(one.secret)?.value;
    const before = secrets.previous(one.secret)?.value ?? "";
    if (value === undefined || one.proven.get(value)?.size !== caches) {
      if (!one.disturbed) say(`I1: a password of ${one.id} was promoted that did not log in at every node`);
      return;
    }
    one.armed = true;
    one.previous = /^[0-9a-f]{128}$/.test(before);
  };

  return {
    check,
    track(id: string, secret: string): void {
      const one: Watched = {
        id,
        secret,
        armed: false,
        previous: false,
        proven: new Map(),
        disturbed: false,
        fences: new Map(),
        looks: new Map(),
        versions: [],
      };
      users.set(id, one);
      bySecret.set(one.secret, one);
    },
    isArmed: (id: string): boolean => users.get(id)?.armed === true,
    versions: (id: string): number => users.get(id)?.versions.length ?? 0,
    /** Somebody changed by hand what rotation relies on. */
    disturb(id: string): void {
      const one = users.get(id);
      if (one) Object.assign(one, { armed: false, previous: false, disturbed: true });
      one?.proven.clear();
    },

    /** What this call does to secrets is this actor's doing. */
    sending<T>(actor: Actor, send: () => T): T {
      sender = actor;
      try {
        return send();
      } finally {
        sender = undefined;
      }
    },
    secret(change: SecretChange): void {
      const one = bySecret.get(change.name);
      if (!one || !sender) return;
      if (secrets.secrets.get(change.name)?.tags.length === 0) say(`I7: a secret that is not ours was ${change.what}`);
      if (change.what === "created" || change.what === "version") {
        one.versions.push(now());
        const young = one.versions.filter((at) => now() - at < day).length;
        if (young > mostVersions) say(`I3: ${young} versions of ${one.id} in 24 hours`);
      }
      if (change.what === "current") promoted(one, change);
      if (change.what === "deleted") {
        if (recordOf(one.id)?.state !== "leaving") say(`I7: the secret of ${one.id} was deleted while it is managed`);
        one.armed = false;
      }
    },
    probed(id: string, password: string, cache: string, ok: boolean): void {
      const one = users.get(id);
      if (!one) return;
      const at = one.proven.get(password) ?? new Set();
      one.proven.set(password, at);
      if (ok) at.add(cache);
      else at.delete(cache);
      if (at.size === caches) one.disturbed = false;
    },
    looked(actor: Actor, id: string, state: UserState): void {
      users.get(id)?.looks.set(actor.id, state);
    },
    applying(actor: Actor, id: string): void {
      const one = users.get(id);
      if (!one) return;
      if (one.looks.get(actor.id) !== "active") say(`I7: ${id} was changed without being seen active`);
      if (!isHolder(one, actor)) say(`I2: ${id} was changed by somebody whose lease is over`);
    },
    applied(user: EngineUser, passwords: readonly string[]): void {
      const one = users.get(user.id);
      if (!one) return;
      one.previous = false;
      const current = secrets.current(one.secret);
      if (one.armed && current && !passwords.includes(current.value))
        say(`I1: ${user.id} was given passwords without the current one`);
    },
    record(actor: Actor, before: ManagedUser | undefined, after: ManagedUser): void {
      const one = users.get(after.id);
      if (!one) return;
      const texts = [...Object.values(after), after.lastError?.message].filter((text) => typeof text === "string");
      if (texts.some((text) => text.length >= 128 && password.test(text)))
        say(`S-40: a password of ${after.id} is in its record`);
      if (after.revision !== (before?.revision ?? 0) + 1) say(`I2: a write of ${after.id} was lost`);
      if (before && after.fence < before.fence) say(`I2: the fence of ${after.id} went back`);
      if (after.fence === (before?.fence ?? 0) + 1) one.fences.set(actor.id, after.fence);
      else if (before?.owner !== undefined && one.fences.get(actor.id) !== before.fence)
        say(`I2: the record of ${after.id} was written by somebody whose lease is over`);
    },
  };
};
