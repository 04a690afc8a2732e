// The Store port in memory, with the table's own semantics, and faults that a test switches on.
import { Buffer } from "node:buffer";
import { Failure } from "@sallyport/core/failure";
import { itemVersion } from "@sallyport/core/family";
import type { Change, Condition, Item, Key, Store } from "@sallyport/core/ports";

interface StoreFault {
  /** From now on every call is refused as `unavailable`. */
  break(): void;
  /** From now on every call that changes or reads something for which `when` is true is refused. */
  breakWhen(when: (change: Change | Key) => boolean): void;
  /** From now on every call waits for this before it does anything. */
  hold(until: Promise<void>): void;
  mend(): void;
}
export interface FakeStore extends Store {
  readonly fault: StoreFault;
  /** Everything in the table, in order of its keys. */
  items(): readonly Item[];
  /** The changes made so far, those of a transaction one by one. */
  readonly changes: readonly Change[];
}

/** What the table keeps: a copy without undefined members. */
const copy = (item: Item): Item => copyOf(item) as Item;
const copyOf = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(copyOf);
  if (typeof value !== "object" || value === null) return value;
  // what has a way to be printed is kept as it prints
  if ("toJSON" in value) return JSON.parse(JSON.stringify(value));
  const made: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) if (member !== undefined) made[name] = copyOf(member);
  return made;
};
const textOf = ({ pk, sk }: Key): string => JSON.stringify([pk, sk]);
const keyOf = (change: Change): Key =>
  "put" in change ? change.put : "update" in change ? change.update : change.remove;
const byBytes = (a: Item, b: Item): number =>
  Buffer.compare(Buffer.from(a.pk), Buffer.from(b.pk)) || Buffer.compare(Buffer.from(a.sk), Buffer.from(b.sk));

const holds = (condition: Condition | undefined, item: Item | undefined): boolean => {
  const { absent, present, equals, below = {} } = condition ?? {};
  if (absent && item) return false;
  if ((present || equals) && !item) return false;
  if (!Object.entries(equals ?? {}).every(([name, value]) => item?.[name] === value)) return false;
  return Object.entries(below).every(([name, bound]) => Number(item?.[name] ?? 0) < bound);
};

const applied = (change: Change, item: Item | undefined): Item | undefined => {
  if ("put" in change) return copy(change.put);
  if ("remove" in change) return undefined;
  const { pk, sk } = change.update;
  const next: Record<string, unknown> = { v: itemVersion, ...item, ...change.set, pk, sk };
  for (const [name, by] of Object.entries(change.add ?? {})) next[name] = Number(next[name] ?? 0) + by;
  return copy(next as Item);
};

export const openFakeStore = (): FakeStore => {
  const table = new Map<string, Item>();
  const changes: Change[] = [];
  let broken: (change: Change | Key) => boolean = () => false;
  let held: Promise<void> = Promise.resolve();

  const arrive = async (touched: readonly (Change | Key)[]): Promise<void> => {
    if (touched.length > 100) throw new Failure("invalid", `${touched.length} items at once: at most 100`);
    await held;
    if (touched.some(broken)) throw new Failure("unavailable", "the table can't be used (switched off)");
  };
  /** All or none, in one step of the event loop. */
  const change = (all: readonly Change[]): void => {
    if (new Set(all.map((one) => textOf(keyOf(one)))).size !== all.length)
      throw new Failure("unavailable", "a transaction can't change one item twice");
    if (!all.every((one) => holds(one.if, table.get(textOf(keyOf(one))))))
      throw new Failure("conflict", "it was changed by somebody else meanwhile");
    for (const one of all) {
      const at = textOf(keyOf(one));
      const next = applied(one, table.get(at));
      if (next) table.set(at, next);
      else table.delete(at);
      changes.push(one);
    }
  };
  const find = (key: Key): Item | undefined => {
    const item = table.get(textOf(key));
    return item && copy(item);
  };

  return {
    changes,
    items: () => [...table.values()].map(copy).sort(byBytes),
    fault: {
      break() {
        broken = () => true;
      },
      breakWhen(when) {
        broken = when;
      },
      hold(until) {
        held = until;
      },
      mend: () => {
        broken = () => false;
        held = Promise.resolve();
      },
    },

    async get(key) {
      await arrive([key]);
      return find(key);
    },
    async getMany(wanted) {
      await arrive(wanted);
      return wanted.map(find);
    },
    async list(pk, { prefix = "", after, limit = 1000 } = {}) {
      await arrive([{ pk, sk: prefix }]);
      const from = after === undefined ? undefined : { pk, sk: Buffer.from(after, "base64url").toString(), v: 0 };
      const all = [...table.values()]
        .filter((item) => item.pk === pk && item.sk.startsWith(prefix) && (!from || byBytes(item, from) > 0))
        .sort(byBytes);
      const items = all.slice(0, limit).map(copy);
      const last = items.at(-1);
      return {
        items,
        ...(all.length > items.length && last && { after: Buffer.from(last.sk).toString("base64url") }),
      };
    },
    async write(one) {
      await arrive([one]);
      change([one]);
      return find(keyOf(one));
    },
    async transact(all) {
      await arrive(all);
      change(all);
    },
  };
};
