// Which MongoDB is behind the front: the machine's own mongod, or the built-in server. What both must do is asked of whichever it is.

import { startMongo } from "@sallyport/local/mongodb/mongod";
import { checksumOf, flag, parseRequest } from "@sallyport/local/mongodb/packet";
import { type MongoServer, startBuiltin } from "@sallyport/local/mongodb/server";
import { BSON } from "mongodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

let server: MongoServer;
beforeAll(async () => {
  server = await startMongo();
});
afterAll(() => server?.stop());

it("runs commands and knows its users", async () => {
  expect(server.name).toMatch(/^(built-in|mongod \d)/);
  await server.run("shop", { insert: "item", documents: [{ _id: 1, n: 1 }] });
  expect(await server.run("shop", { count: "item", query: { n: 1 } })).toMatchObject({ n: 1, ok: 1 });
  await expect(server.run("shop", { noSuchThing: 1 })).rejects.toMatchObject({ details: { code: 59 } });
  await server.addUser("arn:aws:iam::111122223333:role/a");
  expect(await server.hasUser("arn:aws:iam::111122223333:role/a")).toBe(true);
  await server.removeUser("arn:aws:iam::111122223333:role/a");
  expect(await server.hasUser("arn:aws:iam::111122223333:role/a")).toBe(false);
});

it("where there is no mongod it is the built-in one", async () => {
  const own = await startMongo("/nowhere");
  expect(own.name).toBe("built-in");
  await own.stop();
});

/** A message of ours, whatever its flags and sections. */
const messageOf = (flags: number, ...sections: readonly Buffer[]): Buffer => {
  const rest = Buffer.concat(sections);
  const whole = Buffer.concat([Buffer.alloc(20), rest, Buffer.alloc(flags & flag.checksum ? 4 : 0)]);
  for (const [at, value] of [whole.length, 7, 0, 2013].entries()) whole.writeInt32LE(value, at * 4);
  whole.writeUInt32LE(flags, 16);
  if (flags & flag.checksum) whole.writeUInt32LE(checksumOf(whole.subarray(0, -4)), whole.length - 4);
  return whole;
};
const body = (document: object): Buffer => Buffer.concat([Buffer.from([0]), BSON.serialize(document)]);
const sequence = (name: string, ...documents: readonly object[]): Buffer => {
  const all = Buffer.concat([
    Buffer.alloc(4),
    Buffer.from(`${name}\0`),
    ...documents.map((one) => BSON.serialize(one)),
  ]);
  all.writeInt32LE(all.length, 0);
  return Buffer.concat([Buffer.from([1]), all]);
};

describe("messages", () => {
  it("are read with their sections, and with the checksum that fits them", () => {
    const whole = messageOf(flag.checksum, body({ insert: "item" }), sequence("documents", { a: 1 }, { a: 2 }));
    expect(parseRequest(whole)).toMatchObject({ name: "insert", id: 7 });
    expect(parseRequest(whole).sequences.get("documents")).toHaveLength(2);
    whole.writeUInt8(whole.readUInt8(30) ^ 1, 30);
    expect(() => parseRequest(whole)).toThrow("checksum");
  });

  it.each([
    ["no body", messageOf(0)],
    ["two bodies", messageOf(0, body({ a: 1 }), body({ b: 1 }))],
    ["an unknown section", messageOf(0, Buffer.from([9]))],
    ["a flag that is not known", messageOf(8, body({ a: 1 }))],
    ["a section twice", messageOf(0, body({ a: 1 }), sequence("d"), sequence("d"))],
    ["a document that is too long", messageOf(0, Buffer.from([0, 99, 0, 0, 0, 0]))],
  ])("with %s are refused", (_, whole) => {
    expect(() => parseRequest(whole)).toThrow("a message");
  });

  it("an exhaust cursor answers until it is at its end, asked once", async () => {
    const own = startBuiltin();
    await own.run("shop", { insert: "item", documents: Array.from({ length: 5 }, (_, n) => ({ n })) });
    const alone = { writer: true, me: "a:1", primary: "a:1", hosts: ["a:1"] };
    const socket = own.open(
      () => alone,
      () => "somebody",
    );
    const answers: { more: boolean; cursor: { id: bigint; nextBatch?: object[]; firstBatch?: object[] } }[] = [];
    let bytes = Buffer.alloc(0);
    const waiting: (() => void)[] = [];
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 4 && bytes.length >= bytes.readInt32LE(0)) {
        const whole = bytes.subarray(0, bytes.readInt32LE(0));
        bytes = bytes.subarray(whole.length);
        const { cursor } = BSON.deserialize(whole.subarray(21), { useBigInt64: true });
        answers.push({ more: (whole.readUInt32LE(16) & flag.moreToCome) !== 0, cursor });
        waiting.shift()?.();
      }
    });
    const heard = (): Promise<void> => new Promise((resume) => waiting.push(resume));
    const first = heard();
    socket.write(messageOf(0, body({ find: "item", batchSize: 1, $db: "shop" })));
    await first;
    const rest = [heard(), heard()];
    const id = BSON.Long.fromBigInt(answers[0]?.cursor.id ?? 0n);
    socket.write(messageOf(flag.exhaust, body({ getMore: id, collection: "item", batchSize: 2, $db: "shop" })));
    await Promise.all(rest);
    expect(answers.map(({ more, cursor }) => [more, cursor.id === 0n, cursor.nextBatch?.length])).toEqual([
      [false, false, undefined],
      [true, false, 2],
      [false, true, 2],
    ]);
    await own.stop();
  });
});
