// What a client's whole messages say in a line of the audit. What is plain goes from the relay's bytes into the line's. A statement is
// worded while it is recorded, so one object serves for every message of its kind.
// https://www.postgresql.org/docs/18/protocol-message-formats.html
import { json, type Line } from "@sallyport/core/line";
import { bytesMayHoldSecret } from "./redaction.ts";
import { bindTeller, wholeSql } from "./telling.ts";

/** What a line has beside the bytes it tells of. */
export const overhead = 64;
const empty: Buffer = Buffer.alloc(0);

// openings of members, and members that never change
const opening = {
  ...{ query: json(',"type":"query"'), parse: json(',"type":"parse"'), bind: json(',"type":"bind"') },
  ...{ execute: json(',"type":"execute"'), unnamed: json(',"type":"execute","portal":""') },
  ...{ name: json(',"name":'), text: json(',"text":'), portal: json(',"portal":'), statement: json(',"statement":') },
  ...{ values: json(',"values":['), comma: json(","), end: json("]"), none: json(""), null: json("null") },
};

/** Names are short: a loop is over before a search has begun. */
export const zeroAt = (bytes: Buffer, from: number): number => {
  let at = from;
  while (at < bytes.length && bytes[at] !== 0) at++;
  return at;
};

/** Where the message that is being recorded lies, and what of it is told: one for all that a side says, recorded one after the other. */
export const place = () => ({ bytes: empty, from: 0, to: 0, size: 0 });
type Place = ReturnType<typeof place>;
export const put = (place: Place, bytes: Buffer, from: number, to: number): void => {
  // asking is cheaper than the collector's note of an old object that holds a young one
  if (place.bytes !== bytes) place.bytes = bytes;
  place.from = from;
  place.to = to;
  place.size = overhead + to - from;
};

/** Is the name that ends at `to` the one that begins at `other`, which a zero byte ends? */
export const isSameName = (bytes: Buffer, from: number, to: number, other: number): boolean => {
  for (let at = from; at < to; at++) if (bytes[at] !== bytes[other + at - from]) return false;
  return bytes[other + to - from] === 0;
};

/** A whole Bind whose names and values are plain text. False when it is not: then nothing was written. */
const sayPlainBind = (line: Line, type: Uint8Array, { bytes, from, to }: Place): boolean => {
  const start = line.mark();
  const portal = zeroAt(bytes, from);
  const statement = zeroAt(bytes, portal + 1);
  let at = statement + 1;
  const formats = bytes.readUInt16BE(at);
  at += 2;
  for (const end = at + 2 * formats; at < end; at += 2) if (bytes[at + 1] !== 0) return false;
  line.fixed(type);
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

const saySql = (line: Line, { bytes, from, to }: Place): void => {
  if (!bytesMayHoldSecret(bytes, from, to) && line.text(opening.text, bytes, from, to)) return;
  line.members({ ...wholeSql(bytes.subarray(from, to)) });
};

/** An SQL text in one piece; `name` is a prepared statement's. */
export const textStatement = (type: "query" | "parse", at: Place) => {
  const statement = {
    ...{ hasName: false, nameFrom: 0, nameTo: 0, size: 0 },
    say: (line: Line): void => {
      const { bytes } = at;
      const { hasName, nameFrom, nameTo } = statement;
      line.fixed(opening[type]);
      if (hasName && !line.text(opening.name, bytes, nameFrom, nameTo))
        line.members({ name: bytes.toString("utf8", nameFrom, nameTo) });
      saySql(line, at);
    },
  };
  return statement;
};

export const bindStatement = (at: Place) => {
  const say = (line: Line): void => {
    const { bytes, from, to } = at;
    if (!sayPlainBind(line, opening.bind, at)) line.members(bindTeller()(bytes.subarray(from, to)));
  };
  return { size: 0, say };
};

/** An Execute together with the Bind of its portal, and with the Parse of its statement where there is one. */
export const executedStatement = (bound: Place, parsed: Place) => {
  const statement = {
    ...{ size: 0, hasText: false },
    say: (line: Line): void => {
      const { bytes, from, to } = bound;
      if (!sayPlainBind(line, opening.execute, bound))
        line.members({ ...bindTeller()(bytes.subarray(from, to)), type: "execute" });
      if (statement.hasText) saySql(line, parsed);
    },
  };
  return statement;
};

export const executeStatement = (at: Place) => {
  const say = (line: Line): void => {
    const { bytes, from, to } = at;
    const rows = bytes.readInt32BE(to - 4);
    if (to - from === 5 && rows === 0) line.fixed(opening.unnamed);
    else
      line.members({
        ...{ type: "execute", portal: bytes.toString("utf8", from, to - 5) },
        ...(rows > 0 ? { rows } : {}),
      });
  };
  return { size: 0, say };
};
