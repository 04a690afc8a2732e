// What becomes of a command of a session: it passes, it is answered here, or it is refused and the session goes on. Ruled on is
// every command by itself: the database that it names, whether it is one that a session may not send, and whose cursors it uses.
import { type Denial, explainDenial } from "@sallyport/core/access";
import { Failure } from "@sallyport/core/failure";
import type { Document } from "bson";
import type { Cursors } from "./cursor.ts";
import { type Element, elements, malformed, stringOf, textOf, types } from "./document.ts";
import { isHello } from "./hello.ts";
import { checkKeys, errorDocument, type errors } from "./message.ts";
import type { Command } from "./statement.ts";

export interface Parsed extends Command {
  readonly keys: readonly string[];
  /** Of getMore: the one it goes on with. Of killCursors: all. */
  readonly cursors: readonly bigint[];
}
export type Ruling = "pass" | "hello" | { readonly refused: Document; readonly why: string };

/** Logging in again, as somebody else or out, is not a session's to do; what is left of it is never told. */
const logins: ReadonlySet<string> = new Set([
  ...["authenticate", "saslstart", "saslcontinue", "logout", "getnonce", "copydbsaslstart", "copydbgetnonce"],
]);
/** What drivers send to `admin`, whatever database is in use. */
const anywhere: ReadonlySet<string> = new Set([
  ...["hello", "isMaster", "ismaster", "ping", "buildInfo", "buildinfo", "connectionStatus", "endSessions"],
  ...["refreshSessions", "commitTransaction", "abortTransaction"],
]);

/** Keys and sections of a command; none has so many. Each is compared with all before it: what fits into a message would take hours. */
export const mostKeys = 256;

/** Of one command; drivers end one at a time. */
const mostCursors = 10_000;
/** Names stand in every line of the audit, and servers take shorter ones only. */
const longestName = 256;

const idsOf = (bytes: Buffer, element: Element | undefined): readonly bigint[] => {
  if (!element) return [];
  if (element.type === types.long) return [bytes.readBigInt64LE(element.value)];
  if (element.type === types.int) return [BigInt(bytes.readInt32LE(element.value))];
  if (element.type === types.double) {
    const value = bytes.readDoubleLE(element.value);
    return Number.isInteger(value) ? [BigInt(value)] : [];
  }
  if (element.type !== types.array) return [];
  return elements(bytes, element.value, mostCursors).flatMap((one) =>
    one.type === types.array ? [] : idsOf(bytes, one),
  );
};

/** Reads a checked body. @throws Failure `protocol` at keys that come twice, and without a database */
export const parseCommand = (bytes: Buffer, from: number, to: number): Parsed => {
  const all = elements(bytes, from, mostKeys);
  const keys = all.map(({ key, keyEnd }) => textOf(bytes, key, keyEnd));
  checkKeys(keys);
  const [name] = keys;
  if (name === undefined) throw malformed("a command without a name");
  const at = (key: string): Element | undefined => all[keys.indexOf(key)];
  const db = stringOf(bytes, at("$db"));
  if (db === undefined || db === "" || db.includes("\0")) throw new Failure("protocol", "a command without $db");
  if (name.length > longestName || db.length > longestName) throw malformed("a name that long");
  // the document says it whole
  const collection = stringOf(bytes, name === "getMore" ? at("collection") : all[0])?.slice(0, longestName);
  const cursors = name === "getMore" ? idsOf(bytes, all[0]) : name === "killCursors" ? idsOf(bytes, at("cursors")) : [];
  return { bytes, from, to, name, db, collection, keys, cursors };
};

const refuse = (failure: Failure, code?: (typeof errors)[keyof typeof errors] | readonly [number, string]): Ruling => ({
  refused: errorDocument(failure, code === undefined ? {} : { code }),
  why: failure.message,
});

export interface Judges {
  guard(access: { readonly name: string }): Denial | undefined;
  readonly cursors: Cursors;
}

export const ruleOn = ({ name, db, cursors: used }: Parsed, { guard, cursors }: Judges): Ruling => {
  if (logins.has(name.toLowerCase()))
    return refuse(
      new Failure("denied", `${name} is not allowed here: this connection is logged in`, {
        hint: "open another connection to be somebody else",
      }),
    );
  if (!(db === "admin" && anywhere.has(name))) {
    const denied = guard({ name: db });
    if (denied)
      return refuse(
        new Failure("denied", `not authorized on ${db} to execute command ${name}: ${explainDenial(denied)}`, {
          hint: "ask for a role that allows this database name",
        }),
      );
  }
  if (isHello(name)) return "hello";
  const foreign = used.find((id) => !cursors.mayUse(id));
  if (foreign === undefined) return "pass";
  return refuse(new Failure("not_found", `cursor id ${foreign} not found`), [43, "CursorNotFound"]);
};
