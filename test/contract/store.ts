// What every Store must do. Called with a factory by the tests of each adapter; each test works in partitions of its own,
// so one table serves them all.
import { randomUUID } from "node:crypto";
import { Failure } from "@sallyport/core/failure";
import { itemVersion, walk } from "@sallyport/core/family";
import type { Condition, Item, Key, Store } from "@sallyport/core/ports";
import { describe, expect, it } from "vitest";

/** The code of the Failure it is rejected with. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "nothing was thrown",
    (thrown: unknown) => (thrown instanceof Failure ? thrown.code : String(thrown)),
  );

export const describeStore = (name: string, open: () => Store): void => {
  const partition = (): string => `test#${randomUUID()}`;
  const item = (pk: string, sk: string, more: object = {}): Item => ({ pk, sk, v: itemVersion, ...more });

  describe(`${name} as a Store`, () => {
    it("reads what was put, whole and exact", async () => {
      const store = open();
      const pk = partition();
      const value = item(pk, "a", {
        text: "ü\u0000'\"",
        empty: "",
        number: 1.5,
        big: 9007199254740991,
        no: false,
        nothing: null,
        list: [1, ["x"], { deep: [] }],
        map: { "a.b": { c: 1 }, "#n0": ":v0" },
      });
      expect(await store.write({ put: value })).toEqual(value);
      expect(await store.get({ pk, sk: "a" })).toEqual(value);
      expect(await store.get({ pk, sk: "A" })).toBeUndefined();
    });

    it("drops undefined members, at any depth", async () => {
      const store = open();
      const pk = partition();
      await store.write({ put: item(pk, "a", { gone: undefined, map: { gone: undefined, kept: 1 } }) });
      await store.write({ update: { pk, sk: "a" }, set: { x: undefined, y: 2 } });
      expect(await store.get({ pk, sk: "a" })).toEqual(item(pk, "a", { map: { kept: 1 }, y: 2 }));
    });

    it("answers many keys in their order, with repeats and gaps", async () => {
      const store = open();
      const pk = partition();
      const all = await Promise.all(
        Array.from({ length: 40 }, (_, at) => store.write({ put: item(pk, String(at), { at }) })),
      );
      const wanted: Key[] = Array.from({ length: 99 }, (_, at) => ({ pk, sk: String(98 - at) }));
      const found = await store.getMany([...wanted, { pk, sk: "0" }]);
      expect(found.map((one) => one?.["at"])).toEqual([
        ...wanted.map(({ sk }) => (Number(sk) < 40 ? Number(sk) : undefined)),
        0,
      ]);
      expect(all).toHaveLength(40);
      expect(await store.getMany([])).toEqual([]);
      expect(await codeOf(store.getMany([...wanted, ...wanted]))).toBe("invalid");
    });

    it("answers many large items, of which one answer holds only a part", async () => {
      const store = open();
      const pk = partition();
      const big = "x".repeat(300_000);
      const keys = Array.from({ length: 60 }, (_, at): Key => ({ pk, sk: String(at) }));
      for (const { sk } of keys) await store.write({ put: item(pk, sk, { big }) });
      expect((await store.getMany(keys)).map((found) => found?.sk)).toEqual(keys.map(({ sk }) => sk));
      let count = 0;
      for await (const found of walk(store, pk)) count += found["big"] === big ? 1 : 0;
      expect(count).toBe(60);
    }, 30_000);

    it("lists one partition in byte order, page by page, by prefix", async () => {
      const store = open();
      const pk = partition();
      const sorts = ["a", "a#1", "a#10", "a#2", "b", "é", "z", "\ufb01", "\u{1f600}"];
      for (const sk of [...sorts].reverse()) await store.write({ put: item(pk, sk) });
      await store.write({ put: item(`${pk}x`, "a") });
      const byBytes = [...sorts].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
      const seen: string[] = [];
      let pages = 0;
      let after: string | undefined;
      do {
        const page = await store.list(pk, { limit: 2, ...(after !== undefined && { after }) });
        expect(page.items.length).toBeLessThanOrEqual(2);
        seen.push(...page.items.map(({ sk }) => sk));
        after = page.after;
        pages++;
      } while (after !== undefined && pages < 20);
      expect(seen).toEqual(byBytes);
      expect((await store.list(pk, { prefix: "a#" })).items.map(({ sk }) => sk)).toEqual(["a#1", "a#10", "a#2"]);
      expect((await store.list(pk, { prefix: "" })).items).toHaveLength(sorts.length);
      expect(await store.list(partition())).toEqual({ items: [] });
    });

    it("continues after an item that has gone since", async () => {
      const store = open();
      const pk = partition();
      for (const sk of ["a", "b", "c"]) await store.write({ put: item(pk, sk) });
      const { after } = await store.list(pk, { limit: 2 });
      await store.write({ remove: { pk, sk: "b" } });
      expect((await store.list(pk, { after: after ?? "" })).items.map(({ sk }) => sk)).toEqual(["c"]);
    });

    it("an update makes the item when missing and keeps the version of one that is there", async () => {
      const store = open();
      const pk = partition();
      const made = await store.write({ update: { pk, sk: "new" }, set: { a: "x" }, add: { n: 2 } });
      expect(made).toEqual(item(pk, "new", { a: "x", n: 2 }));
      await store.write({ put: { ...item(pk, "old", { keep: 1, n: 5 }), v: itemVersion - 1 } });
      const updated = await store.write({ update: { pk, sk: "old" }, set: { "od.d #n0": [1] }, add: { n: -7 } });
      expect(updated).toEqual({ pk, sk: "old", v: itemVersion - 1, keep: 1, n: -2, "od.d #n0": [1] });
      expect(await store.write({ update: { pk, sk: "bare" } })).toEqual(item(pk, "bare"));
    });

    it("an update takes a whole item for its key, and changes nothing by it", async () => {
      const store = open();
      const pk = partition();
      await store.write({ put: item(pk, "a", { n: 1 }) });
      const stale = item(pk, "a", { n: 100 });
      expect(await store.write({ update: stale, add: { m: 1 } })).toEqual(item(pk, "a", { n: 1, m: 1 }));
      expect(await store.write({ remove: stale })).toBeUndefined();
      expect(await store.get({ pk, sk: "a" })).toBeUndefined();
    });

    it("removing what is not there is no error", async () => {
      const store = open();
      expect(await store.write({ remove: { pk: partition(), sk: "a" } })).toBeUndefined();
    });

    const conditions: readonly { says: string; if: Condition; there: boolean; missing: boolean }[] = [
      { says: "absent", if: { absent: true }, there: false, missing: true },
      { says: "present", if: { present: true }, there: true, missing: false },
      { says: "equals", if: { equals: { s: "x", n: 3, b: true } }, there: true, missing: false },
      { says: "equals nothing", if: { equals: {} }, there: true, missing: false },
      { says: "equals another string", if: { equals: { s: "y" } }, there: false, missing: false },
      { says: "equals another type", if: { equals: { n: "3" } }, there: false, missing: false },
      { says: "equals what is missing", if: { equals: { other: "" } }, there: false, missing: false },
      { says: "below", if: { below: { n: 4 } }, there: true, missing: true },
      { says: "below itself", if: { below: { n: 3 } }, there: false, missing: true },
      { says: "below 0", if: { below: { other: 0 } }, there: false, missing: false },
      { says: "below 1 of what is missing", if: { below: { other: 1 } }, there: true, missing: true },
      { says: "one of two parts", if: { equals: { s: "x" }, below: { n: 3 } }, there: false, missing: false },
      { says: "both parts", if: { equals: { s: "x" }, below: { n: 4, other: 1 } }, there: true, missing: false },
      { says: "no part", if: {}, there: true, missing: true },
    ];
    it.each(conditions)("a change happens only when $says holds", async ({ if: condition, there, missing }) => {
      const store = open();
      const pk = partition();
      const value = item(pk, "there", { s: "x", n: 3, b: true });
      const outcome = (done: boolean) => (done ? "nothing was thrown" : "conflict");
      for (const [sk, holds] of [
        ["there", there],
        ["missing", missing],
      ] as const) {
        const reset = () => (sk === "there" ? store.write({ put: value }) : store.write({ remove: { pk, sk } }));
        await reset();
        const before = await store.get({ pk, sk });
        for (const change of [
          { put: item(pk, sk, { put: true }), if: condition },
          { update: { pk, sk }, set: { set: true }, if: condition },
          { remove: { pk, sk }, if: condition },
        ]) {
          await reset();
          expect(await codeOf(store.write(change))).toBe(outcome(holds));
          if (!holds) expect(await store.get({ pk, sk })).toEqual(before);
          await reset();
          const beside = { put: item(pk, `${sk}-beside`) };
          await store.write({ remove: beside.put });
          expect(await codeOf(store.transact([beside, change]))).toBe(outcome(holds));
          expect((await store.get(beside.put)) !== undefined).toBe(holds);
        }
      }
    });

    it("a transaction of a hundred changes is done whole or not at all", async () => {
      const store = open();
      const pk = partition();
      const puts = Array.from({ length: 99 }, (_, at) => ({ put: item(pk, String(at)) }));
      const failing = { update: { pk, sk: "x" }, set: { a: 1 }, if: { present: true } } as const;
      expect(await codeOf(store.transact([...puts, failing]))).toBe("conflict");
      expect((await store.list(pk)).items).toEqual([]);
      await store.transact([...puts, { update: { pk, sk: "x" }, add: { n: 1 } }]);
      expect((await store.list(pk)).items).toHaveLength(100);
      expect(await codeOf(store.transact([...puts, failing, { put: item(pk, "y") }]))).toBe("invalid");
    });

    it("a transaction can't change one item twice", async () => {
      const store = open();
      const pk = partition();
      expect(await codeOf(store.transact([{ put: item(pk, "a") }, { remove: { pk, sk: "a" } }]))).toBe("unavailable");
      expect(await store.get({ pk, sk: "a" })).toBeUndefined();
    });

    it("S-04 of many who take the last one at once, exactly one gets it", async () => {
      const store = open();
      const key = { pk: partition(), sk: "spend" };
      const take = () => store.write({ update: key, add: { taken: 1 }, if: { below: { taken: 3 } } });
      const outcomes = await Promise.all(Array.from({ length: 12 }, () => codeOf(take())));
      expect(outcomes.filter((outcome) => outcome === "nothing was thrown")).toHaveLength(3);
      expect(outcomes.filter((outcome) => outcome === "conflict")).toHaveLength(9);
      expect((await store.get(key))?.["taken"]).toBe(3);
    });

    it("transactions that meet on one item all happen", async () => {
      const store = open();
      const pk = partition();
      const count = 12;
      await Promise.all(
        Array.from({ length: count }, (_, at) =>
          store.transact([{ put: item(pk, String(at)) }, { update: { pk, sk: "epoch" }, add: { epoch: 1 } }]),
        ),
      );
      expect((await store.get({ pk, sk: "epoch" }))?.["epoch"]).toBe(count);
      expect((await store.list(pk)).items).toHaveLength(count + 1);
    });
  });
};
