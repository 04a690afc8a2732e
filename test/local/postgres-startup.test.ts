import { parsePassword, parseStartup } from "@sallyport/local/postgres/startup";
import fc from "fast-check";
import { expect, test } from "vitest";
import { message, packet, startup } from "./postgres-bytes.ts";

const v3 = 0x30000;

test("S-25 the user is the value of `user`, also when another value is that word", () => {
  const parsed = parseStartup(startup(v3, "application_name", "user", "user", "ada", "database", "user"));
  expect(parsed).toEqual({ user: "ada", database: "user" });
  expect(parseStartup(startup(v3, "options", "", "user", "user"))).toEqual({ user: "user", database: "user" });
});

test("the database is the user's name unless told", () => {
  expect(parseStartup(startup(v3, "user", "ada"))).toEqual({ user: "ada", database: "ada" });
  expect(parseStartup(startup(0x30002, "user", "ada", "database", ""))).toEqual({ user: "ada", database: "ada" });
});

test.each([
  ["an odd count", startup(v3, "user", "ada", "database")],
  ["user last and without a value", startup(v3, "database", "orders", "user")],
  ["user twice", startup(v3, "user", "ada", "user", "root")],
  ["a database twice", startup(v3, "user", "ada", "database", "a", "database", "b")],
  ["an empty name in the middle", startup(v3, "user", "ada", "", "", "user", "root")],
  ["no last terminator", packet(v3, "user\0ada\0")],
  ["a cut value", packet(v3, "user\0ada")],
  ["bytes behind the terminator", packet(v3, "user\0ada\0\0x")],
  ["nothing at all", packet(v3, "")],
  ["bytes that are not UTF-8", packet(v3, Buffer.from("7573657200ff0000", "hex"))],
  ["a user that the server would cut off", startup(v3, "user", "a".repeat(64))],
  ["a database that the server would cut off", startup(v3, "user", "ada", "database", "ä".repeat(32))],
])("S-25 a startup with %s is refused", (_, bytes) => {
  expect(() => parseStartup(bytes)).toThrow(expect.objectContaining({ code: "protocol" }));
});

test("S-25 a startup without a user is refused", () => {
  expect(() => parseStartup(packet(v3, "\0"))).toThrow("no PostgreSQL user name");
  expect(() => parseStartup(startup(v3, "user", ""))).toThrow("no PostgreSQL user name");
});

test("another protocol is refused by its number", () => {
  expect(() => parseStartup(startup(0x20000, "user", "ada"))).toThrow("unsupported frontend protocol 2.0");
});

test("S-25 every list of distinct names parses to its own values, whatever they are", () => {
  const word = fc.string({ unit: "grapheme", maxLength: 20 }).filter((text) => !text.includes("\0"));
  const name = word.filter((text) => text !== "" && text !== "user" && text !== "database");
  const person = fc.string({ minLength: 1, maxLength: 15 }).filter((text) => !text.includes("\0"));
  fc.assert(
    fc.property(
      person,
      fc.uniqueArray(fc.tuple(name, word), { selector: ([key]) => key }),
      fc.nat(),
      (user, others, at) => {
        const pairs = others.toSpliced(at % (others.length + 1), 0, ["user", user]);
        expect(parseStartup(startup(v3, ...pairs.flat())).user).toBe(user);
      },
    ),
  );
});

test("a password is what stands before the one terminator", () => {
  expect(parsePassword(message("p", "t0ken\0"))).toBe("t0ken");
  expect(parsePassword(message("p", "\0"))).toBe("");
  for (const bad of [message("Q", "t0ken\0"), message("p", "t0ken"), message("p", "t0\0ken\0"), message("p", "")])
    expect(() => parsePassword(bad)).toThrow(expect.objectContaining({ code: "protocol" }));
});
