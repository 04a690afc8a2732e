// The commands that write. A document that is updated is written anew: a whole number that was a double before is an int32 then.
import { type Document, deserialize, serialize } from "bson";
import { Aggregator, Query, updateOne } from "mingo";
import { type Ask, type Command, textIn } from "./command.ts";
import { type Collection, idKey, insert, mongoError, read, remove, replace, select, worded } from "./store.ts";

/** The documents or statements of a write: beside the command, or in it. */
const partsOf = ({ command, request }: Ask, name: string): readonly Buffer[] => {
  const beside = request.sequences.get(name);
  if (beside) return beside;
  const inside: unknown = command[name];
  if (!Array.isArray(inside))
    throw mongoError(40414, "Location40414", `BSON field '${name}' is missing but a required field`);
  return inside.map((one: unknown) =>
    Buffer.isBuffer(one) ? one : one instanceof Uint8Array ? Buffer.from(one) : Buffer.from(serialize(one as Document)),
  );
};

interface WriteError {
  readonly index: number;
  readonly code: number;
  readonly errmsg: string;
}
/** One after the other; an ordered write stops at the first that fails. */
const each = (
  ask: Ask,
  parts: readonly Buffer[],
  work: (part: Buffer, index: number) => void,
): { writeErrors?: WriteError[] } => {
  const writeErrors: WriteError[] = [];
  for (const [index, part] of parts.entries()) {
    try {
      work(part, index);
    } catch (thrown) {
      const { message, details } = worded(thrown);
      writeErrors.push({ index, code: Number(details?.["code"] ?? 2), errmsg: message });
      if (ask.command["ordered"] !== false) break;
    }
  }
  return writeErrors.length > 0 ? { writeErrors } : {};
};

const insertAll: Command = (ask) => {
  const name = textIn(ask.command, "insert");
  const collection = ask.shared.store.make(ask.db, name);
  let n = 0;
  const errors = each(ask, partsOf(ask, "documents"), (document) => {
    insert(`${ask.db}.${name}`, collection, document, ask.undo);
    n++;
  });
  return { n, ...errors };
};

type Change = Document | Document[];
const isReplacement = (change: Change): boolean => !Array.isArray(change) && !Object.keys(change)[0]?.startsWith("$");

/** The document as it will be, or undefined where nothing changes. */
const changed = (
  before: Document,
  filter: Document,
  change: Change,
  arrayFilters: Document[] | undefined,
): Document | undefined => {
  if (isReplacement(change)) return { _id: before["_id"], ...(change as Document) };
  const all = [before];
  const options = arrayFilters ? { arrayFilters } : {};
  const { modifiedCount } = updateOne(all, filter, change as Document, options);
  return modifiedCount > 0 ? all[0] : undefined;
};

/** What an upsert begins with: the filter's equalities. */
const seedOf = (filter: Document): Document =>
  Object.fromEntries(
    Object.entries(filter).filter(
      ([key, value]) =>
        !key.startsWith("$") &&
        !(
          typeof value === "object" &&
          value !== null &&
          Object.keys(value as object).some((one) => one.startsWith("$"))
        ),
    ),
  );

const upserted = (filter: Document, change: Change): Document => {
  const seed = seedOf(filter);
  if (isReplacement(change)) return { ...("_id" in seed && { _id: seed["_id"] }), ...(change as Document) };
  const { $setOnInsert = {}, ...operators } = change as Document;
  const all = [{ ...seed, ...($setOnInsert as Document) }];
  if (Object.keys(operators).length > 0 || Array.isArray(change))
    updateOne(all, {}, Array.isArray(change) ? change : operators);
  return all[0] ?? {};
};

/** `$setOnInsert` is for upserts alone. */
const onUpdate = (change: Change): Change => {
  if (Array.isArray(change) || !("$setOnInsert" in change)) return change;
  const { $setOnInsert: _, ...rest } = change;
  return rest;
};

const insertNew = (ask: Ask, ns: string, collection: Collection, document: Document): unknown => {
  const before = new Set(collection.documents.keys());
  insert(ns, collection, Buffer.from(serialize(document)), ask.undo);
  const [key = ""] = [...collection.documents.keys()].filter((one) => !before.has(one));
  const bytes = collection.documents.get(key);
  return bytes && read(bytes)["_id"];
};

const update: Command = (ask) => {
  const name = textIn(ask.command, "update");
  const ns = `${ask.db}.${name}`;
  const collection = ask.shared.store.make(ask.db, name);
  let [n, nModified] = [0, 0];
  const made: { index: number; _id: unknown }[] = [];
  const errors = each(ask, partsOf(ask, "updates"), (part, index) => {
    const {
      q = {},
      u,
      multi = false,
      upsert = false,
      arrayFilters,
    } = deserialize(part, { promoteBuffers: false }) as {
      q?: Document;
      u: Change;
      multi?: boolean;
      upsert?: boolean;
      arrayFilters?: Document[];
    };
    if (multi && isReplacement(u))
      throw mongoError(9, "FailedToParse", "multi update is not supported for replacement-style update");
    const found = select(collection, q);
    for (const bytes of multi ? found : found.slice(0, 1)) {
      n++;
      const change = onUpdate(u);
      if (Object.keys(change).length === 0 && !isReplacement(u)) continue;
      const after = changed(deserialize(bytes, { promoteBuffers: false }), q, change, arrayFilters);
      if (!after) continue;
      replace(ns, collection, bytes, after, ask.undo);
      nModified++;
    }
    if (found.length > 0 || !upsert) return;
    made.push({ index, _id: insertNew(ask, ns, collection, upserted(q, u)) });
    n++;
  });
  return { n, nModified, ...(made.length > 0 && { upserted: made }), ...errors };
};

const deleteAll: Command = (ask) => {
  const collection = ask.shared.store.find(ask.db, textIn(ask.command, "delete"));
  let n = 0;
  const errors = each(ask, partsOf(ask, "deletes"), (part) => {
    const { q = {}, limit = 0 } = deserialize(part, { promoteBuffers: false }) as { q?: Document; limit?: number };
    const found = select(collection, q);
    for (const bytes of limit === 1 ? found.slice(0, 1) : found) {
      if (collection) remove(collection, bytes, ask.undo);
      n++;
    }
  });
  return { n, ...errors };
};

const findAndModify: Command = (ask) => {
  const { command, db, shared, undo } = ask;
  const name = textIn(command, Object.keys(command)[0] ?? "");
  const ns = `${db}.${name}`;
  const collection = shared.store.make(db, name);
  const filter = (command["query"] ?? {}) as Document;
  const found = select(collection, filter);
  const sort = command["sort"] as Record<string, 1 | -1> | undefined;
  const back = new Map(found.map((bytes) => [read(bytes), bytes]));
  const [first] = sort
    ? new Query({}, {})
        .find<Document>([...back.keys()])
        .sort(sort)
        .all()
    : back.keys();
  const before = first && back.get(first);
  const shown = (document: Document | undefined): Document | null => {
    const fields = command["fields"] as Document | undefined;
    if (!document || !fields || Object.keys(fields).length === 0) return document ?? null;
    return new Aggregator([{ $project: fields }], {}).run<Document>([document])[0] ?? null;
  };
  if (command["remove"] === true) {
    if (before) remove(collection, before, undo);
    return { lastErrorObject: { n: before ? 1 : 0 }, value: shown(before && read(before)) };
  }
  const change = command["update"] as Change;
  if (before) {
    const after = changed(
      deserialize(before, { promoteBuffers: false }),
      filter,
      onUpdate(change),
      command["arrayFilters"] as Document[] | undefined,
    );
    if (after) replace(ns, collection, before, after, undo);
    const now = after ?? read(before);
    return {
      lastErrorObject: { n: 1, updatedExisting: true },
      value: shown(command["new"] === true ? now : read(before)),
    };
  }
  if (command["upsert"] !== true) return { lastErrorObject: { n: 0, updatedExisting: false }, value: null };
  const id = insertNew(ask, ns, collection, upserted(filter, change));
  const made = collection.documents.get(idKey(id));
  return {
    lastErrorObject: { n: 1, updatedExisting: false, upserted: id },
    value: command["new"] === true ? shown(made && read(made)) : null,
  };
};

export const writing: Readonly<Record<string, Command>> = {
  insert: insertAll,
  update,
  delete: deleteAll,
  findAndModify,
  findandmodify: findAndModify,
};
