// Does a decoded value fit its schema? The SDK's readers trust a service's answers; here they read a stranger's request.
import type { NormalizedSchema } from "@smithy/core/schema";
import { Refusal } from "../refusal.ts";
import { requiredMembers } from "./model.ts";

const depthLimit = 24;

/** Throws a Refusal naming the first member that is missing or of the wrong type. */
export function checkShape(schema: NormalizedSchema, value: unknown, path = "", depth = 0): void {
  if (depth > depthLimit) throw wrong(path, "nested less deeply");
  if (schema.isUnitSchema() || schema.isDocumentSchema()) return;
  if (schema.isStructSchema()) {
    const members = record(value, path);
    const required = requiredMembers(schema);
    for (const [name, member] of schema.structIterator()) {
      const at = path ? `${path}.${name}` : name;
      const given = members[name];
      if (given !== undefined && given !== null) checkShape(member, given, at, depth + 1);
      else if (required.includes(name)) throw missing(at);
    }
  } else if (schema.isListSchema()) {
    if (!Array.isArray(value)) throw wrong(path, "a list");
    value.forEach((item, at) => {
      checkShape(schema.getValueSchema(), item, `${path}.${at + 1}.member`, depth + 1);
    });
  } else if (schema.isMapSchema()) {
    for (const [key, item] of Object.entries(record(value, path)))
      checkShape(schema.getValueSchema(), item, `${path}.${key}`, depth + 1);
  } else checkScalar(schema, value, path);
}

function checkScalar(schema: NormalizedSchema, value: unknown, path: string): void {
  if (schema.isBlobSchema()) {
    if (!(value instanceof Uint8Array)) throw wrong(path, "a blob");
  } else if (schema.isTimestampSchema()) {
    if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw wrong(path, "a timestamp");
  } else if (schema.isBooleanSchema()) {
    if (typeof value !== "boolean") throw wrong(path, "a boolean");
  } else if (schema.isBigIntegerSchema()) {
    if (typeof value !== "bigint") throw wrong(path, "an integer");
  } else if (schema.isNumericSchema()) {
    if (typeof value !== "number" || !Number.isFinite(value)) throw wrong(path, "a number");
  } else if (schema.isStringSchema()) {
    // A string whose media type is JSON arrives as a String object.
    if (typeof value !== "string" && !(value instanceof String)) throw wrong(path, "a string");
  }
}

function record(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(path, "a structure");
  return value as Readonly<Record<string, unknown>>;
}

const wrong = (path: string, what: string): Refusal =>
  new Refusal("SerializationException", `${path || "the input"} must be ${what}`, 400);

const missing = (path: string): Refusal => {
  const member = path.replace(/(^|\.)(\w)/g, (_, dot: string, first: string) => dot + first.toLowerCase());
  return new Refusal(
    "ValidationError",
    `1 validation error detected: Value null at '${member}' failed to satisfy constraint: Member must not be null`,
    400,
  );
};
