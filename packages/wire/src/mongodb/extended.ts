// A checked BSON document as extended JSON, written straight from its bytes into an audit line: no object is made of it and no
// string of what is plain. Printable ASCII only, whatever somebody said.
// https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md (relaxed)
import { json, type Line } from "@sallyport/core/line";
import { Decimal128 } from "bson";
import { checkedEnd, types, zeroAt } from "./document.ts";

/** Where it is written. */
export type Out = Pick<Line, "fixed" | "text" | "number">;

const nothing = json("");
const marks = {
  ...{
    open: json("{"),
    close: json("}"),
    openArray: json("["),
    closeArray: json("]"),
    comma: json(","),
    colon: json(":"),
    quote: json('"'),
  },
  ...{ true: json("true"), false: json("false"), null: json("null"), redacted: json('"[redacted]"') },
};

/** Any text as a JSON string of ASCII. */
export const jsonText = (text: string): Uint8Array => {
  const said = JSON.stringify(text.toWellFormed());
  const bytes = new Uint8Array(6 * said.length);
  let at = 0;
  for (let next = 0; next < said.length; next++) {
    const code = said.charCodeAt(next);
    if (code < 0x7f) {
      bytes[at++] = code;
      continue;
    }
    bytes[at++] = 0x5c;
    bytes[at++] = 0x75;
    for (let shift = 12; shift >= 0; shift -= 4) bytes[at++] = digits[(code >> shift) & 15] ?? 0;
  }
  return bytes.slice(0, at);
};

/** So much of a text that is not plain is worded at once: it takes several times the room. */
const textPiece = 16_384;
/** Where a piece ends that begins at `from`: no character is cut. */
const pieceEnd = (bytes: Buffer, from: number, to: number): number => {
  let end = Math.min(to, from + textPiece);
  for (let back = 3; back > 0 && end < to && ((bytes[end] ?? 0) & 0xc0) === 0x80; back--) end--;
  return end;
};

/** `before` and then the text of these bytes as a JSON string. */
export const sayText = (out: Out, before: Uint8Array, bytes: Buffer, from: number, to: number): void => {
  if (out.text(before, bytes, from, to)) return;
  out.fixed(before);
  out.fixed(marks.quote);
  for (let at = from; at < to; ) {
    const end = pieceEnd(bytes, at, to);
    out.fixed(jsonText(bytes.toString("utf8", at, end)).subarray(1, -1));
    at = end;
  }
  out.fixed(marks.quote);
};

const put = (out: Out, value: unknown): void => out.fixed(json(JSON.stringify(value)));
// room for what is short and plain, so that no bytes are made for it
const scratch = Buffer.alloc(64);
const plain = (out: Out, text: string): void => out.fixed(scratch.subarray(0, scratch.write(text, "latin1")));
const whole = (out: Out, value: number): void => {
  if (value >= 0) out.number(nothing, value);
  else plain(out, String(value));
};
const double = (out: Out, value: number): void => {
  if (Number.isFinite(value)) plain(out, Object.is(value, -0) ? "-0.0" : String(value));
  else put(out, { $numberDouble: Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity" });
};
const long = (out: Out, value: bigint): void => {
  const number = Number(value);
  if (Number.isSafeInteger(number)) plain(out, String(number));
  else put(out, { $numberLong: String(value) });
};
/** The years that a date is written out in. */
const lastDay = 253_402_300_799_999;
const dateOpening = json('{"$date":');
const date = (out: Out, value: bigint): void => {
  const number = Number(value);
  if (number < 0 || number > lastDay) {
    put(out, { $date: { $numberLong: String(value) } });
    return;
  }
  const length = scratch.write(new Date(number).toISOString(), "latin1");
  out.text(dateOpening, scratch, 0, length);
  out.fixed(marks.close);
};
const idOpening = json('{"$oid":');
const objectId = (out: Out, bytes: Buffer, at: number): void => {
  for (let place = 0; place < 12; place++) {
    const byte = bytes[at + place] ?? 0;
    scratch[2 * place] = digits[byte >> 4] ?? 0;
    scratch[2 * place + 1] = digits[byte & 15] ?? 0;
  }
  out.text(idOpening, scratch, 0, 24);
  out.fixed(marks.close);
};
const digits = Buffer.from("0123456789abcdef");

/** A string's value, under a name that says what it is. */
const named = (out: Out, name: string, bytes: Buffer, at: number, end: number): void => {
  sayText(out, json(`{${JSON.stringify(name)}:`), bytes, at + 4, end - 1);
  out.fixed(marks.close);
};

const binary = (out: Out, bytes: Buffer, at: number, end: number): void => {
  const subType = (bytes[at + 4] ?? 0).toString(16).padStart(2, "0");
  put(out, { $binary: { base64: bytes.toString("base64", at + 5, end), subType } });
};
const regex = (out: Out, bytes: Buffer, at: number, end: number): void => {
  const middle = zeroAt(bytes, at, end);
  sayText(out, json('{"$regularExpression":{"pattern":'), bytes, at, middle);
  sayText(out, json(',"options":'), bytes, middle + 1, end - 1);
  out.fixed(json("}}"));
};
const scoped = (out: Out, bytes: Buffer, at: number): void => {
  const scope = at + 8 + bytes.readInt32LE(at + 4);
  sayText(out, json('{"$code":'), bytes, at + 8, scope - 1);
  out.fixed(json(',"$scope":'));
  sayDocument(out, bytes, scope);
  out.fixed(marks.close);
};

type Say = (out: Out, bytes: Buffer, at: number, end: number) => void;
const says: Readonly<Record<number, Say>> = {
  [types.double]: (out, bytes, at) => double(out, bytes.readDoubleLE(at)),
  [types.string]: (out, bytes, at, end) => sayText(out, nothing, bytes, at + 4, end - 1),
  [types.document]: (out, bytes, at) => sayDocument(out, bytes, at),
  [types.array]: (out, bytes, at) => sayArray(out, bytes, at),
  [types.binary]: binary,
  [types.undefined]: (out) => put(out, { $undefined: true }),
  [types.objectId]: objectId,
  [types.boolean]: (out, bytes, at) => out.fixed(bytes[at] === 1 ? marks.true : marks.false),
  [types.date]: (out, bytes, at) => date(out, bytes.readBigInt64LE(at)),
  [types.null]: (out) => out.fixed(marks.null),
  [types.regex]: regex,
  [types.pointer]: (out, bytes, at, end) => {
    const to = end - 12;
    put(out, {
      $dbPointer: { $ref: bytes.toString("utf8", at + 4, to - 1), $id: { $oid: bytes.toString("hex", to, end) } },
    });
  },
  [types.code]: (out, bytes, at, end) => named(out, "$code", bytes, at, end),
  [types.symbol]: (out, bytes, at, end) => named(out, "$symbol", bytes, at, end),
  [types.scoped]: scoped,
  [types.int]: (out, bytes, at) => whole(out, bytes.readInt32LE(at)),
  [types.timestamp]: (out, bytes, at) =>
    put(out, { $timestamp: { t: bytes.readUInt32LE(at + 4), i: bytes.readUInt32LE(at) } }),
  [types.long]: (out, bytes, at) => long(out, bytes.readBigInt64LE(at)),
  [types.decimal]: (out, bytes, at, end) =>
    put(out, { $numberDecimal: new Decimal128(bytes.subarray(at, end)).toString() }),
  [types.max]: (out) => put(out, { $maxKey: 1 }),
  [types.min]: (out) => put(out, { $minKey: 1 }),
};

const sayArray = (out: Out, bytes: Buffer, from: number): void => {
  const last = from + bytes.readInt32LE(from) - 1;
  out.fixed(marks.openArray);
  for (let at = from + 4; at < last; ) {
    if (at > from + 4) out.fixed(marks.comma);
    const type = bytes[at] ?? 0;
    const value = zeroAt(bytes, at + 1, last) + 1;
    const end = checkedEnd(bytes, type, value);
    says[type]?.(out, bytes, value, end);
    at = end;
  }
  out.fixed(marks.closeArray);
};

/** A checked document that begins at `from`; of the keys in `secrets`, at its top, only that they are there. */
export const sayDocument = (out: Out, bytes: Buffer, from: number, secrets?: ReadonlySet<string>): void => {
  const last = from + bytes.readInt32LE(from) - 1;
  out.fixed(marks.open);
  for (let at = from + 4; at < last; ) {
    const type = bytes[at] ?? 0;
    const keyEnd = zeroAt(bytes, at + 1, last);
    const end = checkedEnd(bytes, type, keyEnd + 1);
    sayText(out, at > from + 4 ? marks.comma : nothing, bytes, at + 1, keyEnd);
    out.fixed(marks.colon);
    if (secrets?.has(bytes.toString("utf8", at + 1, keyEnd))) out.fixed(marks.redacted);
    else says[type]?.(out, bytes, keyEnd + 1, end);
    at = end;
  }
  out.fixed(marks.close);
};
