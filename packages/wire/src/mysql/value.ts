// A parameter's bytes as an audit line shows them: numbers as numbers where JSON holds them exactly, dates and times as MySQL
// writes them, text as text, everything else as base64.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
import { isUtf8 } from "node:buffer";

const unsignedBit = 0x80;
const two = (number: number): string => String(number).padStart(2, "0");

const integer = (bytes: Buffer, unsigned: boolean): number | string => {
  if (bytes.length < 8) return unsigned ? bytes.readUIntLE(0, bytes.length) : bytes.readIntLE(0, bytes.length);
  const number = unsigned ? bytes.readBigUInt64LE() : bytes.readBigInt64LE();
  return Number.isSafeInteger(Number(number)) ? Number(number) : number.toString();
};
const real = (number: number): number | string => (Number.isFinite(number) ? number : String(number));
const fraction = (bytes: Buffer, at: number): string =>
  bytes.length >= at + 4 ? `.${String(bytes.readUInt32LE(at)).padStart(6, "0")}` : "";

/** A byte each for month, day, hour, minute, second, and what has no place left out. */
const moment = (bytes: Buffer): string => {
  if (bytes.length < 4) return "0000-00-00";
  const date = `${String(bytes.readUInt16LE()).padStart(4, "0")}-${two(bytes[2] ?? 0)}-${two(bytes[3] ?? 0)}`;
  if (bytes.length < 7) return date;
  return `${date} ${two(bytes[4] ?? 0)}:${two(bytes[5] ?? 0)}:${two(bytes[6] ?? 0)}${fraction(bytes, 7)}`;
};
const duration = (bytes: Buffer): string => {
  if (bytes.length < 8) return "00:00:00";
  const hours = 24 * bytes.readUInt32LE(1) + (bytes[5] ?? 0);
  return `${bytes[0] === 1 ? "-" : ""}${two(hours)}:${two(bytes[6] ?? 0)}:${two(bytes[7] ?? 0)}${fraction(bytes, 8)}`;
};

export const textOrBase64 = (bytes: Buffer): string | { readonly base64: string } =>
  isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString("base64") };

/** Is it shown as text, so that a long one may be shown in parts? */
export const isText = (type: number): boolean => type === 0 || type === 15 || type === 16 || type >= 242;

/** A whole value; `flags` is the second byte of its type. */
export const shownValue = (type: number, flags: number, bytes: Buffer): unknown => {
  if (type === 4) return real(bytes.readFloatLE());
  if (type === 5) return real(bytes.readDoubleLE());
  if (type === 11 || type === 19) return duration(bytes);
  if (type === 7 || type === 10 || type === 12 || type === 14 || type === 17 || type === 18) return moment(bytes);
  if (isText(type) && type !== 244) return textOrBase64(bytes);
  return integer(bytes, (flags & unsignedBit) !== 0);
};
