// A Parse, a Bind and an Execute in one line: when they go together, and never otherwise.
import { frames } from "@sallyport/wire/postgres/frame";
import { fromClient } from "@sallyport/wire/postgres/message";
import { observeClient } from "@sallyport/wire/postgres/statement";
import { describe, expect, test } from "vitest";
import { int32, message } from "../door.ts";
import { lineOf } from "../line.ts";
import { bind, int16, told } from "./told.ts";

describe("a Parse, a Bind and an Execute that come together", () => {
  const parse = (name: string, text: string) => message("P", `${name}\0${text}\0`, int16(0));
  const execute = (portal: string, rows = 0) => message("E", `${portal}\0`, int32(rows));
  const line = { type: "execute", portal: "", statement: "s1", values: ["a"] };
  const separate = [
    { type: "bind", portal: "", statement: "s1", values: ["a"] },
    { type: "execute", portal: "" },
  ];
  const [bound, sync, describePortal] = [bind("", "s1", [], ["a"]), message("S"), message("D", "P\0")];

  test.each<[string, readonly Buffer[], readonly object[]]>([
    ["a Bind and its Execute", [bound, execute("")], [line]],
    [
      "all three, and what is between them",
      [parse("s1", "select $1"), bound, describePortal, execute(""), sync],
      [{ ...line, text: "select $1" }],
    ],
    ["one behind the other", [bound, execute(""), sync, bound, execute("")], [line, line]],
    [
      "a Bind that is not plain",
      [bind("", "s1", [1], ["ab"]), execute("")],
      [{ ...line, values: [{ base64: "YWI=" }] }],
    ],
    [
      "a Parse that is not UTF-8",
      [message("P", Buffer.from("s1\0select \u00ff\0", "latin1"), int16(0)), bound, execute("")],
      [{ ...line, text: "select \u00ff", encoding: "latin1" }],
    ],
  ])("are one line: %s", (_name, messages, lines) => {
    expect(told(Buffer.concat(messages))).toEqual(lines);
  });

  test("S-34 a password in the Parse is taken out all the same", () => {
    const lines = told(Buffer.concat([parse("s1", "alter user a password 'hunter2'"), bound, execute("")]));
    expect(lines).toHaveLength(1);
    expect(JSON.stringify(lines)).not.toContain("hunter2");
  });

  test.each<[string, readonly Buffer[], readonly object[]]>([
    ["another portal's Execute", [bound, execute("p")], [separate[0] ?? {}, { type: "execute", portal: "p" }]],
    [
      "a portal whose name only begins like it",
      [bind("pq", "s1", [], ["a"]), execute("p")],
      [
        { ...separate[0], portal: "pq" },
        { type: "execute", portal: "p" },
      ],
    ],
    ["an Execute of some rows", [bound, execute("", 5)], [separate[0] ?? {}, { type: "execute", portal: "", rows: 5 }]],
    ["a second Execute", [bound, execute(""), execute("")], [line, { type: "execute", portal: "" }]],
    ["two Binds", [bound, bound, execute("")], [separate[0] ?? {}, line]],
    [
      "a Query between them",
      [bound, message("Q", "select 1\0"), execute("")],
      [separate[0] ?? {}, { type: "query", text: "select 1" }, separate[1] ?? {}],
    ],
    [
      "a FunctionCall between them",
      [bound, message("F", int32(9), int16(0), int16(0), int16(0)), execute("")],
      [separate[0] ?? {}, { type: "function", oid: 9 }, separate[1] ?? {}],
    ],
    [
      "another statement's Parse",
      [parse("s2", "select 2"), bound, execute("")],
      [{ type: "parse", name: "s2", text: "select 2" }, line],
    ],
    [
      "a Parse between them",
      [bound, parse("s1", "select 2"), execute("")],
      [separate[0] ?? {}, { type: "parse", name: "s1", text: "select 2" }, separate[1] ?? {}],
    ],
    [
      "no Execute",
      [parse("s1", "select $1"), bound, sync],
      [{ type: "parse", name: "s1", text: "select $1" }, separate[0] ?? {}],
    ],
  ])("are a line each with %s", (_name, messages, lines) => {
    expect(told(Buffer.concat(messages))).toEqual(lines);
  });

  test("S-30 are told before what comes next may pass, also when that comes later or is broken", () => {
    const lines: object[] = [];
    const followed = frames(
      fromClient,
      observeClient((statement) => void lines.push(lineOf(statement))),
    );
    followed.scan(Buffer.concat([parse("s1", "select $1"), bound]));
    expect(lines).toEqual([{ type: "parse", name: "s1", text: "select $1" }, separate[0]]);
    followed.scan(execute(""));
    expect(lines.slice(2)).toEqual([separate[1]]);
    expect(() => followed.scan(Buffer.concat([bound, message("Q", "select 1")]))).toThrow("malformed Query");
    expect(lines.slice(3)).toEqual([separate[0]]);
  });
});
