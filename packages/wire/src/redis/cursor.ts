// A SCAN's cursor over several nodes, without anything kept for it: the node's own cursor, which node it is, and by how many and
// which nodes it was counted. When the nodes are not those any more, the scan begins again: it may show a key twice, and misses none.
// https://redis.io/docs/latest/commands/scan/

/** Nodes are counted in 10 bits and known again by 6. */
const placeBits = 10n;
const tagBits = 6n;
const bits = placeBits + tagBits;
const mostPlaces = 1 << Number(placeBits);
const most = 1n << (64n - bits);

/** What tells one list of nodes from another. */
export const tagOf = (ids: readonly string[]): number => {
  let hash = ids.length;
  for (const id of ids) for (let at = 0; at < id.length; at++) hash = (Math.imul(hash, 31) + id.charCodeAt(at)) | 0;
  return (hash >>> 3) & ((1 << Number(tagBits)) - 1);
};

export interface Place {
  /** Which of the nodes. */
  readonly node: number;
  /** Its own cursor. */
  readonly cursor: string;
}

/** @throws RangeError for a cursor, or a number of nodes, that 64 bits can't hold */
export const encodeCursor = ({ node, cursor }: Place, tag: number): string => {
  const own = BigInt(cursor);
  if (own >= most || node >= mostPlaces) throw new RangeError("a cursor too large");
  return String((own << bits) | (BigInt(tag) << placeBits) | BigInt(node));
};

/** Where a scan of `count` nodes goes on; undefined for what is no cursor. */
export const decodeCursor = (text: string, count: number, tag: number): Place | undefined => {
  if (!/^(?:0|[1-9]\d{0,19})$/.test(text)) return undefined;
  const value = BigInt(text);
  if (value >= 1n << 64n) return undefined;
  const node = Number(value & BigInt(mostPlaces - 1));
  const known = Number((value >> placeBits) & ((1n << tagBits) - 1n)) === tag && node < count;
  return value === 0n || !known ? { node: 0, cursor: "0" } : { node, cursor: String(value >> bits) };
};

/** What to go on with behind an answer of `node`; "0" when all of it was shown. */
export const nextCursor = ({ node, cursor }: Place, count: number, tag: number): string => {
  if (cursor !== "0") return encodeCursor({ node, cursor }, tag);
  return node + 1 < count ? encodeCursor({ node: node + 1, cursor: "0" }, tag) : "0";
};
