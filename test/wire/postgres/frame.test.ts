import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { int32, message } from "../door.ts";
import { complete, query, ready, stand, turn, turns } from "./stand.ts";

describe("under any chunking", () => {
  const text = fc.string({ maxLength: 50 }).map((value) => value.replaceAll("\0", ""));
  const asked = fc.oneof(
    text.map(query),
    text.map((value) => message("P", `\0${value}\0\0\0`)),
    text.map((value) => message("B", "\0\0\0\0\0\x01", int32(Buffer.byteLength(value)), value, "\0\0")),
    fc.constantFrom(message("E", "p\0", int32(5)), message("S"), message("H"), message("c"), message("D", "S\0")),
    fc.nat(70_000).map((size) => message("d", Buffer.alloc(size))),
    fc.nat(140_000).map((size) => query("y".repeat(size))),
  );
  const answered = fc.oneof(
    fc.constantFrom(complete, ready, message("1"), message("E", "C42601\0Mno\0\0")),
    fc.nat(70_000).map((size) => message("D", Buffer.alloc(size))),
    fc.nat(70_000).map((size) => message("E", "C42601\0M", "x".repeat(size), "\0\0")),
  );
  const cuts = fc.array(fc.nat(2_000), { maxLength: 30 });
  const chunks = (bytes: Buffer, sizes: readonly number[]): Buffer[] => {
    const all: Buffer[] = [];
    let at = 0;
    for (const size of sizes) {
      if (size > 0) all.push(bytes.subarray(at, at + size));
      at += size;
    }
    return [...all, bytes.subarray(at)].filter((chunk) => chunk.length > 0);
  };
  const drive = async (bytes: Buffer, sizes: readonly number[], from: "client" | "server") => {
    const { client, server, seen, done } = stand();
    const [near, far] = from === "client" ? [client, server] : [server, client];
    for (const chunk of chunks(bytes, sizes)) {
      near.theirs.write(chunk);
      await turn();
    }
    const passed = await far.until((all) => all.length >= bytes.length);
    client.theirs.end();
    await done;
    return { passed, lines: seen.lines() };
  };

  test.each([
    ["client", asked],
    ["server", answered],
  ] as const)("S-30 what a %s says passes byte by byte, and is told the same", async (from, kind) => {
    await fc.assert(
      fc.asyncProperty(fc.array(kind, { minLength: 1, maxLength: 8 }), cuts, async (messages, sizes) => {
        const bytes = Buffer.concat(messages);
        const [whole, cut] = [await drive(bytes, [], from), await drive(bytes, sizes, from)];
        expect(whole.passed.equals(bytes) && cut.passed.equals(bytes)).toBe(true);
        expect(cut.lines).toEqual(whole.lines);
      }),
      { numRuns: 60 },
    );
  });

  test("a header that comes byte by byte is held until it is whole", async () => {
    const { client, server, done } = stand();
    const bytes = message("d", "x");
    for (let at = 0; at < 4; at++) {
      client.theirs.write(bytes.subarray(at, at + 1));
      await turns(3);
    }
    expect(server.received().length).toBe(0);
    client.theirs.write(bytes.subarray(4));
    expect(await server.until((all) => all.length >= bytes.length)).toEqual(bytes);
    client.theirs.end();
    await done;
  });
});
