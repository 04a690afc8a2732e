// Lines of the audit as bytes: what is said comes back as it was said, whichever way it was written, and a line is one line.
import { json, makePen } from "@sallyport/core/line";
import * as fc from "fast-check";
import { expect, it } from "vitest";

const write = (
  say: (pen: ReturnType<typeof makePen>) => void,
  room = 8,
): { text: string; said: Record<string, unknown> } => {
  const pen = makePen();
  const sheet = { bytes: new Uint8Array(room), at: 0 };
  pen.take(sheet);
  pen.fixed(json('{"first":1'));
  say(pen);
  pen.fixed(json("}"));
  const text = Buffer.from(sheet.bytes.subarray(0, sheet.at)).toString();
  return { text, said: JSON.parse(text) as Record<string, unknown> };
};
const name = json(',"text":');

it("S-41 takes plain bytes as they are, and leaves to words what is not plain", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(20), (bytes, before) => {
      const whole = Buffer.concat([Buffer.alloc(before, 0xff), bytes, Buffer.alloc(3, 0xff)]);
      let taken = false;
      const { text, said } = write((pen) => {
        taken = pen.text(name, whole, before, before + bytes.length);
      });
      const plain = bytes.every((byte) => (byte >= 0x20 && byte < 0x7f) || [9, 10, 13].includes(byte));
      expect(taken).toBe(plain);
      expect(said).toEqual(plain ? { first: 1, text: Buffer.from(bytes).toString() } : { first: 1 });
      expect(text).toMatch(/^[\x20-\x7e]*$/);
    }),
  );
});

it("S-41 says any JSON, one line and nothing that hides, and keeps its own members its own", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue()), (members) => {
      const { text, said } = write((pen) => pen.members({ ...members, session: "x", seq: 1, at: 2, chain: "y" }));
      const {
        session: _s,
        seq: _q,
        at: _a,
        chain: _c,
        ...rest
      } = JSON.parse(JSON.stringify(members)) as typeof members;
      expect(said).toEqual({ first: 1, ...rest });
      expect(text).not.toMatch(/[\p{Cc}\u2028\u2029\u200b-\u200f\u202a-\u202e\ufeff]/u);
    }),
  );
});

it("writes numbers as they are, and goes back to a place it marked", () => {
  fc.assert(
    fc.property(fc.array(fc.maxSafeNat(), { minLength: 1, maxLength: 5 }), (numbers) => {
      const { said } = write((pen) => {
        for (const [at, value] of numbers.entries()) pen.number(json(`,"n${at}":`), value);
        const mark = pen.mark();
        pen.members({ gone: true });
        pen.back(mark);
      });
      expect(Object.values(said)).toEqual([1, ...numbers]);
    }),
  );
});
