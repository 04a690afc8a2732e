import { expect, it } from "vitest";
import { codeOf, describeStore } from "../contract/store.ts";
import { openFakeStore } from "./store.ts";

describeStore("the fake", openFakeStore);

it("is unavailable while it is broken, and keeps what it had", async () => {
  const store = openFakeStore();
  const key = { pk: "a#", sk: "b" };
  await store.write({ put: { ...key, v: 1 } });
  store.fault.break();
  expect(await codeOf(store.get(key))).toBe("unavailable");
  expect(await codeOf(store.getMany([key]))).toBe("unavailable");
  expect(await codeOf(store.list("a#"))).toBe("unavailable");
  expect(await codeOf(store.write({ remove: key }))).toBe("unavailable");
  expect(await codeOf(store.transact([{ remove: key }]))).toBe("unavailable");
  store.fault.mend();
  expect(await store.get(key)).toEqual({ ...key, v: 1 });
});

it("waits as long as it is held", async () => {
  const store = openFakeStore();
  const held = Promise.withResolvers<void>();
  store.fault.hold(held.promise);
  let answered = false;
  const asked = store.get({ pk: "a#", sk: "b" }).then(() => {
    answered = true;
  });
  await Promise.resolve();
  expect(answered).toBe(false);
  held.resolve();
  await asked;
  expect(answered).toBe(true);
});

it("nothing given or taken can be changed behind its back", async () => {
  const store = openFakeStore();
  const put = { pk: "a#", sk: "b", v: 1, list: [1] };
  await store.write({ put });
  put.list.push(2);
  const found = (await store.get(put)) as unknown as typeof put;
  found.list.push(3);
  expect((await store.get(put))?.["list"]).toEqual([1]);
});
