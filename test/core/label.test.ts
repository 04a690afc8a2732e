import { Failure } from "@sallyport/core/failure";
import { compileSelector } from "@sallyport/core/label";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const one = (pattern: string, value: string): boolean => compileSelector({ k: [pattern] })({ k: value });

describe("label selectors", () => {
  it.each<[string, string, boolean]>([
    ["dev", "dev", true],
    ["dev", "Dev", false],
    ["*", "", true],
    ["*", "anything at all", true],
    ["dev-*", "dev-1", true],
    ["dev-*", "dev", false],
    ["*-eu", "a-eu", true],
    ["a*b*c", "a1b2c", true],
    ["a*b*c", "abcb", false],
    ["a*a", "a", false],
    ["ab*ba", "aba", false],
    ["a.c", "abc", false],
    ["a+", "aa", false],
    ["^dev|staging$", "staging", true],
    ["^(dev|staging)$", "devx", false],
    ["^dev", "dev", false],
    ["^dev", "^dev", true],
    ["(a", "(a", true],
  ])("%j against %j is %s", (pattern, value, expected) => {
    expect(one(pattern, value)).toBe(expected);
  });

  it("needs every key, and one of its values", () => {
    const matches = compileSelector({ env: ["dev", "staging"], team: ["*"] });
    expect(matches({ env: "staging", team: "shop" })).toBe(true);
    expect(matches({ env: "staging" })).toBe(false);
    expect(matches({ env: "prod", team: "shop" })).toBe(false);
  });
  it("matches nothing when empty or undefined, everything as *: *", () => {
    expect(compileSelector({})({ a: "b" })).toBe(false);
    expect(compileSelector(undefined)({ a: "b" })).toBe(false);
    expect(compileSelector({ "*": ["*"] })({})).toBe(true);
  });
  it("refuses what RE2 can't do, patterns over 1 kB and a * key with a value", () => {
    for (const pattern of ["^(?=a)$", "^(a)\\1$", "^[$", `^${"a".repeat(1024)}$`])
      expect(() => compileSelector({ k: [pattern] })).toThrow(Failure);
    expect(() => compileSelector({ "*": ["dev"] })).toThrow(Failure);
  });
  it("a glob means exactly its regular expression", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "*", "."), maxLength: 8 });
    fc.assert(
      fc.property(text, text, (pattern, value) => {
        const quoted = pattern.split("*").map((part) => part.replaceAll(".", "\\."));
        expect(one(pattern, value)).toBe(new RegExp(`^${quoted.join("[^]*")}$`).test(value));
      }),
    );
  });
  it("S-06 a pattern made to explode answers at once", () => {
    const long = "a".repeat(50_000);
    expect(one("^(a+)+b$", long)).toBe(false);
    expect(one(`${"a*".repeat(200)}b`, long)).toBe(false);
  });
});
