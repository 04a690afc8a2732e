// Whose a cursor is. Drivers take a cursor's next batch over any connection of their pool, so it belongs to everybody who is the
// same user of the same database user on the same database, not to one session. An id that was given to somebody else is as good
// as unknown; one that was never seen here may have been opened through another proxy, and the server, which ties cursors to
// logical sessions, is left to judge it. Ids of owners without a session are forgotten, and of each owner the oldest beyond a number.

/** One owner's view. */
export interface Cursors {
  /** The server has named it to this owner. */
  opened(id: bigint): void;
  closed(id: bigint): void;
  /** May this owner use it, as far as is known here? */
  mayUse(id: bigint): boolean;
  /** A session of this owner has ended. */
  leave(): void;
}

const mostEach = 10_000;

interface Owner {
  readonly ids: Set<string>;
  sessions: number;
}

export const openCursors = (): ((database: string, who: string) => Cursors) => {
  const owners = new Map<string, Owner>();
  const owned = new Map<string, Owner>();
  return (database, who) => {
    const name = JSON.stringify([database, who]);
    const owner = owners.get(name) ?? { ids: new Set(), sessions: 0 };
    owners.set(name, owner);
    owner.sessions++;
    let inside = true;
    const keyOf = (id: bigint): string => JSON.stringify([database, String(id)]);
    const drop = (key: string): void => {
      owner.ids.delete(key);
      if (owned.get(key) === owner) owned.delete(key);
    };
    return {
      opened: (id) => {
        const key = keyOf(id);
        // a server gives an id to one at a time: who has it now is its owner
        owned.get(key)?.ids.delete(key);
        owned.set(key, owner);
        owner.ids.add(key);
        const [oldest] = owner.ids;
        if (owner.ids.size > mostEach && oldest !== undefined) drop(oldest);
      },
      closed: (id) => drop(keyOf(id)),
      mayUse: (id) => {
        const holder = owned.get(keyOf(id));
        return holder === undefined || holder === owner;
      },
      leave: () => {
        if (!inside) return;
        inside = false;
        if (--owner.sessions > 0) return;
        for (const key of owner.ids) drop(key);
        owners.delete(name);
      },
    };
  };
};
