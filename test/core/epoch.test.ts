// Plans: read, ruled and written as one, however many are made at once.
import { changeAccess, epochOf, planAccess } from "@sallyport/core/epoch";
import { keys, toItem } from "@sallyport/core/family";
import { expect, it } from "vitest";
import { openFakeStore } from "../fakes/store.ts";

const add = (name: string) => ({ put: toItem(keys.lock(name), { name }), if: { absent: true } as const });

it("carries out every one of a dozen plans made at once, each on what the others left", async () => {
  const store = openFakeStore();
  const seen = await Promise.all(
    Array.from({ length: 12 }, (_, at) =>
      planAccess(store, async () => {
        const { items } = await store.list("access#lock");
        return { changes: [add(`lock-${at}`)], answer: items.length };
      }),
    ),
  );
  expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, at) => at));
  expect(epochOf(await store.get(keys.epoch()))).toBe(12);
});

it("is not made again for what moves the epoch without a plan", async () => {
  const store = openFakeStore();
  let made = 0;
  await planAccess(store, async () => {
    made += 1;
    await changeAccess(store, add("meanwhile"));
    return { changes: [add("planned")], answer: undefined };
  });
  expect(made).toBe(1);
  expect(epochOf(await store.get(keys.epoch()))).toBe(2);
});

it("gives up with a hint when others are always faster", async () => {
  const store = openFakeStore();
  let at = 0;
  const rival = () => planAccess(store, async () => ({ changes: [add(`rival-${at++}`)], answer: undefined }));
  await expect(
    planAccess(store, async () => {
      await rival();
      return { changes: [add("late")], answer: undefined };
    }),
  ).rejects.toMatchObject({ code: "conflict", hint: "try again in a moment" });
});
