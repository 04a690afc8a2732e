// Filters and pages as the RDS family of APIs has them, with its refusals in its words.
import { Refusal } from "./refusal.ts";

export interface Filter {
  readonly Name: string | undefined;
  readonly Values: readonly string[] | undefined;
}

/** What a filter looks at in an item, and the only values AWS accepts for it. */
export interface Filterable<Item> {
  values(item: Item): readonly (string | undefined)[];
  readonly known?: readonly string[];
}

/** Items that match every filter; a filter matches by any of its values. */
export function filtered<Item>(
  items: readonly Item[],
  filters: readonly Filter[] | undefined,
  by: Readonly<Record<string, Filterable<Item>>>,
): readonly Item[] {
  let left = items;
  for (const { Name = "", Values = [] } of filters ?? []) {
    const filter = Object.hasOwn(by, Name) ? by[Name] : undefined;
    if (!filter) throw invalid(`Unrecognized filter name: ${Name}`);
    if (Values.length === 0 || Values.includes(""))
      throw new Refusal("InvalidParameterCombination", `Filter values must not be blank for filter ${Name}`, 400);
    for (const value of Values) {
      if (filter.known && !filter.known.includes(value)) throw invalid(`Unrecognized ${Name} name: ${value}`);
    }
    left = left.filter((item) => filter.values(item).some((value) => value !== undefined && Values.includes(value)));
  }
  return left;
}

/** One page in the order of the keys. The marker names the last key given, so items may come and go between pages. */
export function page<Item>(
  items: readonly Item[],
  key: (item: Item) => string,
  { MaxRecords = 100, Marker }: { MaxRecords?: number | undefined; Marker?: string | undefined },
): { items: Item[]; Marker?: string } {
  if (!(Number.isInteger(MaxRecords) && MaxRecords >= 20 && MaxRecords <= 100)) {
    throw invalid(`Invalid value ${MaxRecords} for MaxRecords. Must be between 20 and 100`);
  }
  const { items: taken, next } = pageAfter(items, key, MaxRecords, Marker);
  return { items: taken, ...(next !== undefined && { Marker: next }) };
}

/** As `page`, for APIs that have other limits and other names for them. */
export function pageAfter<Item>(
  items: readonly Item[],
  key: (item: Item) => string,
  limit: number,
  marker: string | undefined,
  refuse: (message: string) => Refusal = invalid,
): { items: Item[]; next: string | undefined } {
  const after = marker ? parseMarker(marker) : undefined;
  if (marker && after === undefined) throw refuse(`Invalid Marker: ${marker}`);
  const ordered = items
    .map((item) => ({ item, at: key(item) }))
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
    .filter(({ at }) => after === undefined || at > after);
  const taken = ordered.slice(0, limit);
  const last = taken.at(-1);
  return {
    items: taken.map(({ item }) => item),
    next: ordered.length > taken.length && last ? markerOf(last.at) : undefined,
  };
}

const markerOf = (key: string): string => Buffer.from(JSON.stringify({ after: key })).toString("base64");

/** Undefined for a marker that is not ours. */
function parseMarker(marker: string): string | undefined {
  try {
    const { after } = JSON.parse(Buffer.from(marker, "base64").toString("utf8")) as { after?: unknown };
    return typeof after === "string" ? after : undefined;
  } catch {
    return undefined;
  }
}

const invalid = (message: string): Refusal => new Refusal("InvalidParameterValue", message, 400);
