import { expect, it } from "vitest";
import { codeOf, describeStore } from "../contract/store.ts";
import { openFakeStore } from "./store.ts";

describeStore("the fake", openFakeStore);

it("is unavailable while it is broken, and keeps what it had", async () => {
  const store = openFakeStore();
  const key = { pk: "a#", sk: "b" };
  await store.write({ put: { ...key, v: 1 } });
  store.fault.break();
  const calls = [store.get(key), store.getMany([key]), store.list("a#"), store.write({ remove: key })];
  for (const call of [...calls, store.transact([{ remove: key }])]) expect(await codeOf(call)).toBe("unavailable");
  store.fault.mend();
  expect(await store.get(key)).toEqual({ ...key, v: 1 });
});

it("waits as long as it is held", async () => {
  const store = openFakeStore();
  const held = Promise.withResolvers<void>();
  store.fault.hold(held.promise);
  let answered = false;
  const asked = store.get({ pk: "a#", sk: "b" }).then(() => (answered = true));
  await Promise.resolve();
  expect(answered).toBe(false);
  held.resolve();
  expect(await asked).toBe(true);
});

it("nothing given or taken can be changed behind its back", async () => {
  const store = openFakeStore();
  const put = { pk: "a#", sk: "b", v: 1, list: [1] };
  await store.write({ put });
  put.list.push(2);
  const found = await store.get(put);
  (found?.["list"] as number[]).push(3);
  expect((await store.get(put))?.["list"]).toEqual([1]);
});
