// What the built-in server keeps: databases of collections of documents, each as the bytes that were sent, so that what is read is
// what was written. Changes inside a transaction are taken back if it is aborted; until then everybody sees them.
import { Failure } from "@sallyport/core/failure";
import { type Document, deserialize, ObjectId, onDemand, serialize } from "bson";
import { Query } from "mingo";

export interface Index {
  readonly name: string;
  readonly key: Document;
  readonly unique?: boolean;
}
export interface Collection {
  readonly documents: Map<string, Buffer>;
  readonly indexes: Index[];
}
/** Takes changes back, the last one first. */
export type Undo = (() => void)[];

/** An error as MongoDB words it: its code and its name beside the text. */
export const mongoError = (code: number, codeName: string, message: string): Failure =>
  new Failure("invalid", message, { details: { code, codeName } });

/** Any error with the code that MongoDB has for it; mingo's own have none. */
export const worded = (thrown: unknown): Failure => {
  if (thrown instanceof Failure) return thrown;
  const message = thrown instanceof Error ? thrown.message : "failed";
  return message.includes("immutable field")
    ? mongoError(66, "ImmutableField", message)
    : mongoError(2, "BadValue", message);
};

export const idIndex: Index = { name: "_id_", key: { _id: 1 } };
const parsed = new WeakMap<Buffer, Document>();

/** Read-only: it is the same for everybody. */
export const read = (bytes: Buffer): Document => {
  const known = parsed.get(bytes);
  if (known) return known;
  const fresh = deserialize(bytes, { promoteBuffers: false });
  parsed.set(bytes, fresh);
  return fresh;
};

const numeric = new Set([0x01, 0x10, 0x12]);
/** The key of what `_id` a document has; a number is the same in each of its types. Undefined: it has none. */
const idOf = (bytes: Buffer): string | undefined => {
  for (const [type, nameAt, nameLength, at, length] of onDemand.parseToElements(bytes)) {
    if (nameLength !== 3 || bytes.toString("latin1", nameAt, nameAt + 3) !== "_id") continue;
    if (numeric.has(type)) return `number ${String(deserialize(bytes)["_id"])}`;
    return `${type} ${bytes.toString("hex", at, at + length)}`;
  }
  return undefined;
};
export const idKey = (value: unknown): string => idOf(Buffer.from(serialize({ _id: value }))) ?? "";

const isPlain = (value: unknown): boolean =>
  value === null || typeof value !== "object" || (value as { _bsontype?: string })._bsontype === "ObjectId";

/** Those that match, in their order. */
export const select = (collection: Collection | undefined, filter: Document = {}): readonly Buffer[] => {
  if (!collection) return [];
  const { documents } = collection;
  const keys = Object.keys(filter);
  if (keys.length === 0) return [...documents.values()];
  const id: unknown = filter["_id"];
  const found = id !== undefined && isPlain(id) && !(id instanceof RegExp) ? documents.get(idKey(id)) : undefined;
  if (id !== undefined && isPlain(id) && !found) return [];
  if (found && keys.length === 1) return [found];
  const query = new Query(filter, {});
  return (found ? [found] : [...documents.values()]).filter((bytes) => query.test(read(bytes)));
};

const clash = (ns: string, { name, key }: Index, value: unknown): Failure =>
  mongoError(
    11000,
    "DuplicateKey",
    `E11000 duplicate key error collection: ${ns} index: ${name} dup key: ${JSON.stringify({ [Object.keys(key)[0] ?? ""]: value })}`,
  );

const requireUnique = (ns: string, collection: Collection, bytes: Buffer, own: string): void => {
  for (const index of collection.indexes) {
    if (!index.unique) continue;
    const document = read(bytes);
    const fields = Object.keys(index.key);
    const query = new Query(Object.fromEntries(fields.map((field) => [field, document[field] ?? null])), {});
    for (const [key, other] of collection.documents)
      if (key !== own && query.test(read(other))) throw clash(ns, index, document[fields[0] ?? ""]);
  }
};

const withId = (bytes: Buffer): Buffer =>
  idOf(bytes) === undefined ? Buffer.from(serialize({ _id: new ObjectId(), ...deserialize(bytes) })) : bytes;

/** @throws Failure with MongoDB's code */
export const insert = (ns: string, collection: Collection, given: Buffer, undo?: Undo): void => {
  // a copy: what it lies in is a whole message
  const bytes = Buffer.from(withId(given));
  const key = idOf(bytes) ?? "";
  if (collection.documents.has(key)) throw clash(ns, idIndex, read(bytes)["_id"]);
  requireUnique(ns, collection, bytes, key);
  collection.documents.set(key, bytes);
  undo?.push(() => collection.documents.delete(key));
};

/** A document in place of another, whose `_id` it keeps. @throws Failure with MongoDB's code */
export const replace = (ns: string, collection: Collection, before: Buffer, after: Document, undo?: Undo): void => {
  const key = idOf(before) ?? "";
  const bytes = Buffer.from(serialize(after));
  if (idOf(bytes) !== key)
    throw mongoError(
      66,
      "ImmutableField",
      "Performing an update on the path '_id' would modify the immutable field '_id'",
    );
  requireUnique(ns, collection, bytes, key);
  collection.documents.set(key, bytes);
  undo?.push(() => collection.documents.set(key, before));
};

export const remove = (collection: Collection, bytes: Buffer, undo?: Undo): void => {
  const key = idOf(bytes) ?? "";
  collection.documents.delete(key);
  undo?.push(() => collection.documents.set(key, bytes));
};

export const openStore = () => {
  const databases = new Map<string, Map<string, Collection>>();
  const make = (db: string, name: string): Collection => {
    const collections = databases.get(db) ?? new Map<string, Collection>();
    databases.set(db, collections);
    const known = collections.get(name);
    if (known) return known;
    if (name === "" || name.includes("$")) throw mongoError(73, "InvalidNamespace", `Invalid collection name: ${name}`);
    const fresh: Collection = { documents: new Map(), indexes: [idIndex] };
    collections.set(name, fresh);
    return fresh;
  };
  return {
    databases: (): readonly string[] => [...databases.keys()],
    collections: (db: string): ReadonlyMap<string, Collection> => databases.get(db) ?? new Map(),
    find: (db: string, name: string): Collection | undefined => databases.get(db)?.get(name),
    make,
    drop: (db: string, name: string): boolean => databases.get(db)?.delete(name) ?? false,
    dropDatabase: (db: string): boolean => databases.delete(db),
  };
};
export type Store = ReturnType<typeof openStore>;
