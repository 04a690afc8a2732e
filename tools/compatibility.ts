// Does a client of the API as it was still get along with the API as it is? What a client sends must still be taken, and what it
// reads must still be there. Pure. New routes, new optional input and new members of answers are no trouble; neither is a new
// word where an answer has one of several, which clients must expect.
import type { OpenApi, Operation, Schema } from "./contract.ts";

type Side = "input" | "output";
type Compare = (before: Schema, after: Schema, side: Side, at: string) => readonly string[];

const listed = (schema: Schema): readonly unknown[] | undefined =>
  schema.enum ?? (Object.hasOwn(schema, "const") ? [schema.const] : undefined);
const branchesOf = ({ anyOf, oneOf }: Schema): readonly Schema[] | undefined => anyOf ?? oneOf;
const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

/** The words that a value may be: a client still sends the old ones. */
const compareWords: Compare = (before, after, side, at) => {
  const [old, fresh] = [listed(before), listed(after)];
  if (side === "output") return old && !fresh ? [`${at}: may be anything now`] : [];
  if (!fresh) return [];
  if (!old) return [`${at}: is one of a few words now`];
  return old.filter((word) => !fresh.includes(word)).map((word) => `${at}: ${JSON.stringify(word)} is no longer taken`);
};

const upper = ["maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties"];
const lower = ["minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties"];

/** Limits of what is taken: they may only widen. */
const compareLimits: Compare = (before, after, side, at) => {
  if (side === "output") return [];
  const tighter = (keyword: string, sign: 1 | -1): boolean => {
    const [old, fresh] = [before[keyword], after[keyword]];
    return typeof fresh === "number" && (typeof old !== "number" || (fresh - old) * sign < 0);
  };
  return [
    ...[...upper.filter((keyword) => tighter(keyword, 1)), ...lower.filter((keyword) => tighter(keyword, -1))],
    ...["pattern", "format"].filter(
      (keyword) => after[keyword] !== undefined && !same(before[keyword], after[keyword]),
    ),
  ].map((keyword) => `${at}: its ${keyword} is stricter`);
};

const compareMembers: Compare = (before, after, side, at) => {
  const [old, fresh] = [before.properties ?? {}, after.properties ?? {}];
  const [oldRequired, freshRequired] = [before.required ?? [], after.required ?? []];
  const open = ({ additionalProperties }: Schema) => additionalProperties !== false;
  return [
    ...Object.keys(old)
      .filter((name) => !Object.hasOwn(fresh, name) && (side === "output" || !open(after)))
      .map((name) => `${at}.${name}: is gone`),
    ...(side === "input"
      ? freshRequired.filter((name) => !oldRequired.includes(name)).map((name) => `${at}.${name}: is required now`)
      : oldRequired
          .filter((name) => Object.hasOwn(fresh, name) && !freshRequired.includes(name))
          .map((name) => `${at}.${name}: may be missing now`)),
    ...(side === "input" && open(before) && !open(after) ? [`${at}: takes no other members now`] : []),
    ...Object.entries(old).flatMap(([name, schema]) => {
      const next = Object.hasOwn(fresh, name) ? fresh[name] : undefined;
      return next ? compareSchemas(schema, next, side, `${at}.${name}`) : [];
    }),
    ...(typeof before.additionalProperties === "object" && typeof after.additionalProperties === "object"
      ? compareSchemas(before.additionalProperties, after.additionalProperties, side, `${at}.*`)
      : []),
  ];
};

/** Each form a client sends must be taken as one of the new ones; each form of an answer must be one that it knew. */
const compareBranches: Compare = (before, after, side, at) => {
  const old = branchesOf(before) ?? [before];
  const fresh = branchesOf(after) ?? [after];
  const [each, others] = side === "input" ? [old, fresh] : [fresh, old];
  return each.flatMap((one, index) => {
    const tries = others.map((other) =>
      side === "input" ? compareSchemas(one, other, side, at) : compareSchemas(other, one, side, at),
    );
    if (tries.some((trouble) => trouble.length === 0)) return [];
    // a whole new form of an answer is told apart by a word of its own, which clients must expect
    if (side === "output" && fresh.length > old.length) return [];
    return tries[index] ?? [`${at}: one of its forms is no longer taken`];
  });
};

const compareSchemas: Compare = (before, after, side, at) => {
  if (branchesOf(before) || branchesOf(after)) return compareBranches(before, after, side, at);
  const anything = Object.keys(side === "input" ? after : before).length === 0;
  if (anything) return [];
  if (before.type !== undefined && after.type !== undefined && !same(before.type, after.type))
    return [`${at}: is ${String(after.type)} and was ${String(before.type)}`];
  return [
    ...compareWords(before, after, side, at),
    ...compareLimits(before, after, side, at),
    ...compareMembers(before, after, side, at),
    ...(before.items && after.items ? compareSchemas(before.items, after.items, side, `${at}[]`) : []),
  ];
};

/** Everything a request may hold, as one schema. */
const inputOf = ({ parameters = [], requestBody }: Operation): Schema => {
  const body = requestBody?.content["application/json"].schema ?? {};
  return {
    type: "object",
    additionalProperties: false,
    properties: { ...body.properties, ...Object.fromEntries(parameters.map(({ name, schema }) => [name, schema])) },
    required: [...(body.required ?? []), ...parameters.filter((one) => one.required).map(({ name }) => name)],
  };
};
const outputOf = ({ responses }: Operation): Schema => responses["200"]?.content["application/json"].schema ?? {};

/** What would break a client of `before`, one line each; empty when nothing does. */
export const breakingChanges = (before: OpenApi, after: OpenApi): readonly string[] =>
  Object.entries(before.paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([method, old]) => {
      const at = `${method.toUpperCase()} ${path}`;
      const fresh = after.paths[path]?.[method];
      if (!fresh) return [`${at}: is gone`];
      return [
        ...(old.security.length === 0 && fresh.security.length > 0 ? [`${at}: wants a login now`] : []),
        ...compareSchemas(inputOf(old), inputOf(fresh), "input", `${at} input`),
        ...compareSchemas(outputOf(old), outputOf(fresh), "output", `${at} output`),
      ];
    }),
  );
