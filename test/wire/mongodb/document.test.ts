import { makePen } from "@sallyport/core/line";
import { crc32c } from "@sallyport/wire/mongodb/checksum";
import { openCursors } from "@sallyport/wire/mongodb/cursor";
import { documentEnd, elements } from "@sallyport/wire/mongodb/document";
import { sayDocument } from "@sallyport/wire/mongodb/extended";
import {
  Binary,
  BSONRegExp,
  BSONSymbol,
  Code,
  DBRef,
  Decimal128,
  type Document,
  Double,
  EJSON,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  serialize,
  Timestamp,
} from "bson";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc } from "./bytes.ts";

const said = (bytes: Buffer): string => {
  const pen = makePen();
  const sheet = { bytes: new Uint8Array(64), at: 0 };
  pen.take(sheet);
  sayDocument(pen, bytes, 0);
  return Buffer.from(sheet.bytes.subarray(0, sheet.at)).toString();
};

const all: Document = {
  double: new Double(1.5),
  whole: new Double(2),
  nan: Number.NaN,
  infinite: Number.NEGATIVE_INFINITY,
  string: 'ü"\\\n\u2028\u0000',
  document: { a: { b: {} } },
  array: [1, [], ["x"]],
  binary: new Binary(Buffer.from([1, 2, 3]), 0x80),
  id: new ObjectId("656565656565656565656565"),
  yes: true,
  no: false,
  date: new Date("2026-11-21T14:00:00.123Z"),
  nothing: null,
  regex: new BSONRegExp("a|b", "im"),
  code: new Code("f()"),
  scoped: new Code("g()", { x: 1 }),
  symbol: new BSONSymbol("s"),
  int: new Int32(-7),
  timestamp: new Timestamp({ t: 1, i: 2 }),
  long: Long.fromString("9007199254740993"),
  small: Long.fromNumber(12),
  decimal: Decimal128.fromString("1.25"),
  max: new MaxKey(),
  min: new MinKey(),
  ref: new DBRef("items", new ObjectId("656565656565656565656565")),
};

test("every type is told as extended JSON has it", () => {
  const text = said(Buffer.from(serialize(all)));
  expect(text).toMatch(/^[\x20-\x7e]*$/);
  const expected = JSON.parse(EJSON.stringify(all, { relaxed: true })) as Document;
  // the one difference: what a number of JSON would lose is not made one
  expected["long"] = { $numberLong: "9007199254740993" };
  expected["date"] = { $date: "2026-11-21T14:00:00.123Z" };
  expect(JSON.parse(text)).toEqual(expected);
});

test("a document is whole, or it is refused: no cut of it passes, and none of its lengths lies", () => {
  const bytes = Buffer.from(serialize(all));
  expect(documentEnd(bytes, 0, bytes.length)).toBe(bytes.length);
  expect(elements(bytes, 0).length).toBe(Object.keys(all).length);
  for (let end = 0; end < bytes.length; end++) expect(() => documentEnd(bytes, 0, end)).toThrow();
  for (const wrong of [0, 1, 4, -1, 0x7fff_ffff, -0x8000_0000, bytes.length - 1, bytes.length + 1]) {
    const copy = Buffer.from(bytes);
    copy.writeInt32LE(wrong, 0);
    expect(() => documentEnd(copy, 0, copy.length)).toThrow();
  }
});

test("a damaged document is refused or can be told: nothing is read past its end", () => {
  const bytes = Buffer.from(serialize(all));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
      const copy = Buffer.from(bytes);
      copy[at] = byte;
      let end = -1;
      try {
        end = documentEnd(copy, 0, copy.length);
      } catch (thrown) {
        expect(thrown).toMatchObject({ name: "Failure" });
        return;
      }
      expect(end).toBeLessThanOrEqual(copy.length);
      JSON.parse(said(copy.subarray(0, end)));
    }),
    { numRuns: 5_000 },
  );
});

test("CRC-32C is what it should be, in pieces too", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe306_9283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a91_36aa);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, at) => {
      const cut = Math.min(at, bytes.length);
      expect(crc32c(bytes, crc32c(bytes, 0, 0, cut), cut)).toBe(crc(bytes));
    }),
  );
});

describe("cursors", () => {
  test("belong to everybody who is the same on the same database, and to nobody else", () => {
    const ownedBy = openCursors();
    const [ada, again, grace, elsewhere] = [
      ownedBy("a", "ada"),
      ownedBy("a", "ada"),
      ownedBy("a", "grace"),
      ownedBy("b", "grace"),
    ];
    ada.opened(7n);
    expect([ada, again, grace, elsewhere].map((one) => one.mayUse(7n))).toEqual([true, true, false, true]);
    again.closed(7n);
    expect(grace.mayUse(7n)).toBe(true);
  });

  test("are forgotten with their owner's last session", () => {
    const ownedBy = openCursors();
    const [ada, again, grace] = [ownedBy("a", "ada"), ownedBy("a", "ada"), ownedBy("a", "grace")];
    ada.opened(7n);
    ada.leave();
    ada.leave();
    expect(grace.mayUse(7n)).toBe(false);
    again.leave();
    expect(grace.mayUse(7n)).toBe(true);
  });

  test("are kept up to a number, the newest", () => {
    const ownedBy = openCursors();
    const [ada, grace] = [ownedBy("a", "ada"), ownedBy("a", "grace")];
    for (let id = 1n; id <= 10_001n; id++) ada.opened(id);
    expect([grace.mayUse(1n), grace.mayUse(2n), grace.mayUse(10_001n)]).toEqual([true, false, false]);
  });
});

test("S-23 a long text that is not plain is told piece by piece, and no character is cut", () => {
  const text = `x${"é€😀\n".repeat(20_000)}`;
  const said: Uint8Array[] = [];
  const out = {
    fixed: (bytes: Uint8Array) => void said.push(Uint8Array.from(bytes)),
    text: () => false,
    number: () => {},
  };
  sayDocument(out, Buffer.from(serialize({ text })), 0);
  expect(JSON.parse(Buffer.concat(said).toString("ascii"))).toEqual({ text });
  expect(Math.max(...said.map(({ length }) => length))).toBeLessThan(100_000);
  said.length = 0;
  const broken = Buffer.from(serialize({ text: "x".repeat(100_000) }));
  broken.fill(0x80, 15, 90_000);
  sayDocument(out, broken, 0);
  expect(JSON.parse(Buffer.concat(said).toString("ascii"))).toHaveProperty("text");
});
