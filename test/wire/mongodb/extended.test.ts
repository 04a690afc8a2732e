// Documents in audit lines against the plainest wording there is: a string of each value, joined, and escaped at the end.
import { makePen } from "@sallyport/core/line";
import { sayDocument } from "@sallyport/wire/mongodb/extended";
import { Double, Int32, Long, ObjectId, serialize } from "bson";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const said = (bytes: Buffer, offset = 0): string => {
  const pen = makePen();
  const sheet = { bytes: new Uint8Array(new ArrayBuffer(64 + offset), offset), at: 0 };
  pen.take(sheet);
  sayDocument(pen, bytes, 0);
  return Buffer.from(sheet.bytes.subarray(0, sheet.at)).toString("latin1");
};

const quoted = (text: string): string =>
  JSON.stringify(text).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

type Value =
  | string
  | boolean
  | null
  | Date
  | Double
  | Int32
  | Long
  | ObjectId
  | readonly Value[]
  | ReadonlyMap<string, Value>;
const worded = (value: Value): string => {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "boolean" || value === null) return String(value);
  if (value instanceof Int32) return String(value.value);
  if (value instanceof ObjectId) return `{"$oid":"${value.toHexString()}"}`;
  if (value instanceof Double) {
    if (!Number.isFinite(value.value)) return `{"$numberDouble":"${value.value}"}`;
    return Object.is(value.value, -0) ? "-0.0" : String(value.value);
  }
  if (value instanceof Long) {
    const number = value.toBigInt();
    return Number.isSafeInteger(Number(number)) ? String(number) : `{"$numberLong":"${number}"}`;
  }
  if (value instanceof Date) {
    const ms = value.getTime();
    const inYears = ms >= 0 && ms <= Date.parse("9999-12-31T23:59:59.999Z");
    return inYears ? `{"$date":"${value.toISOString()}"}` : `{"$date":{"$numberLong":"${ms}"}}`;
  }
  if (value instanceof Map)
    return `{${[...value].map(([key, one]) => `${quoted(key)}:${worded(one as Value)}`).join(",")}}`;
  return `[${(value as readonly Value[]).map(worded).join(",")}]`;
};

const character = fc.oneof(
  ...[
    { weight: 12, arbitrary: fc.constantFrom(..."abc XYZ 019 ~") },
    { weight: 1, arbitrary: fc.constantFrom(...'"\\\n\r\t\b\f\u0001\u001f\u007f/') },
    { weight: 1, arbitrary: fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }) },
  ],
);
// runs that are copied whole, with something in them here and there or nothing
const run = fc
  .tuple(fc.constantFrom("x", "word ", 'a "name" ', "line\n", "größer ", "😀 "), fc.nat(800))
  .map(([part, times]) => part.repeat(times));
const text = fc.oneof(
  fc.string({ unit: character }),
  fc.array(fc.oneof(run, fc.string({ unit: character })), { maxLength: 4 }).map((parts) => parts.join("")),
);
const edges = ["0", "-1", "2147483648", "-2147483648", "9007199254740991", "9007199254740993", "-9007199254740992"];
const { document } = fc.letrec<{ value: Value; document: ReadonlyMap<string, Value> }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    text,
    fc.boolean(),
    fc.constant(null),
    fc.integer().map((value) => new Int32(value)),
    fc.oneof(fc.double(), fc.integer(), fc.constant(-0)).map((value) => new Double(value)),
    fc
      .oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map(String), fc.constantFrom(...edges), fc.integer().map(String))
      .map((value) => Long.fromString(value)),
    fc.oneof(
      fc.date({ noInvalidDate: true }),
      fc.integer().map((value) => new Date(1_700_000_000_000 + value)),
    ),
    fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => new ObjectId(bytes)),
    fc.array(tie("value"), { maxLength: 6 }),
    tie("document"),
  ),
  document: fc
    .array(
      fc.tuple(
        text.map((key) => key.replaceAll("\0", "").toWellFormed()),
        tie("value"),
      ),
      { maxLength: 8 },
    )
    .map((entries) => new Map(entries)),
}));

describe("a document is worded as its parts are", () => {
  test("whatever is in it", () => {
    fc.assert(
      fc.property(document, fc.nat(5), (one, offset) => {
        // a sheet that is too short is followed by one that begins its memory
        expect(said(Buffer.from(serialize(one)), offset)).toBe(worded(one));
      }),
      { numRuns: 500 },
    );
  });

  test("at every place of what needs care in a long text", () => {
    for (const care of ['"', "\\", "\n", "\u0000", "\u001f", "\u007f", "\u0080", "é", "\u2028", "\uffff", "😀"])
      for (let at = 0; at <= 300; at++) {
        const value = "x".repeat(at) + care + "y".repeat(300 - at);
        expect(said(Buffer.from(serialize({ value })))).toBe(worded(new Map([["value", value]])));
      }
    for (const length of [1_023, 1_024, 1_025, 2_047, 2_048, 2_049, 5_000]) {
      const value = `${"x".repeat(length - 1)}"${"y".repeat(length)}`;
      expect(said(Buffer.from(serialize({ value })))).toBe(worded(new Map([["value", value]])));
    }
  });

  test("where it is not UTF-8, as the platform reads that", () => {
    const bytes = fc.array(
      fc.constantFrom(0x61, 0x22, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f, 0xf5, 0xff),
      {
        maxLength: 12,
      },
    );
    fc.assert(
      fc.property(bytes, (some) => {
        const whole = Buffer.from(serialize({ value: "x".repeat(some.length) }));
        const from = whole.length - some.length - 2;
        whole.set(some, from);
        const value = whole.toString("utf8", from, whole.length - 2);
        expect(said(whole)).toBe(worded(new Map([["value", value]])));
      }),
      { numRuns: 5_000 },
    );
  });
});
