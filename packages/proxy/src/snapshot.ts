// What decisions are made from: roles and locks as of one epoch. A login is decided only from a snapshot whose epoch the
// table still had when the login's own facts were read; live sessions are decided again within a second or three of any
// change, and every minute whatever the epoch says. What can't be read denies.
import { setTimeout as pause } from "node:timers/promises";
import { Database } from "@sallyport/core/database";
import { epochOf } from "@sallyport/core/epoch";
import { Failure } from "@sallyport/core/failure";
import { fromItem, keys, readAll } from "@sallyport/core/family";
import { Lock } from "@sallyport/core/lock";
import type { Item, Key, Store } from "@sallyport/core/ports";
import { type CompiledRoles, type Roles, readRoles } from "@sallyport/core/role";
import { User } from "@sallyport/core/user";
import { within } from "./deadline.ts";
import { rest } from "./slice.ts";

/** Roles and locks as of an epoch (or later: never earlier). */
export interface View {
  readonly epoch: number;
  readonly roles: Roles;
  readonly locks: readonly Lock[];
}
/** What a decision about one person and one database is made from. */
export interface Facts {
  readonly view: View;
  readonly user: User | undefined;
  readonly database: Database | undefined;
  readonly token: Item | undefined;
}
/** A token's item, read together with the table's epoch. */
export interface Shown {
  readonly token: Item | undefined;
  /** The view there was before, when its epoch is the table's; else nothing that is known may be used. */
  readonly view: View | undefined;
}
/** Names what facts are about. */
export interface Concern {
  readonly user: string;
  readonly database: string;
  readonly token: string;
}

export interface Snapshot {
  /** The last view read. */
  view(): View;
  /** Reads the first view. @throws Failure `unavailable` */
  load(): Promise<void>;
  /** In one read, whatever there is. @throws Failure `unavailable` */
  show(token: string): Promise<Shown>;
  /** Consistent facts for a login; without another read where what was shown is of the epoch that the rest is known of. @throws Failure `unavailable` */
  read(concern: Concern, shown?: Shown): Promise<Facts>;
  /** The table's epoch now. @throws Failure `unavailable` */
  epoch(): Promise<number>;
  /** Facts for all of these, of at least this epoch. @throws Failure `unavailable` */
  readLive(concerns: readonly Concern[], epoch: number): Promise<readonly Facts[]>;
}

const unavailable = (cause: unknown): Failure =>
  new Failure("unavailable", "access can't be decided now: the table can't be read", {
    hint: "try again in a few seconds",
    cause,
  });

/** @throws Failure `unavailable` when the table can't be read, or a lock can't: what it holds nobody knows */
const readView = async (store: Store, compiled: CompiledRoles): Promise<View> => {
  // read first: a change that lands while the rest is read leaves the view older than its epoch says, never newer
  const epoch = epochOf(await store.get(keys.epoch()));
  const [roles, locks] = await Promise.all([readRoles(store, compiled, rest), readAll(store, Lock, "access#lock")]);
  return { epoch, roles, locks };
};

/** An item that can't be read is as good as none: it denies. */
const parse = <T>(read: () => T): T | undefined => {
  try {
    return read();
  } catch {
    return undefined;
  }
};
const userOf = (item?: Item): User | undefined => item && parse(() => fromItem(User, item));
const databaseOf = (item?: Item): Database | undefined => item && parse(() => fromItem(Database, item));

const textOf = ({ pk, sk }: Key): string => `${pk} ${sk}`;

/** How often a login reads again when the epoch moves under it, and the longest pause before it does: what comes in a burst passes. */
const tries = 25;
const longestPause = 100;
/** getMany takes so many keys; so many of them are under way at once. */
const batchSize = 100;
const batches = 8;

/** People and databases kept of one epoch. */
const mostKnown = 5_000;

/** Whom and what logins have read of a view's epoch: nothing about them changes without the epoch. */
const openKnown = () => {
  const known = new WeakMap<View, Map<string, User | Database>>();
  const of = (view: View): Map<string, User | Database> => {
    const found = known.get(view) ?? new Map();
    known.set(view, found);
    return found;
  };
  return {
    recall: (view: View, { user, database }: Concern) => {
      const found = of(view);
      return {
        user: found.get(`user ${user}`) as User | undefined,
        database: found.get(`database ${database}`) as Database | undefined,
      };
    },
    keep: (view: View, user: User | undefined, database: Database | undefined): void => {
      const found = of(view);
      if (found.size >= mostKnown) found.clear();
      if (user) found.set(`user ${user.name}`, user);
      if (database) found.set(`database ${database.name}`, database);
    },
  };
};

export const openSnapshot = (store: Store, options: { patience: number }): Snapshot => {
  let view: View = { epoch: -1, roles: new Map(), locks: [] };
  let reading: Promise<View> | undefined;
  const known = openKnown();
  const compiled: CompiledRoles = new Map();

  /** A read that hangs is a read that failed. */
  const patient = async <T>(what: string, work: Promise<T>): Promise<T> => {
    try {
      return await within(options.patience, what, work);
    } catch (cause) {
      throw unavailable(cause);
    }
  };
  /** However many: each batch has the time that a read may take, so that a full house is no outage. */
  const readMany = async (what: string, unique: readonly Key[]): Promise<ReadonlyMap<string, Item>> => {
    const found = new Map<string, Item>();
    for (let at = 0; at < unique.length; at += batches * batchSize) {
      const parts = Array.from({ length: batches }, (_, part) => {
        const from = at + part * batchSize;
        return unique.slice(from, from + batchSize);
      }).filter((part) => part.length > 0);
      const read = await Promise.all(parts.map((part) => patient(what, store.getMany(part))));
      for (const item of read.flat()) if (item) found.set(textOf(item), item);
      await rest();
    }
    return found;
  };
  const reload = (): Promise<View> => {
    reading ??= patient("reading roles and locks", readView(store, compiled))
      .then((read) => {
        view = read;
        return read;
      })
      .finally(() => {
        reading = undefined;
      });
    return reading;
  };

  return {
    view: () => view,
    load: async () => {
      await reload();
    },
    show: async (id) => {
      // complete before the read begins: with the same epoch in it, nothing changed in between
      const before = view;
      const wanted = [keys.epoch(), keys.connectToken(id)];
      const [epoch, token] = await patient("reading the token", store.getMany(wanted));
      return { token, view: epochOf(epoch) === before.epoch ? before : undefined };
    },
    read: async (concern, shown) => {
      if (shown?.view) {
        const { user, database } = known.recall(shown.view, concern);
        if (user && database) return { view: shown.view, user, database, token: shown.token };
      }
      for (let tried = 0; tried < tries; tried += 1) {
        // complete before the batch begins, and still the table's epoch in it: nothing changed in between
        const decided = view;
        const [epoch, user, database, token] = await patient(
          "reading what a login needs",
          store.getMany([
            keys.epoch(),
            keys.user(concern.user),
            keys.database(concern.database),
            keys.connectToken(concern.token),
          ]),
        );
        if (epochOf(epoch) === decided.epoch) {
          const facts = { view: decided, user: userOf(user), database: databaseOf(database), token };
          known.keep(decided, facts.user, facts.database);
          return facts;
        }
        // logins that wait together must not ask together
        await pause(Math.random() * Math.min(longestPause, 10 * tried));
        await reload();
      }
      throw new Failure("unavailable", "access can't be decided now: users, roles or locks change all the time", {
        hint: "try again in a few seconds",
      });
    },
    epoch: async () => epochOf(await patient("reading the epoch", store.get(keys.epoch()))),
    readLive: async (concerns, epoch) => {
      // one under way may have begun before the change
      if (view.epoch !== epoch) await reload();
      if (view.epoch !== epoch) await reload();
      const decided = view;
      const people = new Set(concerns.map((one) => one.user));
      const places = new Set(concerns.map((one) => one.database));
      const tokens = new Set(concerns.map((one) => one.token));
      const found = await readMany("reading what live sessions need", [
        ...[...people].map(keys.user),
        ...[...places].map(keys.database),
        ...[...tokens].map(keys.connectToken),
      ]);
      /** Each is read once, however many sessions it has. */
      const parseAll = async <T>(names: ReadonlySet<string>, keyOf: (name: string) => Key, of: (item?: Item) => T) => {
        const all = new Map<string, T>();
        for (const name of names) {
          all.set(name, of(found.get(textOf(keyOf(name)))));
          await rest();
        }
        return all;
      };
      const users = await parseAll(people, keys.user, userOf);
      const databases = await parseAll(places, keys.database, databaseOf);
      await rest();
      return concerns.map((one) => ({
        view: decided,
        user: users.get(one.user),
        database: databases.get(one.database),
        token: found.get(textOf(keys.connectToken(one.token))),
      }));
    },
  };
};
