import { openLimiter } from "@sallyport/aws/limiter";
import { expect, it } from "vitest";
import { codeOf } from "../contract/store.ts";

const open = (more: { rate?: number; burst?: number } = {}) => {
  let now = 1_000_000;
  const waits: number[] = [];
  const wait = async (ms: number) => void waits.push(ms);
  return {
    turn: openLimiter({ clock: { now: () => now }, wait, ...more }),
    waits,
    pass(ms: number) {
      now += ms;
    },
  };
};

it("a pool of fifty logs in at once", async () => {
  const { turn, waits } = open();
  for (let count = 0; count < 50; count++) await turn("orders");
  expect(waits).toEqual([]);
});

it("then each waits its turn, five milliseconds apart", async () => {
  const { turn, waits } = open();
  for (let count = 0; count < 54; count++) await turn("orders");
  expect(waits).toEqual([5, 10, 15, 20]);
});

it("what would wait longer than two seconds is told so, and does not make the queue longer", async () => {
  const { turn, waits, pass } = open();
  for (let count = 0; count < 450; count++) await turn("orders");
  expect(waits.at(-1)).toBe(2000);
  for (let count = 0; count < 100; count++) expect(await codeOf(turn("orders"))).toBe("too_many");
  pass(5);
  await turn("orders");
  expect(waits.at(-1)).toBe(2000);
});

it("databases do not wait for each other, and time heals", async () => {
  const { turn, waits, pass } = open();
  for (let count = 0; count < 450; count++) await turn("orders");
  const before = waits.length;
  await turn("billing");
  pass(10_000);
  for (let count = 0; count < 50; count++) await turn("orders");
  expect(waits.length).toBe(before);
});

it("S-50 a clock set back locks nobody out", async () => {
  const { turn, waits, pass } = open();
  for (let count = 0; count < 450; count++) await turn("orders");
  const before = waits.length;
  pass(-300_000);
  await turn("orders");
  expect(waits.length).toBe(before);
});
