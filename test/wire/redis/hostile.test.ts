// Bytes that are not what they should be, from either side, and sides that are too slow or too fast.
import { expect, test } from "vitest";
import { link } from "../door.ts";
import { said } from "./said.ts";
import { answer, say, standing, text, turns } from "./stand.ts";

const broken: readonly (readonly [string, string, string])[] = [
  ["a count that no client has", "*2147483647\r\n", "invalid multibulk length"],
  ["a count over the limit", "*1048577\r\n", "invalid multibulk length"],
  ["a count that is no number", "*3x\r\n", "invalid multibulk length"],
  ["a count with a zero before it", "*03\r\n", "invalid multibulk length"],
  ["a count with a plus", "*+3\r\n", "invalid multibulk length"],
  ["a count without an end", "*1111111111111", "invalid multibulk length"],
  ["a negative length", "*1\r\n$-1\r\n", "invalid bulk length"],
  ["a length over the limit", "*1\r\n$536870913\r\n", "invalid bulk length"],
  ["a length that wraps", "*1\r\n$18446744073709551617\r\n", "invalid bulk length"],
  ["a nested array", "*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"],
  ["bytes behind an argument", "*1\r\n$4\r\nPINGxx\r\n", "invalid bulk length"],
  ["a line that is too long", "x".repeat(70_000), "too big inline request"],
  ["quotes that don't match", 'SET k "a\r\n', "unbalanced quotes in request"],
  ["a zero byte in an inline command", "PING\0CONFIG GET dir\r\n", "a zero byte in an inline request"],
];
for (const [what, bytes, words] of broken)
  test(`S-27 ${what} is a protocol error, said when what came before is answered`, async () => {
    const stand = standing();
    await say(stand, said("GET", "k"), bytes);
    expect(stand.server.received()).toEqual(said("GET", "k"));
    await answer(stand, "$1\r\nv\r\n");
    const { failure } = await stand.done;
    expect(failure?.code).toBe("protocol");
    expect(text(stand.client)).toBe(`$1\r\nv\r\n-ERR Protocol error: ${words}\r\n`);
  });

test("S-27 a length that breaks inside a long command ends the session", async () => {
  const stand = standing();
  await say(stand, "*4\r\n$4\r\nMSET\r\n$1\r\nk\r\n$200000\r\n", Buffer.alloc(200_000, "x"), "\r\n$-5\r\n");
  await stand.done;
  expect(text(stand.client)).toBe("-ERR Protocol error: invalid bulk length\r\n");
  expect((await stand.done).failure?.code).toBe("protocol");
});

test("S-27 a login too long to be one is none", async () => {
  const stand = standing();
  await say(stand, "*3\r\n$4\r\nAUTH\r\n$3\r\nada\r\n$200000\r\n", Buffer.alloc(100_000, "x"));
  const { failure } = await stand.done;
  expect(failure?.code).toBe("too_large");
  expect(text(stand.server)).toBe("");
});

test("S-27 a name, or a subcommand, too long to be seen in full goes nowhere", async () => {
  for (const words of [["ACL"], ["CLIENT"], []]) {
    const stand = standing();
    const long = Buffer.from(`SETUSER\0${"x".repeat(100_000)}`);
    await say(stand, said("GET", "k"), said(...words, long, "bob", "on", "nopass").subarray(0, 90_000));
    await answer(stand, "$1\r\nv\r\n");
    expect((await stand.done).failure?.code).toBe("too_large");
    expect(stand.server.received()).toEqual(said("GET", "k"));
  }
});

const unreadable: readonly (readonly [string, string])[] = [
  ["a type that there is not", "?1\r\n"],
  ["a negative length", "$-2\r\n"],
  ["a length over all limits", "$99999999999\r\n"],
  ["a count over all limits", "*99999999999\r\n"],
  ["a number without digits", ":\r\n"],
  ["a number that does not end", `:${"1".repeat(40)}`],
  ["a line's end that is half of one", "+OK\rx"],
  ["a bulk that does not end where it says", "$1\r\nabc"],
  ["arrays in arrays without end", "*1\r\n".repeat(2_000)],
];
for (const [what, bytes] of unreadable)
  test(`S-33 a server that answers with ${what} ends the session, and says whose fault it is`, async () => {
    const stand = standing();
    await say(stand, said("GET", "k"), said("GET", "l"));
    await answer(stand, "+first\r\n", bytes);
    const { failure } = await stand.done;
    expect(failure?.code).toBe("upstream_refused");
    expect(text(stand.client).startsWith("+first\r\n")).toBe(true);
  });

test("S-33 an answer to nothing ends the session", async () => {
  for (const bytes of ["+OK\r\n", "$3\r\nabc\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"]) {
    const stand = standing();
    await answer(stand, bytes);
    const { failure } = await stand.done;
    expect(failure?.message).toBe("the database answered what nobody asked");
    expect(text(stand.client)).toMatch(/^-ERR [^\r]*\r\n$/);
  }
});

test("S-33 one answer too many is never taken for the next one", async () => {
  const stand = standing();
  await say(stand, said("GET", "k"));
  await answer(stand, "$1\r\nv\r\n+injected\r\n");
  expect((await stand.done).failure?.code).toBe("upstream_refused");
  expect(text(stand.client)).not.toContain("injected");
});

test("S-33 words of an error can't become lines of the audit or of a client", async () => {
  const stand = standing();
  await say(stand, said("GET", "k"));
  await answer(stand, `-ERR \u001b[2J ${"x".repeat(5_000)}\r\n`);
  const told = stand.seen.lines().at(-1);
  expect(String(told?.["text"])).toHaveLength(512);
});

test("S-33 a server that goes without a word is said to have gone", async () => {
  const stand = standing();
  await say(stand, said("GET", "k"));
  stand.server.theirs.end();
  await stand.done;
  expect(text(stand.client)).toMatch(/^-ERR the database closed the connection/);
});

test("S-36 a client that does not read keeps the server from being read", async () => {
  const slow = link({ gather: false, highWaterMark: 16_384 });
  const stand = standing({ links: { client: slow } });
  slow.theirs.write(said("SUBSCRIBE", "a"));
  await turns();
  stand.server.theirs.write("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  const message = Buffer.from(`*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1000\r\n${"x".repeat(1_000)}\r\n`);
  let sent = 0;
  for (; sent < 5_000 && stand.server.theirs.writableLength < 1_048_576; sent++) stand.server.theirs.write(message);
  await turns();
  const held = slow.ours.writableLength + slow.theirs.readableLength + stand.server.ours.readableLength;
  expect(held).toBeLessThan(400_000);
  expect(stand.server.theirs.writableLength).toBeGreaterThan(400_000);
});

test("S-36 a server that does not read keeps the client from being read", async () => {
  const slow = link({ gather: false, highWaterMark: 16_384 });
  const stand = standing({ links: { server: slow } });
  const value = said("SET", "k", Buffer.alloc(10_000, "x"));
  for (let sent = 0; sent < 200; sent++) stand.client.theirs.write(value);
  await turns();
  expect(slow.ours.writableLength + slow.theirs.readableLength + stand.client.ours.readableLength).toBeLessThan(
    400_000,
  );
  expect(stand.client.theirs.writableLength).toBeGreaterThan(1_000_000);
});

test("S-36 a client that asks for refusals and does not read them is held", async () => {
  const slow = link({ gather: false, highWaterMark: 16_384 });
  const stand = standing({ links: { client: slow } });
  const one = said("MONITOR");
  for (let sent = 0; sent < 50_000; sent++) slow.theirs.write(one);
  await turns(200);
  expect(slow.ours.writableLength).toBeLessThan(1_000_000);
  expect(slow.theirs.writableLength).toBeGreaterThan(100_000);
  expect(text(stand.server)).toBe("");
});

test("S-36 refusals behind something that waits are bounded, and none is lost", async () => {
  const stand = standing();
  const piece = Buffer.concat(Array.from({ length: 2_000 }, () => said("SAVE")));
  await say(stand, said("BLPOP", "q", "0"));
  for (let sent = 0; sent < 50; sent++) stand.client.theirs.write(piece);
  await turns(400);
  expect(stand.client.theirs.writableLength).toBeGreaterThan(10 * piece.length);
  expect(text(stand.client)).toBe("");
  await answer(stand, "*-1\r\n");
  const last = await stand.client.until((bytes) => bytes.toString("latin1").split("-NOPERM SAVE").length === 100_001);
  expect(last.subarray(0, 5).toString()).toBe("*-1\r\n");
}, 60_000);

test("S-36 a value of many megabytes passes without being kept", async () => {
  const counted = link({ gather: false });
  let heard = 0;
  counted.theirs.on("data", (chunk: Buffer) => {
    heard += chunk.length;
  });
  const stand = standing({ links: { server: counted } });
  const chunk = Buffer.alloc(65_536, "x");
  const size = 64 * 1_048_576;
  stand.client.theirs.write(`*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$${size}\r\n`);
  for (let sent = 0; sent < size; sent += chunk.length)
    if (!stand.client.theirs.write(chunk)) await new Promise((resolve) => stand.client.theirs.once("drain", resolve));
  await say(stand, "\r\n");
  expect(heard).toBe(`*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$${size}\r\n`.length + size + 2);
  expect(stand.seen.lines().map(({ args }) => args)).toEqual([["k"], [{ text: "x".repeat(256), bytes: size }]]);
});

test("S-36 commands of many small arguments, wherever they are cut, keep nobody waiting", async () => {
  const one = said("DEL", ...Array.from({ length: 8_000 }, () => "k"));
  const all = Buffer.concat(Array.from({ length: 40 }, () => one));
  const stand = standing();
  const startedAt = performance.now();
  for (let at = 0; at < all.length; at += 65_536) await say(stand, all.subarray(at, at + 65_536));
  expect(stand.server.received().equals(all)).toBe(true);
  // argument by argument it would be a minute
  expect(performance.now() - startedAt).toBeLessThan(20_000);
}, 60_000);
