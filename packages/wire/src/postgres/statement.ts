// What an audit line says of a PostgreSQL session. What is plain goes from the relay's bytes into the line's; text that is not
// UTF-8 is given as Latin-1 and says so: no byte is lost. Passwords are taken out. A statement is worded while it is recorded, so
// one object serves for every message of its kind.
// https://www.postgresql.org/docs/18/protocol-message-formats.html
import type { Statement } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import { json, type Line } from "@sallyport/core/line";
import { bindWalker } from "./bind.ts";
import { errorFields } from "./message.ts";
import { bytesMayHoldSecret } from "./redaction.ts";
import { bindTeller, sql, wholeSql } from "./telling.ts";

/** A piece of a message that a relay is about to pass on: `first` and `last` when it is the only one. */
export type Observe = (type: number, bytes: Buffer, from: number, to: number, first: boolean, last: boolean) => void;
export type Record = (statement: Statement) => void;

type Members = Readonly<{ [member: string]: unknown }>;

// what a line has beside the bytes it tells of
const overhead = 64;
const empty: Buffer = Buffer.alloc(0);

// openings of members, and members that never change
const openings = { name: json(',"name":'), text: json(',"text":'), tag: json(',"tag":'), rows: json(',"rows":') };
const copiedOpening = json(',"copied":');
const opening = {
  ...{ query: json(',"type":"query"'), parse: json(',"type":"parse"'), complete: json(',"type":"complete"') },
  ...{ bind: json(',"type":"bind"'), portal: json(',"portal":'), statement: json(',"statement":') },
  ...{ values: json(',"values":['), comma: json(","), end: json("]"), none: json(""), null: json("null") },
};
const unnamedExecute = json(',"type":"execute","portal":""');

const malformed = (message: string): Failure => new Failure("protocol", `malformed ${message} message`);

/** Names are short: a loop is over before a search has begun. */
const zeroAt = (bytes: Buffer, from: number): number => {
  let at = from;
  while (at < bytes.length && bytes[at] !== 0) at++;
  return at;
};

/** A whole Bind whose names and values are plain text. False when it is not: then nothing was written. */
const sayPlainBind = (line: Line, bytes: Buffer, from: number, to: number): boolean => {
  const start = line.mark();
  const portal = zeroAt(bytes, from);
  const statement = zeroAt(bytes, portal + 1);
  let at = statement + 1;
  const formats = bytes.readUInt16BE(at);
  at += 2;
  for (const end = at + 2 * formats; at < end; at += 2) if (bytes[at + 1] !== 0) return false;
  line.fixed(opening.bind);
  let plain = line.text(opening.portal, bytes, from, portal);
  plain &&= line.text(opening.statement, bytes, portal + 1, statement);
  line.fixed(opening.values);
  const count = bytes.readUInt16BE(at);
  at += 2;
  for (let value = 0; plain && value < count && at < to; value++) {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (value > 0) line.fixed(opening.comma);
    if (length < 0) line.fixed(opening.null);
    else plain = line.text(opening.none, bytes, at, at + length);
    at += Math.max(0, length);
  }
  if (plain) line.fixed(opening.end);
  else line.back(start);
  return plain;
};

/** Where the message that is being recorded lies, and what of it is told: one for all that a side says, recorded one after the other. */
const place = () => ({ bytes: empty, from: 0, to: 0, size: 0 });
type Place = ReturnType<typeof place>;
const put = (place: Place, bytes: Buffer, from: number, to: number): void => {
  // asking is cheaper than the collector's note of an old object that holds a young one
  if (place.bytes !== bytes) place.bytes = bytes;
  place.from = from;
  place.to = to;
  place.size = overhead + to - from;
};

/** An SQL text in one piece; `name` is a prepared statement's. */
const textStatement = (type: Uint8Array, at: Place) => {
  const statement = {
    ...{ hasName: false, nameFrom: 0, nameTo: 0, size: 0 },
    say: (line: Line): void => {
      const { bytes, from, to } = at;
      const { hasName, nameFrom, nameTo } = statement;
      line.fixed(type);
      if (hasName && !line.text(openings.name, bytes, nameFrom, nameTo))
        line.members({ name: bytes.toString("utf8", nameFrom, nameTo) });
      if (!bytesMayHoldSecret(bytes, from, to) && line.text(openings.text, bytes, from, to)) return;
      line.members({ ...wholeSql(bytes.subarray(from, to)) });
    },
  };
  return statement;
};

const bindStatement = (at: Place) => {
  const say = (line: Line): void => {
    const { bytes, from, to } = at;
    if (!sayPlainBind(line, bytes, from, to)) line.members(bindTeller()(bytes.subarray(from, to)));
  };
  return { size: 0, say };
};

const executeStatement = (at: Place) => {
  const say = (line: Line): void => {
    const { bytes, from, to } = at;
    const rows = bytes.readInt32BE(to - 4);
    if (to - from === 5 && rows === 0) line.fixed(unnamedExecute);
    else
      line.members({
        ...{ type: "execute", portal: bytes.toString("utf8", from, to - 5) },
        ...(rows > 0 ? { rows } : {}),
      });
  };
  return { size: 0, say };
};

/** What a client says. @throws Failure `protocol` at a message that can't be read */
export const observeClient = (record: Record): Observe => {
  const check = bindWalker();
  const at = place();
  const whole = { query: textStatement(opening.query, at), parse: textStatement(opening.parse, at) };
  const [wholeBind, execute] = [bindStatement(at), executeStatement(at)];
  let part = 0;
  let more = false; //                 is there text to come?
  // what the parts of one message share
  let words: ReturnType<typeof sql> | undefined;
  let tell: ReturnType<typeof bindTeller> | undefined;

  /** A piece of a statement that comes in several. */
  const piece = (length: number, last: boolean, said: () => Members): void => {
    const statement = { size: overhead + length, say: (line: Line) => line.members(said()) };
    const number = part++;
    // a text may end in the first piece, and what follows it in the message is not told
    record(number === 0 && last ? statement : { ...statement, part: number, last });
  };

  const text = (type: "query" | "parse", bytes: Buffer, from: number, to: number, last: boolean): void => {
    const { hasName, nameFrom, nameTo } = whole[type];
    const say = words ?? sql();
    const name = hasName ? { name: bytes.toString("utf8", nameFrom, nameTo) } : {};
    piece(to - from, last, () => ({ type, ...name, ...say(bytes.subarray(from, to), last) }));
  };
  const wholeText = (type: "query" | "parse", bytes: Buffer, from: number, to: number): void => {
    const statement = whole[type];
    put(at, bytes, from, to);
    statement.size = at.size;
    record(statement);
  };

  const query = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    const end = bytes.indexOf(0, from);
    if (last ? end !== to - 1 : end >= 0 && end < to) throw malformed("Query");
    if (first && last) wholeText("query", bytes, from, to - 1);
    else text("query", bytes, from, last ? to - 1 : to, last);
  };

  const parse = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    if (!first && !more) return; // the numbers of types, behind the text
    const named = first ? zeroAt(bytes, from) : from - 1;
    if (first && named >= to) throw malformed("Parse");
    const found = bytes.indexOf(0, named + 1);
    more = found < 0 || found >= to;
    if (more && last) throw malformed("Parse");
    const end = more ? to : found;
    if (first && last && (end + 3 > to || to - end - 3 !== 4 * bytes.readUInt16BE(end + 1))) throw malformed("Parse");
    whole.parse.hasName = first;
    whole.parse.nameFrom = from;
    whole.parse.nameTo = named;
    if (first && last) wholeText("parse", bytes, named + 1, end);
    else text("parse", bytes, named + 1, end, !more);
  };

  const bind = (bytes: Buffer, from: number, to: number, first: boolean, last: boolean): void => {
    if (first) check.reset();
    check.step(bytes, from, to);
    if (!check.named() || (last && !check.done())) throw malformed("Bind");
    if (first && last) {
      put(at, bytes, from, to);
      wholeBind.size = at.size;
      record(wholeBind);
      return;
    }
    const say = tell ?? bindTeller();
    piece(to - from, last, () => say(bytes.subarray(from, to)));
  };

  return (type, bytes, from, to, first, last) => {
    if (first) {
      part = 0;
      more = true;
      words = last ? undefined : sql();
      tell = last ? undefined : bindTeller();
    }
    if (type === 0x51) query(bytes, from, to, first, last);
    else if (type === 0x50) parse(bytes, from, to, first, last);
    else if (type === 0x42) bind(bytes, from, to, first, last);
    else if (type === 0x45) {
      if (zeroAt(bytes, from) !== to - 5) throw malformed("Execute");
      put(at, bytes, from, to);
      execute.size = at.size;
      record(execute);
    } else {
      if (to - from < 4) throw malformed("FunctionCall");
      const oid = bytes.readUInt32BE(from);
      record({ size: overhead, say: (line) => line.members({ type: "function", oid }) });
    }
  };
};

/** Where a tag's last word begins, when that is a number of rows; else its end. */
const rowsAt = (bytes: Buffer, from: number, to: number): number => {
  let at = to;
  for (; at > from; at--) {
    const digit = (bytes[at - 1] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) break;
  }
  return at > from && at < to && bytes[at - 1] === 0x20 && to - at <= 9 ? at : to;
};
const numberAt = (bytes: Buffer, from: number, to: number): number => {
  let number = 0;
  for (let at = from; at < to; at++) number = 10 * number + (bytes[at] ?? 0x30) - 0x30;
  return number;
};

/** A command's tag, and how many rows it speaks of. */
const completeStatement = () => {
  const at = place();
  const statement = {
    ...{ at, size: 0, copied: 0 },
    say: (line: Line): void => {
      const { bytes, from, to } = at;
      line.fixed(opening.complete);
      if (!line.text(openings.tag, bytes, from, to)) line.members({ tag: bytes.toString("utf8", from, to) });
      const rows = rowsAt(bytes, from, to);
      if (rows < to) line.number(openings.rows, numberAt(bytes, rows, to));
      if (statement.copied > 0) line.number(copiedOpening, statement.copied);
    },
  };
  return statement;
};

/** What a server answers: command tags and errors, with how much was copied since the last one. */
export const observeServer = (record: Record, copied: () => number): Observe => {
  const complete = completeStatement();
  return (type, bytes, from, to, _first, last) => {
    const count = copied();
    if (type === 0x43) {
      if (!last || zeroAt(bytes, from) !== to - 1) throw malformed("CommandComplete");
      put(complete.at, bytes, from, to - 1);
      complete.size = complete.at.size;
      complete.copied = count;
      record(complete);
    } else {
      const said = (): Members => {
        const { sqlState, message } = errorFields(bytes.subarray(from, to));
        return { type: "error", sqlState, message, ...(count > 0 ? { copied: count } : {}) };
      };
      record({ size: overhead + to - from, say: (line) => line.members(said()) });
    }
  };
};

/** A copy that a session's end cut off. */
export const copyLeft = (count: number): Statement => ({
  size: overhead,
  say: (line) => line.members({ type: "copy", copied: count }),
});
