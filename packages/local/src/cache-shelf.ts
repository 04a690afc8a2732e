// Records of one kind in each account and region, whose status changes by the clock and whose other fields when somebody says so.
import { perRegion } from "./api.ts";

export interface Where {
  readonly accountId: string;
  readonly region: string;
}

export interface Shelf<Shape> {
  add(where: Where, id: string, shape: Shape): Shape;
  find(where: Where, id: string): Shape | undefined;
  list(where: Where): readonly Shape[];
  change(where: Where, id: string, fields: Partial<Shape>): void;
  /** A status now, and others later: `["modifying", {available: 120_000}]`, in milliseconds from now. */
  setStatus(where: Where, id: string, status: string, later?: Readonly<Record<string, number>>): void;
  remove(where: Where, id: string): void;
}

interface Kept<Shape> {
  shape: Shape;
  statuses: readonly { readonly at: number; readonly status: string }[];
}

/** Ids are lower case, however they are asked for. */
export const openShelf = <Shape extends { Status?: string | undefined }>(now: () => number): Shelf<Shape> => {
  const keptOf = perRegion(() => new Map<string, Kept<Shape>>());
  const known = (where: Where, id: string): Kept<Shape> => {
    const kept = keptOf(where).get(id.toLowerCase());
    if (!kept) throw new Error(`no ${id} in ${where.accountId}/${where.region}`);
    return kept;
  };
  const shown = ({ shape, statuses }: Kept<Shape>): Shape => {
    const status = statuses.findLast(({ at }) => at <= now())?.status;
    return status === undefined ? shape : { ...shape, Status: status };
  };
  return {
    add(where, id, shape) {
      const kept = keptOf(where);
      if (kept.has(id.toLowerCase())) throw new Error(`${id} exists already`);
      kept.set(id.toLowerCase(), { shape, statuses: [] });
      return shape;
    },
    find(where, id) {
      const kept = keptOf(where).get(id.toLowerCase());
      return kept && shown(kept);
    },
    list: (where) => [...keptOf(where).values()].map(shown),
    change(where, id, fields) {
      const kept = known(where, id);
      kept.shape = { ...kept.shape, ...fields };
    },
    setStatus(where, id, status, later = {}) {
      const next = Object.entries(later).map(([word, afterMs]) => ({ at: now() + afterMs, status: word }));
      known(where, id).statuses = [{ at: now(), status }, ...next.sort((a, b) => a.at - b.at)];
    },
    remove(where, id) {
      known(where, id);
      keptOf(where).delete(id.toLowerCase());
    },
  };
};
