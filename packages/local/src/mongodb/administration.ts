// The commands about databases, collections, indexes, operations and users, and those that clients send to learn where they are.
import { type Document, serialize } from "bson";
import { type Ask, type Command, describe, sizeOf, textIn } from "./command.ts";
import { cursorReply } from "./packet.ts";
import { type Index, idIndex, mongoError } from "./store.ts";

export const version = "5.0.0";
const bytesOf = (document: Document): Buffer => Buffer.from(serialize(document));
const missing = (ns: string) => mongoError(26, "NamespaceNotFound", `ns not found ${ns}`);

const listDatabases: Command = ({ shared, command }) => {
  const databases = shared.store.databases().map((name) => {
    const sizeOnDisk = [...shared.store.collections(name).values()].reduce((sum, one) => sum + sizeOf(one), 0);
    return { name, ...(command["nameOnly"] !== true && { sizeOnDisk, empty: sizeOnDisk === 0 }) };
  });
  return { databases, totalSize: 0 };
};

const listCollections: Command = ({ shared, command, db }) => {
  const wanted = (command["filter"] as Document | undefined)?.["name"];
  const documents = [...shared.store.collections(db).keys()]
    .filter((name) => typeof wanted !== "string" || wanted === name)
    .map((name) =>
      bytesOf({ name, type: "collection", options: {}, info: { readOnly: false }, idIndex: { v: 2, ...idIndex } }),
    );
  return cursorReply("firstBatch", documents, 0n, `${db}.$cmd.listCollections`);
};

const create: Command = ({ shared, command, db }) => {
  const name = textIn(command, "create");
  if (shared.store.find(db, name)) throw mongoError(48, "NamespaceExists", `Collection ${db}.${name} already exists.`);
  shared.store.make(db, name);
  return {};
};
const drop: Command = ({ shared, command, db }) => {
  const name = textIn(command, "drop");
  const found = shared.store.find(db, name);
  if (!shared.store.drop(db, name)) throw missing(`${db}.${name}`);
  return { nIndexesWas: found?.indexes.length ?? 0, ns: `${db}.${name}` };
};
const dropDatabase: Command = ({ shared, db }) => (shared.store.dropDatabase(db) ? { dropped: db } : {});

const createIndexes: Command = ({ shared, command, db }) => {
  const collection = shared.store.make(db, textIn(command, "createIndexes"));
  const numIndexesBefore = collection.indexes.length;
  for (const { name, key, unique } of command["indexes"] as Index[])
    if (!collection.indexes.some((index) => index.name === name))
      collection.indexes.push({ name, key, ...(unique === true && { unique }) });
  return { numIndexesBefore, numIndexesAfter: collection.indexes.length, createdCollectionAutomatically: false };
};
const listIndexes: Command = ({ shared, command, db }) => {
  const name = textIn(command, "listIndexes");
  const collection = shared.store.find(db, name);
  if (!collection) throw missing(`${db}.${name}`);
  const documents = collection.indexes.map((index) => bytesOf({ v: 2, ...index }));
  return cursorReply("firstBatch", documents, 0n, `${db}.${name}`);
};
const dropIndexes: Command = ({ shared, command, db }) => {
  const collection = shared.store.find(db, textIn(command, "dropIndexes"));
  if (!collection) throw missing(`${db}.${String(command["dropIndexes"])}`);
  const nIndexesWas = collection.indexes.length;
  const { index } = command;
  const keep = collection.indexes.filter(({ name }) => name === "_id_" || (index !== "*" && name !== index));
  if (index !== "*" && keep.length === nIndexesWas)
    throw mongoError(27, "IndexNotFound", `index not found with name [${String(index)}]`);
  collection.indexes.splice(0, nIndexesWas, ...keep);
  return { nIndexesWas };
};

const statistics: Command = ({ shared, command, db }) => {
  const name: unknown = command["collStats"] ?? command["collstats"];
  const some = typeof name === "string" ? [shared.store.find(db, name)] : [...shared.store.collections(db).values()];
  const all = some.flatMap((one) => one ?? []);
  const objects = all.reduce((sum, { documents }) => sum + documents.size, 0);
  const size = all.reduce((sum, one) => sum + sizeOf(one), 0);
  return {
    ...(typeof name === "string" ? { ns: `${db}.${name}`, count: objects } : { db, collections: all.length, objects }),
    size,
  };
};

const currentOp: Command = ({ shared, command }) => ({
  inprog: [...shared.operations.values()]
    .filter(({ appName }) => command["appName"] === undefined || command["appName"] === appName)
    .map(describe),
});
const killOp: Command = ({ shared, command }) => {
  shared.operations.get(Number(command["op"]))?.kill();
  return { info: "attempting to kill op" };
};

const createUser: Command = ({ shared, command, db }) => {
  const name = textIn(command, "createUser");
  const mechanisms: unknown = command["mechanisms"];
  if (db !== "$external" || !Array.isArray(mechanisms) || !mechanisms.includes("MONGODB-AWS"))
    throw mongoError(2, "BadValue", "here users are of $external, with the mechanism MONGODB-AWS");
  if (shared.users.has(name)) throw mongoError(51003, "Location51003", `User "${name}@$external" already exists`);
  shared.users.set(name, { user: name, db, roles: (command["roles"] ?? []) as Document[] });
  return {};
};
const dropUser: Command = ({ shared, command }) => {
  const name = textIn(command, "dropUser");
  if (!shared.users.delete(name)) throw mongoError(11, "UserNotFound", `User '${name}@$external' not found`);
  return {};
};
const usersInfo: Command = ({ shared, command }) => {
  const { usersInfo: asked } = command;
  const name: unknown = typeof asked === "object" && asked !== null ? (asked as Document)["user"] : asked;
  return { users: [...shared.users.values()].filter(({ user }) => typeof name !== "string" || user === name) };
};

const connectionStatus: Command = ({ user, shared }: Ask) => ({
  authInfo: {
    authenticatedUsers: user === undefined ? [] : [{ user, db: "$external" }],
    authenticatedUserRoles: user === undefined ? [] : ((shared.users.get(user)?.["roles"] ?? []) as Document[]),
  },
});

const buildInfo: Command = () => ({
  version,
  versionArray: [5, 0, 0, 0],
  bits: 64,
  debug: false,
  maxBsonObjectSize: 16_777_216,
  modules: [],
});

const nothing: Command = () => ({});

export const administration: Readonly<Record<string, Command>> = {
  listDatabases,
  listCollections,
  create,
  drop,
  dropDatabase,
  createIndexes,
  listIndexes,
  dropIndexes,
  deleteIndexes: dropIndexes,
  collStats: statistics,
  collstats: statistics,
  dbStats: statistics,
  dbstats: statistics,
  currentOp,
  killOp,
  createUser,
  dropUser,
  usersInfo,
  connectionStatus,
  buildInfo,
  buildinfo: buildInfo,
  ping: nothing,
  endSessions: nothing,
  refreshSessions: nothing,
  killSessions: nothing,
  getLog: () => ({ totalLinesWritten: 0, log: [] }),
  getParameter: () => ({}),
  getCmdLineOpts: () => ({ argv: [], parsed: {} }),
  hostInfo: () => ({ system: {}, os: {} }),
  serverStatus: () => ({ version, process: "built-in", uptime: 1 }),
  whatsmyuri: () => ({ you: "127.0.0.1:0" }),
};
