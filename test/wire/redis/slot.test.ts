// Slots of keys, by the vectors of the specification and by what a real server says.
import { crc16, slotOf } from "@sallyport/wire/redis/slot";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { type RedisServer, stage, startRedis } from "./servers.ts";

const slot = (key: string | Buffer): number => {
  const bytes = Buffer.from(key);
  return slotOf(Buffer.concat([Buffer.from("{x}"), bytes, Buffer.from("}")]), 3, 3 + bytes.length);
};

let server: RedisServer;
stage(async () => {
  server = await startRedis(["--cluster-enabled", "yes"]);
});
afterAll(() => server?.stop());

it("CRC16 is the one of the specification", () => {
  expect(crc16(Buffer.from("123456789"), 0, 9)).toBe(0x31c3);
  expect(crc16(Buffer.alloc(0), 0, 0)).toBe(0);
});

it("a key's tag is what stands between its first braces", () => {
  expect(slot("{user1000}.following")).toBe(slot("user1000"));
  expect(slot("foo{}{bar}")).toBe(crc16(Buffer.from("foo{}{bar}"), 0, 10) % 16_384);
  expect(slot("foo{{bar}}zap")).toBe(slot("{bar"));
  expect(slot("foo{bar}{zap}")).toBe(slot("bar"));
  expect(slot("foo{bar")).toBe(crc16(Buffer.from("foo{bar"), 0, 7) % 16_384);
});

it("any key is in the slot that CLUSTER KEYSLOT says", async () => {
  const keys = fc.array(fc.oneof(fc.string({ unit: fc.constantFrom("{", "}", "a", "b") }), fc.string()), {
    ...{ minLength: 50, maxLength: 50 },
  });
  await fc.assert(
    fc.asyncProperty(keys, async (all) => {
      const answers = await server.talk.all(all.map((key) => ["CLUSTER", "KEYSLOT", key]));
      expect(all.map((key) => `:${slot(key)}\r\n`)).toEqual(answers);
    }),
    { numRuns: 20 },
  );
});
