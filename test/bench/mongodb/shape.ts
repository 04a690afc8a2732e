// What is carried, as client and target must agree on it: 1,000 documents of a kilobyte to insert, and a cursor of 100 MB.
import type { Document } from "bson";

export const inserted = { documents: 1_000, bytes: 1_000 * 1_024 } as const;
/** A first batch as servers give it, then as much at once as a message may hold, until there are 100 MB. */
export const scanned = { first: 101, next: 12_000, batches: 9 } as const;

/** BSON of 1,024 bytes each. */
export const batchOf = (count: number): readonly Document[] =>
  Array.from({ length: count }, (_, n) => ({ _id: n, text: "x".repeat(1_024 - 26) }));
