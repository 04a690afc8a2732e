// A checked BSON document as extended JSON, written straight from its bytes into an audit line: no object is made of it and no
// string of what is plain. Printable ASCII only, whatever somebody said.
// https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md (relaxed)
import { json } from "@sallyport/core/line";
import { Decimal128 } from "bson";
import { type Out, sayText } from "../json.ts";
import { checkedEnd, types, zeroAt } from "./document.ts";

const nothing = json("");
const marks = {
  ...{
    open: json("{"),
    close: json("}"),
    openArray: json("["),
    closeArray: json("]"),
    comma: json(","),
    colon: json(":"),
  },
  ...{ true: json("true"), false: json("false"), null: json("null"), redacted: json('"[redacted]"') },
};

const put = (out: Out, value: unknown): void => out.fixed(json(JSON.stringify(value)));
// room for what is short and plain, so that no bytes and no views are made for it
const scratch = Buffer.alloc(64);
const scratches = Array.from({ length: 65 }, (_, length) => scratch.subarray(0, length));
const plain = (out: Out, text: string): void => {
  const { length } = text;
  for (let at = 0; at < length; at++) scratch[at] = text.charCodeAt(at);
  out.fixed(scratches[length] ?? json(text));
};
const minus = json("-");
const whole = (out: Out, value: number): void => {
  if (value >= 0) out.number(nothing, value);
  else if (value >= -0x7fff_ffff) out.number(minus, -value);
  else plain(out, String(value));
};
const double = (out: Out, value: number): void => {
  if ((value | 0) === value && !Object.is(value, -0)) whole(out, value);
  else if (Number.isFinite(value)) plain(out, Object.is(value, -0) ? "-0.0" : String(value));
  else put(out, { $numberDouble: Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity" });
};
/** A long where a number holds it; else NaN. */
const longAt = (bytes: Buffer, at: number): number => {
  const value = bytes.readInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at);
  return Number.isSafeInteger(value) ? value : Number.NaN;
};
const long = (out: Out, bytes: Buffer, at: number): void => {
  const value = longAt(bytes, at);
  if ((value | 0) === value) whole(out, value);
  else if (Number.isNaN(value)) put(out, { $numberLong: String(bytes.readBigInt64LE(at)) });
  else plain(out, String(value));
};
const digits = Buffer.from("0123456789abcdef");
const dayMs = 86_400_000;
/** The years that a date is written out in. */
const lastDay = 253_402_300_799_999;
const dated = Buffer.from('{"$date":"1970-01-01T00:00:00.000Z"}');
let datedDay = 0; // the one in `dated`: many are of one day
const twoDigits = (bytes: Buffer, at: number, value: number): void => {
  const tens = (value / 10) | 0;
  bytes[at] = 0x30 + tens;
  bytes[at + 1] = 0x30 + value - 10 * tens;
};
const date = (out: Out, bytes: Buffer, at: number): void => {
  const value = longAt(bytes, at);
  // NaN too
  if (!(value >= 0 && value <= lastDay)) {
    put(out, { $date: { $numberLong: String(bytes.readBigInt64LE(at)) } });
    return;
  }
  const day = Math.floor(value / dayMs);
  if (day !== datedDay) {
    dated.write(new Date(value).toISOString(), 10, "latin1");
    datedDay = day;
  }
  const ms = value - day * dayMs;
  const seconds = (ms / 1_000) | 0;
  const minutes = (seconds / 60) | 0;
  const hours = (minutes / 60) | 0;
  const rest = ms - 1_000 * seconds;
  const hundreds = (rest / 100) | 0;
  twoDigits(dated, 21, hours);
  twoDigits(dated, 24, minutes - 60 * hours);
  twoDigits(dated, 27, seconds - 60 * minutes);
  dated[30] = 0x30 + hundreds;
  twoDigits(dated, 31, rest - 100 * hundreds);
  out.fixed(dated);
};
const identified = Buffer.from('{"$oid":"000000000000000000000000"}');
const objectId = (out: Out, bytes: Buffer, at: number): void => {
  for (let place = 0; place < 12; place++) {
    const byte = bytes[at + place] ?? 0;
    identified[9 + 2 * place] = digits[byte >> 4] ?? 0;
    identified[10 + 2 * place] = digits[byte & 15] ?? 0;
  }
  out.fixed(identified);
};

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
  [types.date]: date,
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
  [types.long]: long,
  [types.decimal]: (out, bytes, at, end) =>
    put(out, { $numberDecimal: new Decimal128(bytes.subarray(at, end)).toString() }),
  [types.max]: (out) => put(out, { $maxKey: 1 }),
  [types.min]: (out) => put(out, { $minKey: 1 }),
};

/** What there is most of first: a call that can be foreseen. */
const sayValue = (out: Out, bytes: Buffer, type: number, at: number, end: number): void => {
  if (type === types.string) sayText(out, nothing, bytes, at + 4, end - 1);
  else if (type === types.int) whole(out, bytes.readInt32LE(at));
  else if (type === types.double) double(out, bytes.readDoubleLE(at));
  else if (type === types.objectId) objectId(out, bytes, at);
  else if (type === types.date) date(out, bytes, at);
  else says[type]?.(out, bytes, at, end);
};

const sayArray = (out: Out, bytes: Buffer, from: number): void => {
  const last = from + bytes.readInt32LE(from) - 1;
  out.fixed(marks.openArray);
  for (let at = from + 4; at < last; ) {
    if (at > from + 4) out.fixed(marks.comma);
    const type = bytes[at] ?? 0;
    const value = zeroAt(bytes, at + 1, last) + 1;
    const end = checkedEnd(bytes, type, value);
    sayValue(out, bytes, type, value, end);
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
    else sayValue(out, bytes, type, keyEnd + 1, end);
    at = end;
  }
  out.fixed(marks.close);
};
