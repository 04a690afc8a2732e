// The API's document: made of the route table, as committed, and watched over by a check that knows what breaks a client.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { routes } from "@sallyport/core/api";
import { describe, expect, it } from "vitest";
import { breakingChanges } from "../../tools/compatibility.ts";
import { makeOpenApi, type OpenApi, type Operation, type Schema } from "../../tools/contract.ts";

const committed = readFileSync(resolve(import.meta.dirname, "../../docs/openapi.json"), "utf8");

describe("docs/openapi.json", () => {
  it("is what the route table says: after a change, node tools/openapi.ts", () => {
    expect(JSON.parse(committed)).toEqual(JSON.parse(JSON.stringify(makeOpenApi())));
    expect(breakingChanges(JSON.parse(committed) as OpenApi, makeOpenApi())).toEqual([]);
  });

  it("has every route, with its parameters, its body, and who may call it", () => {
    const { paths } = makeOpenApi();
    for (const [name, { path, method, access }] of Object.entries(routes)) {
      const operation = paths[path]?.[method.toLowerCase()];
      expect(operation).toMatchObject({ operationId: name, security: access === "public" ? [] : [{ session: [] }] });
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
      const parameters = operation?.parameters ?? [];
      expect(parameters.flatMap((one) => (one.in === "path" ? [one.name] : []))).toEqual(inPath);
      expect(parameters.every((one) => one.in !== "path" || one.required)).toBe(true);
      expect(operation?.responses).toHaveProperty("default");
    }
    const put = paths["/v1/resources/{kind}/{name}"]?.["put"]?.requestBody?.content["application/json"].schema;
    expect(Object.keys(put?.properties ?? {})).toEqual(["document"]);
  });
});

/** A document of one route, whose input and output are these. */
const api = (input: Schema, output: Schema = { type: "object" }, over: Partial<Operation> = {}): OpenApi => ({
  openapi: "3.1.1",
  info: {},
  components: {},
  paths: {
    "/v1/x": {
      post: {
        operationId: "x",
        summary: "x",
        security: [],
        requestBody: { required: true, content: { "application/json": { schema: input } } },
        responses: { "200": { description: "done", content: { "application/json": { schema: output } } } },
        ...over,
      },
    },
  },
});
const object = (properties: Record<string, Schema>, required = Object.keys(properties)): Schema => ({
  type: "object",
  additionalProperties: false,
  properties,
  required,
});
const text: Schema = { type: "string" };
const number: Schema = { type: "number" };
const words = (...all: string[]): Schema => ({ type: "string", enum: all });
const kind = (word: string, more: Record<string, Schema> = {}): Schema =>
  object({ kind: { type: "string", const: word }, ...more });
const changed = (before: Schema, after: Schema) => ({
  input: breakingChanges(api(object({ a: before })), api(object({ a: after }))),
  output: breakingChanges(api({}, object({ a: before })), api({}, object({ a: after }))),
});

describe("what breaks a client", () => {
  it.each<[string, OpenApi, OpenApi, string]>([
    ["a route that is gone", api({}), { ...api({}), paths: {} }, "POST /v1/x: is gone"],
    ["a login that is wanted", api({}), api({}, {}, { security: [{ session: [] }] }), "wants a login now"],
    ["input that must be given", api(object({})), api(object({ a: text })), "input.a: is required now"],
    ["input that may no longer be left out", api(object({ a: text }, [])), api(object({ a: text })), "is required now"],
    ["input that is no longer taken", api(object({ a: text }, [])), api(object({})), "input.a: is gone"],
    [
      "a parameter that must be given",
      api({}),
      api({}, undefined, { parameters: [{ name: "q", in: "query", required: true, schema: text }] }),
      "input.q: is required now",
    ],
    ["a member of the answer that is gone", api({}, object({ a: text })), api({}, object({})), "output.a: is gone"],
    [
      "a member of the answer that may be missing",
      api({}, object({ a: text })),
      api({}, object({ a: text }, [])),
      "may be missing now",
    ],
    [
      "an answer of another form",
      api({}, object({ a: text })),
      api({}, { type: "array", items: text }),
      "is array and was object",
    ],
  ])("is %s", (_, before, after, said) => {
    expect(breakingChanges(before, after)).toEqual([expect.stringContaining(said)]);
  });

  it.each<[string, Schema, Schema]>([
    ["a word that is no longer taken", words("a", "b"), words("a")],
    ["any text that becomes words", text, words("a")],
    ["a lower limit", { ...text, maxLength: 10 }, { ...text, maxLength: 9 }],
    ["a limit where there was none", text, { ...text, maxLength: 9 }],
    ["a higher least", { ...number, minimum: 1 }, { ...number, minimum: 2 }],
    ["a pattern", text, { ...text, pattern: "^a$" }],
    ["a form that is gone", { oneOf: [kind("a"), kind("b")] }, { oneOf: [kind("a")] }],
    ["a form that wants more", { oneOf: [kind("a"), kind("b")] }, { oneOf: [kind("a"), kind("b", { c: text })] }],
    ["elements that want more", { type: "array", items: object({}) }, { type: "array", items: object({ b: text }) }],
    [
      "a map of something else",
      { type: "object", additionalProperties: text },
      { type: "object", additionalProperties: number },
    ],
    ["an object that was open", { type: "object", properties: {} }, object({})],
  ])("is %s in the input", (_, before, after) => {
    expect(changed(before, after).input).toHaveLength(1);
  });

  it.each<[string, Schema, Schema]>([
    ["another type", text, number],
    ["something deep that is gone", object({ b: object({ c: text }) }), object({ b: object({}) })],
    ["elements that have less", { type: "array", items: object({ b: text }) }, { type: "array", items: object({}) }],
    ["a form that has less", { oneOf: [kind("a", { c: text })] }, { oneOf: [kind("a")] }],
    ["words that become anything", words("a"), text],
  ])("is %s in the answer", (_, before, after) => {
    expect(changed(before, after).output).toHaveLength(1);
  });
});

describe("what breaks nobody", () => {
  it.each<[string, Schema, Schema]>([
    ["a new word", words("a"), words("a", "b")],
    ["words that become any text", words("a"), text],
    ["a higher limit", { ...text, maxLength: 9 }, { ...text, maxLength: 10 }],
    ["a limit that is gone", { ...number, minimum: 1 }, number],
    ["a member that may be left out", object({ b: text }), object({ b: text, c: text }, ["b"])],
    ["a member that need not be given any more", object({ b: text }), object({ b: text }, [])],
    ["one more form", { oneOf: [kind("a")] }, { oneOf: [kind("a"), kind("b")] }],
    ["one form that becomes one of two", kind("a"), { oneOf: [kind("a"), kind("b")] }],
    ["anything at all", text, {}],
  ])("is %s in the input", (_, before, after) => {
    expect(changed(before, after).input).toEqual([]);
  });

  it.each<[string, Schema, Schema]>([
    ["a new member", object({ b: text }), object({ b: text, c: text })],
    ["a new word", words("a"), words("a", "b")],
    ["a word less", words("a", "b"), words("a")],
    ["a member that is always there now", object({ b: text }, []), object({ b: text })],
    ["another limit", { ...text, maxLength: 9 }, { ...text, maxLength: 99 }],
    ["one more form", { oneOf: [kind("a")] }, { oneOf: [kind("a"), kind("b")] }],
  ])("is %s in the answer", (_, before, after) => {
    expect(changed(before, after).output).toEqual([]);
  });

  it("is a new route, or a login that is no longer wanted", () => {
    const more = { ...api({}), paths: { ...api({}).paths, "/v1/y": {} } };
    expect(breakingChanges(api({}), more)).toEqual([]);
    expect(breakingChanges(api({}, {}, { security: [{ session: [] }] }), api({}, {}))).toEqual([]);
  });
});
