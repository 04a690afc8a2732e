// What is kept in the table comes back as it was, or is refused.
import { fromAttributes, toAttributes } from "@sallyport/aws/attribute";
import fc from "fast-check";
import { expect, it } from "vitest";

const exact = fc
  .double({ noNaN: true, noDefaultInfinity: true })
  .filter((n) => !Number.isInteger(n) || Number.isSafeInteger(n));
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    ...[fc.string({ unit: "binary" }), exact.map((n) => (Object.is(n, -0) ? 0 : n)), fc.boolean(), fc.constant(null)],
    fc.array(tie("value")),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "toString")), tie("value")),
  ),
}));

it("anything that JSON can say comes back whole", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.oneof(fc.string(), fc.constant("__proto__")), value), (item) => {
      const back = fromAttributes(JSON.parse(JSON.stringify(toAttributes(item))));
      expect(JSON.stringify(back)).toBe(JSON.stringify(item));
    }),
  );
  expect(toAttributes({ kept: "", gone: undefined })).toEqual({ kept: { S: "" } });
});

it.each([
  ["no number", Number.NaN],
  ["endless", Number.POSITIVE_INFINITY],
  ["a number that is not exact", 2 ** 53],
  ["bytes", Buffer.from("x")],
  ["a big integer", 1n],
  ["a function", () => 1],
])("%s is not kept", (_, what) => {
  expect(() => toAttributes({ what })).toThrow(/can't be kept/);
});

it.each([
  ["a number that is not exact here", { N: "9007199254740993" }],
  ["a set", { SS: ["a"] }],
  ["nothing", {}],
])("%s is not read as something else", (_, what) => {
  expect(() => fromAttributes({ what })).toThrow(/the table holds/);
});
