import { openTurns } from "@sallyport/proxy/turn";
import { expect, it } from "vitest";

/** Work that ends when it is told to. */
const openWork = () => {
  const begun: number[] = [];
  const ends = new Map<number, () => void>();
  const work = (at: number) => (): Promise<number> => {
    begun.push(at);
    return new Promise((resolve) => ends.set(at, () => resolve(at)));
  };
  return { begun, work, end: (at: number) => ends.get(at)?.() };
};
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it("lets so many work at once, and the others in the order in which they came", async () => {
  const turns = openTurns(2);
  const { begun, work, end } = openWork();
  const all = [1, 2, 3, 4].map((at) => turns.take(undefined, work(at)));
  await settle();
  expect(begun).toEqual([1, 2]);
  end(2);
  await settle();
  expect(begun).toEqual([1, 2, 3]);
  end(1);
  await settle();
  expect(begun).toEqual([1, 2, 3, 4]);
  for (const at of [3, 4]) end(at);
  expect(await Promise.all(all)).toEqual([1, 2, 3, 4]);
});

it("gives a place back when the work fails", async () => {
  const turns = openTurns(1);
  await expect(turns.take(undefined, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await turns.take(undefined, async () => 1)).toBe(1);
});

it("whoever gives up leaves the line, and takes nobody's place", async () => {
  const turns = openTurns(1);
  const { begun, work, end } = openWork();
  const first = turns.take(undefined, work(1));
  const quitter = new AbortController();
  const second = turns.take(quitter.signal, work(2));
  const third = turns.take(undefined, work(3));
  quitter.abort(new Error("gone"));
  await expect(second).rejects.toThrow("gone");
  end(1);
  await first;
  await settle();
  expect(begun).toEqual([1, 3]);
  end(3);
  await third;
  await expect(turns.take(quitter.signal, work(4))).rejects.toThrow("gone");
  expect(begun).toEqual([1, 3]);
});
