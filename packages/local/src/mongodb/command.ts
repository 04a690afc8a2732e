// What a command of the built-in server is handed, and the commands that read: find, aggregate, count, distinct and the cursors
// they leave behind.
import { type Document, Long, serialize } from "bson";
import { Aggregator, Query } from "mingo";
import { cursorReply, type Request } from "./packet.ts";
import { type Collection, insert, mongoError, read, type Store, select, type Undo } from "./store.ts";

export interface Cursor {
  readonly ns: string;
  left: readonly Buffer[];
  readonly batchSize: number | undefined;
}
/** Something that runs, as currentOp shows it. */
export interface Operation {
  readonly opid: number;
  readonly ns: string;
  readonly command: Document;
  readonly appName: string;
  readonly kill: () => void;
}
export interface Shared {
  readonly store: Store;
  readonly cursors: Map<bigint, Cursor>;
  readonly operations: Map<number, Operation>;
  /** Users of `$external`, by role ARN, with their roles. */
  readonly users: Map<string, Document>;
  /** Transactions by their session. */
  readonly transactions: Map<string, Undo>;
  makeCursorId(): bigint;
}
export interface Ask {
  readonly shared: Shared;
  readonly command: Document;
  readonly db: string;
  readonly request: Request;
  /** How to take back what is done, inside a transaction. */
  readonly undo: Undo | undefined;
  readonly connectionId: number;
  readonly user: string | undefined;
}
/** An answer without its `ok`, or a whole document. */
export type Command = (ask: Ask) => Document | Buffer;

const mostBytes = 16 * 1_048_576;
const firstBatch = 101;

const numberIn = (command: Document, name: string): number | undefined => {
  const value: unknown = command[name];
  if (value === undefined || value === null) return undefined;
  const number = Number(value);
  if (!Number.isFinite(number)) throw mongoError(14, "TypeMismatch", `${name} must be a number`);
  return number;
};
export const textIn = (command: Document, name: string): string => {
  const value: unknown = command[name];
  if (typeof value !== "string")
    throw mongoError(73, "InvalidNamespace", `collection name has invalid type ${typeof value}`);
  return value;
};
const documentIn = (command: Document, name: string): Document | undefined => {
  const value: unknown = command[name];
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Document) : undefined;
};

/** So many of them, and no more than fit into a message. */
const cut = (left: readonly Buffer[], count: number): readonly Buffer[] => {
  let bytes = 0;
  let at = 0;
  for (; at < left.length && at < count; at++) {
    bytes += (left[at]?.length ?? 0) + 16;
    if (at > 0 && bytes > mostBytes) break;
  }
  return left.slice(0, at);
};

const open = (
  { shared }: Ask,
  ns: string,
  all: readonly Buffer[],
  size: number | undefined,
  single: boolean,
): Buffer => {
  const batch = cut(all, size ?? firstBatch);
  const left = all.slice(batch.length);
  if (left.length === 0 || single) return cursorReply("firstBatch", batch, 0n, ns);
  const id = shared.makeCursorId();
  shared.cursors.set(id, { ns, left, batchSize: size });
  return cursorReply("firstBatch", batch, id, ns);
};

const bytesOf = (document: Document): Buffer => Buffer.from(serialize(document));

const compared = (documents: readonly Buffer[], sort: Document): readonly Buffer[] => {
  const back = new Map(documents.map((bytes) => [read(bytes), bytes]));
  const sorted = new Query({}, {})
    .find<Document>([...back.keys()])
    .sort(sort as Record<string, 1 | -1>)
    .all();
  return sorted.flatMap((document) => back.get(document) ?? []);
};

const find: Command = (ask) => {
  const { shared, command, db } = ask;
  const name = textIn(command, "find");
  const found = select(shared.store.find(db, name), documentIn(command, "filter"));
  const sort = documentIn(command, "sort");
  const sorted = sort && Object.keys(sort).length > 0 ? compared(found, sort) : found;
  const skip = numberIn(command, "skip") ?? 0;
  const limit = Math.abs(numberIn(command, "limit") ?? 0);
  const some = skip === 0 && limit === 0 ? sorted : sorted.slice(skip, limit === 0 ? undefined : skip + limit);
  const projection = documentIn(command, "projection");
  const shown =
    projection && Object.keys(projection).length > 0
      ? new Query({}, {}).find<Document>(some.map(read), projection).all().map(bytesOf)
      : some;
  return open(ask, `${db}.${name}`, shown, numberIn(command, "batchSize"), command["singleBatch"] === true);
};

/** What `{aggregate: 1}` may begin with. */
const sourceOf = ({ shared, user }: Ask, stage: Document): Document[] => {
  const [name = ""] = Object.keys(stage);
  if (name === "$currentOp") return [...shared.operations.values()].map(describe);
  if (name === "$documents") return stage[name] as Document[];
  if (name === "$listLocalSessions") return user === undefined ? [] : [{ user }];
  throw mongoError(73, "InvalidNamespace", `{aggregate: 1} is not valid for '${name}'`);
};

const aggregate: Command = (ask) => {
  const { shared, command, db, undo } = ask;
  const stages = command["pipeline"] as Document[] | undefined;
  if (!Array.isArray(stages) || !documentIn(command, "cursor"))
    throw mongoError(9, "FailedToParse", "The 'cursor' option is required, and 'pipeline' must be an array");
  const [first = {}, ...others] = stages;
  const whole = command["aggregate"] === 1;
  const name = whole ? "$cmd.aggregate" : textIn(command, "aggregate");
  const unknown = stages
    .flatMap((stage) => Object.keys(stage))
    .find((stage) => ["$merge", "$changeStream"].includes(stage));
  if (unknown !== undefined) throw mongoError(40324, "Location40324", `Unrecognized pipeline stage name: '${unknown}'`);
  const source = whole ? sourceOf(ask, first) : select(shared.store.find(db, name)).map(read);
  const rest = whole ? others : stages;
  const out: unknown = rest.at(-1)?.["$out"];
  const collectionResolver = (from: string): Document[] => select(shared.store.find(db, from)).map(read);
  const made = new Aggregator(out === undefined ? rest : rest.slice(0, -1), { collectionResolver }).run<Document>(
    source,
  );
  if (typeof out === "string") {
    shared.store.drop(db, out);
    const target = shared.store.make(db, out);
    for (const document of made) insert(`${db}.${out}`, target, bytesOf(document), undo);
  }
  const size = numberIn(documentIn(command, "cursor") ?? {}, "batchSize");
  return open(ask, `${db}.${name}`, out === undefined ? made.map(bytesOf) : [], size, false);
};

const getMore: Command = ({ shared, command, db }) => {
  const id = BigInt(String(command["getMore"]));
  const cursor = shared.cursors.get(id);
  const ns = `${db}.${textIn(command, "collection")}`;
  if (!cursor) throw mongoError(43, "CursorNotFound", `cursor id ${id} not found`);
  if (cursor.ns !== ns)
    throw mongoError(13, "Unauthorized", `Requested getMore on namespace '${ns}', but cursor belongs to ${cursor.ns}`);
  const batch = cut(cursor.left, numberIn(command, "batchSize") ?? cursor.batchSize ?? Number.POSITIVE_INFINITY);
  cursor.left = cursor.left.slice(batch.length);
  if (cursor.left.length > 0) return cursorReply("nextBatch", batch, id, ns);
  shared.cursors.delete(id);
  return cursorReply("nextBatch", batch, 0n, ns);
};

const killCursors: Command = ({ shared, command }) => {
  const [killed, missing]: [Long[], Long[]] = [[], []];
  for (const value of command["cursors"] as unknown[]) {
    const id = BigInt(String(value));
    (shared.cursors.delete(id) ? killed : missing).push(Long.fromBigInt(id));
  }
  return { cursorsKilled: killed, cursorsNotFound: missing, cursorsAlive: [], cursorsUnknown: [] };
};

const count: Command = ({ shared, command, db }) => {
  const found = select(shared.store.find(db, textIn(command, "count")), documentIn(command, "query")).length;
  const after = Math.max(0, found - (numberIn(command, "skip") ?? 0));
  const limit = Math.abs(numberIn(command, "limit") ?? 0);
  return { n: limit > 0 ? Math.min(limit, after) : after };
};

const distinct: Command = ({ shared, command, db }) => {
  const path = `$${textIn(command, "key")}`;
  const found = select(shared.store.find(db, textIn(command, "distinct")), documentIn(command, "query")).map(read);
  const stages = [{ $project: { value: path } }, { $unwind: "$value" }, { $group: { _id: "$value" } }];
  return { values: new Aggregator(stages, {}).run<Document>(found).map((one): unknown => one["_id"]) };
};

export const describe = ({ opid, ns, command, appName }: Operation): Document => ({
  type: "op",
  active: true,
  opid,
  op: "command",
  ns,
  appName,
  command: { [Object.keys(command)[0] ?? ""]: Object.values(command)[0] },
});

/** The size of all documents, as statistics show it. */
export const sizeOf = ({ documents }: Collection): number =>
  [...documents.values()].reduce((sum, { length }) => sum + length, 0);

export const reading: Readonly<Record<string, Command>> = { find, aggregate, getMore, killCursors, count, distinct };
