import { openScanner, type Part, splitInline } from "@sallyport/local/redis/request";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resp } from "./redis-lines.ts";

const isLogin = (name: string, words: number): boolean => name === "AUTH" || (name === "HELLO" && words > 2);
const textOf = (bytes: Buffer): string => bytes.toString("latin1");

/** What comes out for bytes that come in these pieces: passing bytes joined up, logins as their words. */
const scanned = (pieces: readonly Buffer[]): readonly (string | readonly string[])[] => {
  const scan = openScanner(isLogin);
  const found: (string | readonly string[])[] = [];
  for (const part of pieces.flatMap((piece): readonly Part[] => scan(Buffer.from(piece)))) {
    if ("words" in part) found.push(part.words.map(textOf));
    else if (typeof found.at(-1) === "string") found.push(`${String(found.pop())}${textOf(part.pass)}`);
    else found.push(textOf(part.pass));
  }
  return found;
};
const scannedText = (text: string) => scanned([Buffer.from(text, "latin1")]);

const binary = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const name = fc.constantFrom("AUTH", "auth", "HELLO", "GET", "SET", "MULTI", "AUTHOR", "a-name-longer-than-sixteen");
const worded = (words: readonly string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
const command = fc.tuple(name, fc.array(binary, { maxLength: 5 })).map(([first, rest]) => [first, ...rest]);
const cut = (bytes: Buffer, at: readonly number[]): readonly Buffer[] => {
  const places = [...new Set(at.map((one) => one % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...places, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : places[index - 1], end));
};

describe("the scanner", () => {
  test("hands over each login whole and lets all else by as it came, however it is cut", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 20 }), (commands, places) => {
        const bytes = Buffer.from(commands.map(worded).join(""), "latin1");
        const expected: (string | readonly string[])[] = [];
        for (const words of commands) {
          if (isLogin(words[0]?.toUpperCase() ?? "", words.length)) expected.push(words);
          else if (typeof expected.at(-1) === "string") expected.push(String(expected.pop()) + worded(words));
          else expected.push(worded(words));
        }
        expect(scanned(cut(bytes, places))).toEqual(expected);
      }),
      { numRuns: 1_000 },
    );
  });

  test("loses no byte and throws at none, whatever comes", () => {
    const never = (): boolean => false;
    const noise = fc.oneof(
      binary,
      fc.constantFrom("*", "$", "\r\n", "*3\r\n", "$5\r\n", "*-1\r\n", "AUTH a b\r\n", '"'),
    );
    fc.assert(
      fc.property(fc.array(noise, { maxLength: 30 }), fc.array(fc.nat(), { maxLength: 10 }), (parts, places) => {
        const bytes = Buffer.from(parts.join(""), "latin1");
        const scan = openScanner(never);
        const out = cut(bytes, places).flatMap((piece) => scan(Buffer.from(piece)));
        const passed = Buffer.concat(out.map((part) => ("pass" in part ? part.pass : part.raw)));
        expect(bytes.subarray(0, passed.length).equals(passed)).toBe(true);
        // what is held back is no more than the head of a command
        expect(bytes.length - passed.length).toBeLessThan(17_000);
      }),
      { numRuns: 2_000 },
    );
  });

  test("takes numbers as Redis does, and looks no further where Redis would not", () => {
    for (const bytes of [
      "*+1\r\n",
      "*01\r\n",
      "* 1\r\n",
      "*1a\r\n",
      "*\r\n",
      "*1\r\n$+4\r\nAUTH\r\n",
      "*1\r\n$-1\r\n",
    ]) {
      const after = resp("AUTH", "ada", "x");
      expect(scannedText(bytes + after)).toEqual([bytes + after]);
    }
    expect(scannedText(`*0\r\n*-1\r\n\r\n${resp("AUTH", "ada", "x")}`)).toEqual([
      "*0\r\n*-1\r\n\r\n",
      ["AUTH", "ada", "x"],
    ]);
  });

  test("holds back no more than a login may have", () => {
    const scan = openScanner(isLogin);
    const long = Buffer.from(`*3\r\n$4\r\nAUTH\r\n$3\r\nada\r\n$20000\r\n${"x".repeat(100)}`);
    expect(scan(long)).toEqual([{ pass: long }]);
    const many = Buffer.from("*17\r\n$4\r\nAUTH\r\n");
    expect(openScanner(isLogin)(many)).toEqual([{ pass: many }]);
    const endless = Buffer.from("AUTH ada ".padEnd(70_000, "x"));
    expect(openScanner(isLogin)(endless)).toEqual([{ pass: endless }]);
  });
});

describe("an inline command", () => {
  test.each([
    ["AUTH ada secret", ["AUTH", "ada", "secret"]],
    ["  AUTH\tada   'it\\'s'  ", ["AUTH", "ada", "it's"]],
    ['AUTH "a\\x41\\n\\q" ""', ["AUTH", "aA\nq", ""]],
    ["AUTH ada\0hidden", ["AUTH", "ada"]],
    ["", []],
  ])("%j is %j", (line, words) => {
    expect(splitInline(Buffer.from(line, "latin1"))?.map(textOf)).toEqual(words);
  });
  test.each(['AUTH "a', "AUTH 'a", 'AUTH "a"b', "AUTH 'a'b"])("%j is none", (line) => {
    expect(splitInline(Buffer.from(line))).toBeUndefined();
  });
});
