// What a server says in a session: answers, followed element by element without waiting for the rest of them. Read are whether it
// was ok, how much there was, and the cursor's id; all else is counted by its length and passes. A batch that goes on by itself
// (exhaust) must have been asked for. What does not add up ends the session: the server is not trusted either.
import { Failure } from "@sallyport/core/failure";
import type { Frames } from "../flow.ts";
import { checkLength, malformed, sizeOf, textOf, types } from "./document.ts";
import { headerSize, opcodes, parseFlags, parseHeader } from "./message.ts";
import type { Pending, Question } from "./session.ts";
import type { Outcome } from "./statement.ts";

export interface ResultOptions {
  readonly pending: Pending;
  tell(outcome: Outcome): void;
  /** A cursor that the server holds open for this session. */
  opened(id: bigint): void;
  closed(id: bigint): void;
}
export interface Results extends Frames {
  /** Whom the next answer must be for, while one goes on by itself. */
  goesOn(): number | undefined;
}

/** No key that an answer has at its top is longer. */
const longestKey = 4_096;
/** Of a message so much is kept. */
const longestText = 4_096;
const first = headerSize + 9;

type Place = "top" | "cursor" | "batch" | "failures";
interface Level {
  readonly place: Place;
  /** Where its last byte is, from the start of the message. */
  readonly last: number;
}

interface Facts {
  ok: boolean;
  rows?: number;
  modified?: number;
  failed?: number;
  code?: number;
  codeName?: string;
  message?: string;
}

const numberAt = (bytes: Buffer, type: number, at: number): number => {
  if (type === types.int) return bytes.readInt32LE(at);
  if (type === types.double) return bytes.readDoubleLE(at);
  if (type === types.long) return Number(bytes.readBigInt64LE(at));
  return type === types.boolean ? (bytes[at] ?? 0) : 0;
};
const countAt = (bytes: Buffer, type: number, at: number): number =>
  Math.max(0, Math.min(Number.MAX_SAFE_INTEGER, Math.trunc(numberAt(bytes, type, at)) || 0));

/** What an array or document in a place is entered as. */
const inner = (place: Place, key: string, type: number): Place | undefined => {
  if (place === "top" && type === types.document && key === "cursor") return "cursor";
  if (place === "top" && type === types.array && key === "writeErrors") return "failures";
  const isBatch = key === "firstBatch" || key === "nextBatch";
  return place === "cursor" && type === types.array && isBatch ? "batch" : undefined;
};

export const openResults = ({ pending, tell, opened, closed }: ResultOptions): Results => {
  let need = headerSize;
  let edge = 0;
  let length = 0; // of the current message; 0 between two
  let at = 0; //     how far it was read
  let skip = 0; //   of it passes unread
  let bodyEnd = 0;
  let levels: Level[] = [];
  let goesOn = false; // the server has said that another answer follows
  let expected: number | undefined;
  let more = false;
  let requestId = 0;
  let question: Question | undefined;
  let cursor: bigint | undefined;
  let facts: Facts = { ok: false };

  const refuse = (what: string): Failure =>
    new Failure("protocol", `the database sent an answer that is not right: ${what}`);

  const begin = (bytes: Buffer, from: number): number => {
    need = first;
    if (bytes.length - from < need) return 0;
    const head = parseHeader(bytes, from);
    if (head.opcode !== opcodes.msg) throw refuse("its opcode");
    question = pending.first();
    if (!question) throw refuse("nothing was asked");
    if (head.responseTo !== (expected ?? question.requestId)) throw refuse("it is for something else");
    const said = parseFlags(bytes.readUInt32LE(from + headerSize));
    if (said.moreToCome && !question.exhaust) throw refuse("more was announced than was asked for");
    if (bytes[from + headerSize + 4] !== 0) throw refuse("it does not begin with its body");
    const size = checkLength(bytes.readInt32LE(from + headerSize + 5));
    bodyEnd = headerSize + 5 + size;
    if (bodyEnd + (said.checksum ? 4 : 0) !== head.length) throw refuse("its length");
    ({ length, requestId } = head);
    more = said.moreToCome;
    cursor = undefined;
    if (!goesOn) facts = { ok: false };
    levels = [{ place: "top", last: bodyEnd - 1 }];
    at = first;
    return first;
  };

  const textAt = (bytes: Buffer, value: number, size: number): string =>
    textOf(bytes, value + 4, value + 3 + Math.min(size, longestText));

  /** What an element says that is read. */
  const note = (bytes: Buffer, place: Place, key: string, type: number, value: number): void => {
    if (place === "cursor") {
      if (key === "id" && type === types.long) cursor = bytes.readBigInt64LE(value);
    } else if (place !== "top") return;
    else if (key === "ok") facts.ok = numberAt(bytes, type, value) === 1;
    else if (key === "n") facts.rows = countAt(bytes, type, value);
    else if (key === "nModified") facts.modified = countAt(bytes, type, value);
    else if (key === "code") facts.code = countAt(bytes, type, value);
  };
  const count = (place: Place): void => {
    if (place === "batch") facts.rows = (facts.rows ?? 0) + 1;
    else if (place === "failures") facts.failed = (facts.failed ?? 0) + 1;
  };

  /** One element, or the end of a document, at `from`. How many bytes of it were read; 0 when more are needed. */
  const element = (bytes: Buffer, from: number): number => {
    const level = levels.at(-1);
    if (!level) throw refuse("its length");
    const have = bytes.length - from;
    const room = level.last - at;
    if (room === 0) {
      if (bytes[from] !== 0) throw malformed("a document without an end");
      levels.pop();
      return 1;
    }
    const type = bytes[from] ?? 0;
    const size = sizeOf(type);
    const end = bytes.indexOf(0, from + 1);
    const keyed = end < 0 ? -1 : end - from + 1;
    if (keyed < 0 || keyed > longestKey) {
      if (have >= Math.min(room, longestKey) || keyed > longestKey) throw malformed("a key that long");
      need = Math.min(room, Math.max(64, 2 * have), longestKey);
      return 0;
    }
    const wanted = keyed + (size < 0 ? 4 : size);
    if (wanted > room) throw malformed("a value that is cut off");
    if (have < wanted) {
      need = wanted;
      return 0;
    }
    const { place } = level;
    const value = from + keyed;
    const key = place === "top" || place === "cursor" ? textOf(bytes, from + 1, end) : "";
    if (size >= 0) {
      note(bytes, place, key, type, value);
      count(place);
      return wanted;
    }
    return variable(bytes, from, { place, key, type, keyed, room });
  };

  /** An element whose value says how long it is. */
  const variable = (
    bytes: Buffer,
    from: number,
    { place, key, type, keyed, room }: { place: Place; key: string; type: number; keyed: number; room: number },
  ): number => {
    const value = from + keyed;
    const have = bytes.length - from;
    if (type === types.regex) {
      const middle = bytes.indexOf(0, value);
      const end = middle < 0 ? -1 : bytes.indexOf(0, middle + 1);
      if (end >= 0 && end - from < room) return end - from + 1;
      if (have >= Math.min(room, longestText)) throw malformed("an expression that long");
      need = Math.min(room, 2 * have, longestText);
      return 0;
    }
    const said = bytes.readInt32LE(value);
    if (type === types.document || type === types.array) {
      if (said < 5 || said > room - keyed) throw malformed("a document longer than what it is in");
      count(place);
      const entered = inner(place, key, type);
      if (!entered) return pass(keyed + 4, said - 4);
      levels.push({ place: entered, last: at + keyed + said - 1 });
      return keyed + 4;
    }
    const whole =
      type === types.scoped ? said : said + 4 + (type === types.binary ? 1 : type === types.pointer ? 12 : 0);
    if (said < (type === types.binary ? 0 : 1) || whole > room - keyed) throw malformed("a value that is cut off");
    const isText = place === "top" && type === types.string && (key === "errmsg" || key === "codeName");
    count(place);
    if (!isText) return pass(keyed + 4, whole - 4);
    const kept = Math.min(whole, longestText + 4);
    if (have < keyed + kept) {
      need = keyed + kept;
      return 0;
    }
    facts[key === "errmsg" ? "message" : "codeName"] = textAt(bytes, value, said);
    return pass(keyed + kept, whole - kept);
  };
  const pass = (read: number, unread: number): number => {
    skip = unread;
    return read;
  };

  const endMessage = (): void => {
    const asked = question;
    length = 0;
    if (!asked) return;
    if (asked.cursor !== undefined && cursor === 0n) closed(asked.cursor);
    if (cursor !== undefined && cursor !== 0n) opened(cursor);
    goesOn = more;
    expected = more ? requestId : undefined;
    if (more) return;
    pending.done();
    tell({ name: asked.name, ...facts });
  };

  return {
    scan: (bytes, from, once) => {
      let place = from;
      edge = from;
      while (place < bytes.length) {
        if (length === 0) {
          if (once) return place;
          const read = begin(bytes, place);
          if (read === 0) return place;
          place += read;
          continue;
        }
        if (skip > 0 || levels.length === 0) {
          // behind the body nothing but a checksum is left, which the client looks at
          const left = levels.length === 0 ? length - at : skip;
          const some = Math.min(left, bytes.length - place);
          if (levels.length > 0) skip -= some;
          place += some;
          at += some;
        } else {
          const read = element(bytes, place);
          if (read === 0) return place;
          place += read;
          at += read;
        }
        if (at < length) continue;
        if (levels.length > 0) throw malformed("a document without an end");
        endMessage();
        edge = place;
      }
      return place;
    },
    need: () => need,
    inside: () => length > 0,
    edge: () => edge,
    dropped: () => false,
    hold: () => undefined,
    goesOn: () => expected,
  };
};
