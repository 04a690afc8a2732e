// An answer as a value, for those that are the proxy's own: to HELLO, and to an administrative command. The bytes are one whole
// answer, checked by reply.ts, and short.
import type { Rows } from "../protocol.ts";
import { types } from "./reply.ts";

export interface ErrorValue {
  readonly error: string;
}
export type Value = string | number | null | ErrorValue | readonly Value[];

export const isError = (value: Value | undefined): value is ErrorValue =>
  typeof value === "object" && value !== null && "error" in value;
const isList = (value: Value): value is readonly Value[] => Array.isArray(value);

/** A map is a list of its keys and values, as RESP2 has it; what is aside is left out. */
export const parseValue = (bytes: Buffer): Value => {
  let at = 0;
  const line = (): string => {
    const end = bytes.indexOf("\r\n", at);
    const text = bytes.toString("utf8", at, end);
    at = end + 2;
    return text;
  };
  const bulk = (length: number): string => {
    const text = bytes.toString("utf8", at, at + length);
    at += length + 2;
    return text;
  };
  const list = (count: number): readonly Value[] => Array.from({ length: count }, () => value());
  const value = (): Value => {
    const type = bytes[at++];
    const said = line();
    const count = Number(said);
    if (type === types.number) return count;
    if (type === types.error) return { error: said };
    if (type === types.blob) return { error: bulk(count) };
    if (type === types.bulk || type === types.verbatim) return count < 0 ? null : bulk(count);
    if (type === types.attribute) {
      list(2 * count);
      return value();
    }
    if (type === types.map) return list(2 * count);
    if (type === types.array || type === types.set || type === types.push) return count < 0 ? null : list(count);
    return type === types.nothing ? null : said;
  };
  return value();
};

/** What stands behind `key` in a map. */
export const entryOf = (map: Value, key: string): Value | undefined => {
  if (!isList(map)) return undefined;
  for (let at = 0; at + 1 < map.length; at += 2) if (map[at] === key) return map[at + 1];
  return undefined;
};

const textOf = (value: Value): string | null =>
  value === null || typeof value === "string"
    ? value
    : typeof value === "number"
      ? String(value)
      : JSON.stringify(value);
/** One row an element, and its elements the row's values. */
export const rowsOf = (value: Value): Rows =>
  isList(value) ? value.map((one) => (isList(one) ? one.map(textOf) : [textOf(one)])) : [[textOf(value)]];
