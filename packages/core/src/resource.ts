// Resources as documents: list, get, put, remove, each put against the revision that was read. A change that can move a
// decision goes with the epoch and its event in one transaction; rules that span items (a role in use, the last
// administrator) are checked on the state that the write then rests on.
import type * as z from "zod";
import type { Document, ResourceKind } from "./api.ts";
import { type EventName, eventChange } from "./audit.ts";
import { type Plan, planAccess } from "./epoch.ts";
import { Failure } from "./failure.ts";
import { read, readAll, toItem } from "./family.ts";
import type { Desk } from "./login.ts";
import type { Change, Key } from "./ports.ts";

export interface Stored {
  readonly name: string;
  readonly revision: number;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly description?: string | undefined;
}
export type DocumentOf<K extends ResourceKind> = Extract<Document, { kind: K }>;
type Stamp = Pick<Stored, "name" | "revision" | "createdAt" | "createdBy"> & { readonly description?: string };

/** What differs between the kinds. */
export interface Rules<K extends ResourceKind, T extends Stored> {
  readonly kind: K;
  readonly key: (name: string) => Key;
  readonly schema: z.ZodType<T>;
  readonly events: { readonly put: EventName; readonly remove: EventName };
  /** Can a change of it move a decision? */
  readonly access: boolean;
  toDocument(stored: T): DocumentOf<K>;
  /** What to store, all checked. @throws Failure */
  make(desk: Desk, document: DocumentOf<K>, stamp: Stamp, before: T | undefined): Promise<T>;
  /** What else goes when it goes. @throws Failure where it must stay */
  removal(desk: Desk, before: T): Promise<readonly Change[]>;
  /** When the table may forget it. */
  until?(stored: T): number | undefined;
  /** After it was put or removed; done again by doing the change again. */
  after?(desk: Desk, name: string, now: T | undefined, actor: string): Promise<void>;
  /** Documents of this kind that nobody put. */
  found?(desk: Desk): Promise<readonly DocumentOf<K>[]>;
}

/** A kind of resource, whatever its documents hold. */
export interface Resource {
  list(desk: Desk): Promise<Document[]>;
  /** @throws Failure `not_found` */
  get(desk: Desk, name: string): Promise<Document>;
  /** @throws Failure `conflict`, `invalid`, `unsupported` */
  put(desk: Desk, actor: string, document: Document): Promise<Document>;
  /** @throws Failure `not_found`, `conflict` */
  remove(desk: Desk, actor: string, name: string): Promise<void>;
}

const changed = (kind: string, name: string): Failure =>
  new Failure("conflict", `${kind} ${name} was changed meanwhile`, { hint: "get it again and repeat the change" });

const checkRevision = (kind: string, name: string, given: number | undefined, current: number | undefined): void => {
  if (given === current) return;
  if (current === undefined)
    throw new Failure("conflict", `there is no ${kind} ${name} any more`, { hint: "create it without a revision" });
  if (given !== undefined) throw changed(kind, name);
  throw new Failure("conflict", `there is a ${kind} ${name} already`, {
    hint: `to change it, send its revision: sally get ${kind}/${name} -f yaml`,
  });
};

/** Members by name, however deep: the table gives them in any order, and two looks at one document should not differ. */
const inOrder = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([name, member]) => [name, inOrder(member)]));
};
const shown = <D extends Document>(document: D): D => ({ ...document, spec: inOrder(document.spec) });

const byName = (a: Document, b: Document): number => (a.metadata.name < b.metadata.name ? -1 : 1);

export const makeResource = <K extends ResourceKind, T extends Stored>(rules: Rules<K, T>): Resource => {
  const { kind, key, schema, events } = rules;
  const missing = (name: string): Failure =>
    new Failure("not_found", `there is no ${kind} ${name}`, { hint: `sally get ${kind}` });
  const isOurs = (document: Document): document is DocumentOf<K> => document.kind === kind;

  /** Writes a plan: with the epoch where decisions rest on it. */
  const write = async <A>({ store }: Desk, plan: () => Promise<Plan<A>>): Promise<A> => {
    if (rules.access) return planAccess(store, plan);
    const { changes, answer } = await plan();
    await store.transact(changes);
    return answer;
  };
  const eventOf = ({ clock, random }: Desk, name: EventName, actor: string, details: object): Change =>
    eventChange({ name, at: clock.now(), actor, details: { kind, ...details } }, random);

  const list = async (desk: Desk): Promise<Document[]> => {
    const stored = (await readAll(desk.store, schema, key("").pk)).map((one) => shown(rules.toDocument(one)));
    const names = new Set(stored.map((document) => document.metadata.name));
    const found = ((await rules.found?.(desk)) ?? []).filter((document) => !names.has(document.metadata.name));
    return [...stored, ...found].sort(byName);
  };

  return {
    list,

    async get(desk, name) {
      const stored = await read(desk.store, schema, key(name));
      if (stored) return shown(rules.toDocument(stored));
      const document = (await rules.found?.(desk))?.find(({ metadata }) => metadata.name === name);
      if (!document) throw missing(name);
      return document;
    },

    async put(desk, actor, document) {
      if (!isOurs(document)) throw new Failure("invalid", `this is a ${document.kind}, not a ${kind}`);
      const { name, description, revision } = document.metadata;
      const made = await write(desk, async () => {
        const before = await read(desk.store, schema, key(name));
        checkRevision(kind, name, revision, before?.revision);
        const value = await rules.make(
          desk,
          document,
          {
            name,
            revision: (before?.revision ?? 0) + 1,
            createdAt: before?.createdAt ?? desk.clock.now(),
            createdBy: before?.createdBy ?? actor,
            ...(description === undefined ? {} : { description }),
          },
          before,
        );
        const put: Change = {
          put: toItem(key(name), value, rules.until?.(value)),
          if: before ? { equals: { revision: before.revision } } : { absent: true },
        };
        const details = { name, revision: value.revision, spec: rules.toDocument(value).spec };
        return { changes: [put, eventOf(desk, events.put, actor, details)], answer: value };
      });
      await rules.after?.(desk, name, made, actor);
      return rules.toDocument(made);
    },

    async remove(desk, actor, name) {
      await write(desk, async () => {
        const before = await read(desk.store, schema, key(name));
        if (!before) {
          const document = (await rules.found?.(desk))?.find(({ metadata }) => metadata.name === name);
          if (!document) throw missing(name);
          throw new Failure("conflict", `${kind} ${name} was found by discovery`, {
            hint: "change its tags or the discovery_config that finds it",
          });
        }
        const more = await rules.removal(desk, before);
        const remove: Change = { remove: key(name), if: { equals: { revision: before.revision } } };
        const details = { name, revision: before.revision };
        return { changes: [remove, ...more, eventOf(desk, events.remove, actor, details)], answer: undefined };
      });
      await rules.after?.(desk, name, undefined, actor);
    },
  };
};
