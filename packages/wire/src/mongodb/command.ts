// What a client says in a session, message by message: nothing of a message passes before its body is there in full and was ruled
// on; what follows the body passes document by document as it comes. A command that stays here is taken out whole and answered in
// its turn. What is not understood ends the session. https://github.com/mongodb/specifications/blob/master/source/message/OP_MSG.md
import { partSize } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import type { Frames } from "../flow.ts";
import { crc32c } from "./checksum.ts";
import { checkLength, documentEnd, textOf, zeroAt } from "./document.ts";
import {
  type Asker,
  badChecksum,
  headerSize,
  loginLimit,
  opcodes,
  parseFlags,
  parseHeader,
  parseRequest,
  type Request,
} from "./message.ts";
import { mostKeys, type Parsed, parseCommand, type Ruling } from "./rule.ts";
import type { Pending } from "./session.ts";
import type { CommandTeller } from "./statement.ts";

/** A command that is not for the server. */
export interface Local {
  readonly asker: Asker;
  readonly ruling: Exclude<Ruling, "pass">;
  readonly request: { readonly name: string; readonly db: string; readonly collection: string | undefined };
  /** Its body, where it is a hello. */
  readonly body: Buffer;
  /** It waits for no answer. */
  readonly silent: boolean;
}

export interface AskOptions {
  readonly pending: Pending;
  readonly tell: CommandTeller;
  rule(command: Parsed): Ruling;
  /** Answers it. Resolves when what comes behind may go on. */
  answer(local: Local): Promise<void>;
}
export interface Asks extends Frames {
  /** Who sent what is being read. */
  asker(): Asker | undefined;
}

const bodyKind = 0;
const sequenceKind = 1;
/** The name of a section of documents: a key of the command, as short as those are. */
const longestName = 256;

interface Found {
  readonly command: Parsed;
  /** Where the body ends, from the start of the message. */
  readonly end: number;
  readonly names: readonly string[];
}

const malformed = (what: string): Failure => new Failure("protocol", `a message that is not right: ${what}`);

/** The head of a section of documents: its end and its name; undefined when that is not there yet. */
const sequenceAt = (bytes: Buffer, at: number, left: number, names: readonly string[]) => {
  const have = Math.min(bytes.length - at, left, 5 + longestName);
  if (have < Math.min(left, 5 + longestName) && bytes.indexOf(0, at + 5) < 0) return undefined;
  if (left < 6 || have < 6) throw malformed("a section that is cut off");
  if (bytes[at] !== sequenceKind) throw malformed("a section of another kind");
  if (names.length >= mostKeys) throw malformed(`more than ${mostKeys} keys`);
  const size = bytes.readInt32LE(at + 1);
  if (size < 5 || size > left - 1) throw malformed("a section's length");
  const end = zeroAt(bytes, at + 5, at + Math.min(have, 1 + size));
  const name = textOf(bytes, at + 5, end);
  if (name === "" || name.includes(".") || name.startsWith("$")) throw malformed("a section's name");
  if (names.includes(name)) throw malformed("a section named as another key of the command");
  return { name, documents: end + 1, left: size - (end + 1 - at - 1) };
};

/** Every document of a section that is there whole. Where the section ends. */
const checkSequence = (bytes: Buffer, from: number, left: number): number => {
  const end = from + left;
  for (let at = from; at < end; ) at = documentEnd(bytes, at, end);
  return end;
};

export const openAsks = ({ pending, tell, rule, answer }: AskOptions): Asks => {
  let need = headerSize;
  let edge = 0;
  let left = 0; //         of the current message
  let asker: Asker | undefined;
  let checksum = false;
  let crc = 0;
  let dropping = false; // the current message stays here
  let dropped = false; //  the last run does
  let local: Local | undefined;
  let held: Promise<void> | undefined;
  let names: readonly string[] = [];
  let section = ""; //     the name of the one we are in
  let inSection = 0; //    how much of it is to come
  let pieceAt = -1; //     where what was not told yet begins

  /** Takes bytes as seen. */
  const take = (bytes: Buffer, at: number, count: number): number => {
    if (checksum) crc = crc32c(bytes, crc, at, at + count);
    left -= count;
    return at + count;
  };
  const tellPiece = (bytes: Buffer, to: number): void => {
    if (pieceAt < 0) return;
    const from = pieceAt;
    pieceAt = -1;
    if (to > from && !dropping) tell.documents(section, bytes, from, to, left > (checksum ? 4 : 0));
  };
  const endMessage = (): void => {
    if (!dropping) tell.end();
    if (local) held = answer(local);
    local = undefined;
    asker = undefined;
  };

  /** The body of the message at `at`; undefined when it is not all there, with `need` set. */
  const findBody = (bytes: Buffer, at: number, length: number, tail: number): Found | undefined => {
    const have = bytes.length - at;
    const limit = length - tail;
    const before: { name: string; from: number; left: number }[] = [];
    for (let place = headerSize + 4; ; ) {
      if (place + 5 > limit) throw malformed("no body");
      if (place + 5 > have) {
        need = place + 5;
        return undefined;
      }
      if (bytes[at + place] === bodyKind) {
        const size = checkLength(bytes.readInt32LE(at + place + 1));
        const end = place + 1 + size;
        if (end > limit) throw malformed("a body longer than its message");
        if (end > have) {
          need = end;
          return undefined;
        }
        if (documentEnd(bytes, at + place + 1, at + end) !== at + end) throw malformed("a body's length");
        for (const one of before) checkSequence(bytes, one.from, one.left);
        const command = parseCommand(bytes, at + place + 1, at + end);
        for (const { name } of before) if (command.keys.includes(name)) throw malformed("a key twice in a command");
        return { command, end, names: [...command.keys, ...before.map(({ name }) => name)] };
      }
      const found = sequenceAt(
        bytes,
        at + place,
        limit - place,
        before.map(({ name }) => name),
      );
      if (!found) {
        need = Math.min(limit, place + 5 + longestName);
        return undefined;
      }
      before.push({ name: found.name, from: found.documents, left: found.left });
      place = found.documents - at + found.left;
    }
  };

  const localOf = (
    ruling: Local["ruling"],
    command: Pick<Parsed, "name" | "db" | "collection">,
    asked: Asker,
    rest: Pick<Local, "body" | "silent">,
  ): Local => ({
    asker: asked,
    ruling,
    request: { name: command.name, db: command.db, collection: command.collection },
    ...rest,
  });

  /** A whole OP_QUERY: a hello, or the end. */
  const legacy = (request: Request): Local => {
    const command = { name: request.name, db: "admin", collection: undefined };
    const ruling = rule({ ...command, bytes: request.body, from: 0, to: request.body.length, keys: [], cursors: [] });
    if (ruling !== "hello") throw new Failure("unsupported", "OP_QUERY is taken for hello only");
    return localOf(ruling, command, request, { body: request.body, silent: false });
  };

  /** The bodies told of come whole; documents of sections before them are told with them. */
  const tellFound = (bytes: Buffer, at: number, { command }: Found, more: boolean): void => {
    tell.body(command, more || command.from - at > headerSize + 5);
    const limit = command.from - 1;
    for (let place = at + headerSize + 4; place < limit; ) {
      const found = sequenceAt(bytes, place, limit - place, []);
      if (!found) break;
      const to = found.documents + found.left;
      tell.documents(found.name, bytes, found.documents, to, more || to < limit);
      place = to;
    }
  };

  /** Begins the message at `at`. The place it has come to; `at` itself when more is needed, or when what is before it must go first. */
  const begin = (bytes: Buffer, at: number, from: number): number => {
    const have = bytes.length - at;
    need = headerSize + 4;
    if (have < need) return at;
    // it may be told what is wrong with it
    asker = { requestId: bytes.readInt32LE(at + 4), opcode: bytes.readInt32LE(at + 12) };
    const { length, requestId, opcode } = parseHeader(bytes, at);
    if (opcode === opcodes.reply) throw malformed("an answer to nothing");
    const isQuery = opcode === opcodes.query;
    if (isQuery && length > loginLimit) throw new Failure("too_large", "a hello that long");
    need = length;
    if (isQuery && have < need) return at;
    const said = parseFlags(isQuery ? 0 : bytes.readUInt32LE(at + headerSize));
    const tail = said.checksum ? 4 : 0;
    const found = isQuery ? undefined : findBody(bytes, at, length, tail);
    if (!found && !isQuery) return at;
    const ruling = found ? rule(found.command) : "hello";
    // what is before it passes, it does not
    if (ruling !== "pass" && at > from) return at;
    left = length;
    checksum = said.checksum;
    crc = 0;
    dropping = ruling !== "pass";
    inSection = 0;
    names = found?.names ?? [];
    const end = found?.end ?? length;
    if (!found) local = legacy(parseRequest(bytes.subarray(at, at + length)));
    else if (ruling !== "pass") {
      const { from: start, to } = found.command;
      if (ruling === "hello" && to - start > loginLimit) throw new Failure("too_large", "a hello that long");
      // looked at when the message has come to its end, whatever becomes of these bytes
      const body = Buffer.from(ruling === "hello" ? bytes.subarray(start, to) : []);
      local = localOf(ruling, found.command, asker, { body, silent: said.moreToCome });
    } else {
      tellFound(bytes, at, found, length - tail > end);
      const { name, cursors } = found.command;
      const cursor = name === "getMore" ? cursors[0] : undefined;
      if (!said.moreToCome)
        pending.ask({
          requestId,
          opcode,
          name,
          exhaust: said.exhaustAllowed,
          ...(cursor === undefined ? {} : { cursor }),
        });
    }
    return take(bytes, at, end);
  };

  /** Goes on behind the body. The place it has come to; `at` when more is needed. */
  const goOn = (bytes: Buffer, at: number): number => {
    const have = bytes.length - at;
    const tail = checksum ? 4 : 0;
    if (left === tail) {
      need = tail;
      if (have < tail) return at;
      if (crc !== bytes.readUInt32LE(at)) throw badChecksum();
      checksum = false;
      return take(bytes, at, tail);
    }
    if (inSection === 0) {
      const found = sequenceAt(bytes, at, left - tail, names);
      need = Math.min(left - tail, 5 + longestName);
      if (!found) return at;
      section = found.name;
      names = [...names, section];
      inSection = found.left;
      return take(bytes, at, found.documents - at);
    }
    need = Math.min(inSection, 4);
    if (need < 4) throw malformed("a section that does not end with a document");
    if (have < need) return at;
    const size = checkLength(bytes.readInt32LE(at));
    if (size > inSection) throw malformed("a document longer than its section");
    need = size;
    if (have < need) return at;
    documentEnd(bytes, at, at + size);
    if (pieceAt >= 0 && at + size - pieceAt > partSize) tellPiece(bytes, at);
    if (pieceAt < 0) pieceAt = at;
    inSection -= size;
    const next = take(bytes, at, size);
    if (inSection === 0) tellPiece(bytes, next);
    return next;
  };

  return {
    scan: (bytes, from, once) => {
      let at = from;
      edge = from;
      dropped = dropping && left > 0;
      pieceAt = -1;
      while (at < bytes.length) {
        if (left === 0) {
          if (once) break;
          const next = begin(bytes, at, from);
          if (next === at) break;
          dropped = dropping;
          at = next;
        } else {
          const next = goOn(bytes, at);
          if (next === at) break;
          at = next;
        }
        if (left > 0) continue;
        edge = at;
        endMessage();
        // a run of its own
        if (dropped) return at;
      }
      tellPiece(bytes, at);
      return at;
    },
    need: () => need,
    inside: () => left > 0,
    edge: () => edge,
    dropped: () => dropped,
    hold: () => {
      const promise = held;
      held = undefined;
      return promise;
    },
    asker: () => asker,
  };
};
