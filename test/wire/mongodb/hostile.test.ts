// What neither side may say in a session.
import { partSize } from "@sallyport/core/audit";
import { Failure } from "@sallyport/core/failure";
import type { Document } from "bson";
import { describe, expect, test } from "vitest";
import { ask, body, checked, doc, documents, i32, msg, packet, reply, sequence } from "./bytes.ts";
import { find, standing, told } from "./stand.ts";

describe("bad input ends the session, says why and goes no further", () => {
  const twice = (() => {
    const whole = ask(1, { find: "items", $db: "orders", $dc: "stock" });
    whole[whole.indexOf("$dc") + 2] = 0x62;
    return whole;
  })();
  const nested = (depth: number): Document => {
    let inner: Document = {};
    for (let left = depth; left > 0; left--) inner = { a: inner };
    return inner;
  };
  const many = Array.from({ length: 300 }, (_, at) => `k${at}`);
  const keyed = Object.fromEntries(many.map((name) => [name, null]));
  const lengthOf = (value: number): Buffer => {
    const whole = find(1);
    whole.writeInt32LE(value, 0);
    return whole;
  };
  const bodyLength = (value: number): Buffer => {
    const whole = find(1);
    whole.writeInt32LE(value, 21);
    return whole;
  };
  test.each<[string, Buffer, string]>([
    ["S-28 OP_COMPRESSED", packet(2012, { id: 1 }, i32(2013), i32(20), 2, "compressed bytes"), "unsupported"],
    ...[2001, 2002, 2004, 2005, 2006, 2007].map(
      (opcode) =>
        [
          `S-28 legacy opcode ${opcode}`,
          packet(opcode, { id: 1 }, i32(0), "orders.items\0", i32(0), i32(0), "\x05\0\0\0\0"),
          "unsupported",
        ] as [string, Buffer, string],
    ),
    ["S-28 an opcode that is none", packet(77, { id: 1 }, "whatever it may be"), "protocol"],
    ["S-28 an answer", packet(1, { id: 1 }, i32(0), i32(0), i32(0), i32(0), i32(1), doc({ ok: 1 })), "protocol"],
    ["S-28 $db twice", twice, "protocol"],
    [
      "S-28 a section named as a key",
      msg({ id: 1 }, body({ insert: "a", documents: [], $db: "orders" }), sequence("documents", { a: 1 })),
      "protocol",
    ],
    [
      "S-28 a section named $db",
      msg({ id: 1 }, body({ insert: "a", $db: "orders" }), sequence("$db", { a: 1 })),
      "protocol",
    ],
    [
      "S-28 two sections of a name",
      msg(
        { id: 1 },
        body({ insert: "a", $db: "orders" }),
        sequence("documents", { a: 1 }),
        sequence("documents", { a: 1 }),
      ),
      "protocol",
    ],
    [
      "S-28 two bodies",
      msg({ id: 1 }, body({ find: "a", $db: "orders" }), body({ find: "b", $db: "stock" })),
      "protocol",
    ],
    [
      "S-23 more sections than can be compared with one another",
      msg({ id: 1 }, body({ insert: "a", $db: "orders" }), ...many.map((name) => sequence(name))),
      "protocol",
    ],
    [
      "S-23 more sections before a body",
      msg({ id: 1 }, ...many.map((name) => sequence(name)), body({ insert: "a", $db: "orders" })),
      "protocol",
    ],
    ["S-23 more keys than a command has", ask(1, { ping: 1, $db: "orders", ...keyed }), "protocol"],
    [
      "S-23 more cursors than anybody has",
      ask(1, { killCursors: "a", cursors: new Array<number>(10_001).fill(1), $db: "orders" }),
      "protocol",
    ],
    ["S-23 a command's name that no command has", ask(1, { ["x".repeat(300)]: 1, $db: "orders" }), "protocol"],
    ["S-23 a database's name longer than any", ask(1, { find: "a", $db: "x".repeat(300) }), "protocol"],
    ["S-28 no body", msg({ id: 1 }, sequence("documents", { a: 1 })), "protocol"],
    ["S-28 unknown required flags", msg({ id: 1, flags: 4 }, body({ ping: 1, $db: "orders" })), "protocol"],
    ["S-28 a body nested too deep", ask(1, { find: "a", filter: nested(210), $db: "orders" }), "protocol"],
    [
      "S-28 a document of a section nested too deep",
      msg({ id: 1 }, body({ insert: "a", $db: "orders" }), sequence("documents", nested(210))),
      "protocol",
    ],
    ["S-23 length 0", lengthOf(0), "protocol"],
    ["S-23 length 1", lengthOf(1), "protocol"],
    ["S-23 length 16", lengthOf(16), "protocol"],
    ["S-23 length -1", lengthOf(-1), "protocol"],
    ["S-23 length 2^31-1", lengthOf(0x7fff_ffff), "too_large"],
    ["S-23 one over the limit", lengthOf(48_000_001), "too_large"],
    ["S-23 body length -1", bodyLength(-1), "protocol"],
    ["S-23 body length 4", bodyLength(4), "protocol"],
    ["S-23 body one longer than its message", bodyLength(find(1).length - 20), "protocol"],
    ["S-23 body one shorter than its message", bodyLength(find(1).length - 22), "protocol"],
    ["S-23 body longer than a document may be", bodyLength(16_793_601), "too_large"],
  ])("%s", async (_, bytes, code) => {
    const all = standing();
    const { heard } = await told(all, bytes);
    const { by, failure } = await all.done;
    expect(heard.length).toBe(0);
    expect({ by, code: failure?.code }).toEqual({ by: "cut", code });
    expect(documents(all.client.received())).toEqual([expect.objectContaining({ ok: 0 })]);
  });

  test("a checksum that is not right ends it", async () => {
    const all = standing();
    const whole = checked({ id: 1 }, body({ ping: 1, $db: "orders" }), sequence("a", { a: 1 }));
    whole[whole.length - 1] = (whole.at(-1) ?? 0) ^ 1;
    await told(all, whole);
    expect((await all.done).failure?.message).toContain("checksum");
  });
});

test("S-23 a collection's name of any length makes no line of the audit longer than a part", async () => {
  const all = standing();
  await told(all, ask(1, { find: "x".repeat(3 * partSize), $db: "orders" }));
  const lines = all.seen.lines();
  expect(lines[0]).toMatchObject({ type: "command", command: "find", db: "orders" });
  expect(Math.max(...lines.map((line) => JSON.stringify(line).length))).toBeLessThan(2 * partSize);
});

describe("S-33 a server that lies", () => {
  const good = reply(1, { ok: 1, errmsg: "words" });
  const changed = (at: number, value: number): Buffer => {
    const bytes = Buffer.from(good);
    bytes.writeInt32LE(value, at);
    return bytes;
  };
  test.each<[string, Buffer]>([
    ["a length of 0", changed(0, 0)],
    ["a length of -1", changed(0, -1)],
    ["a length of 2^31-1", changed(0, 0x7fff_ffff)],
    ["a length one too long", changed(0, good.length + 1)],
    ["a body of -1", changed(21, -1)],
    ["a body one shorter", changed(21, good.length - 22)],
    ["an answer to something else", changed(8, 99)],
    ["an opcode of old", changed(12, 1)],
    ["a compressed one", changed(12, 2012)],
    ["unknown flags", changed(16, 8)],
    ["a string of -1", changed(good.indexOf("errmsg") + 7, -1)],
    ["a string of 2^31-1", changed(good.indexOf("errmsg") + 7, 0x7fff_ffff)],
    ["HTTP", Buffer.from("HTTP/1.1 200 OK\r\nServer: nobody\r\n\r\n")],
  ])("%s ends the session, and nothing is taken for an answer", async (_, bytes) => {
    const all = standing();
    await told(all, find(1));
    all.server.theirs.write(bytes);
    expect((await all.done).failure).toBeInstanceOf(Failure);
    expect(all.seen.lines().filter(({ type }) => type === "complete")).toEqual([]);
  });

  test("an answer that nobody asked for ends it", async () => {
    const all = standing();
    all.server.theirs.write(reply(1, { ok: 1 }));
    expect((await all.done).failure?.code).toBe("protocol");
  });
});
