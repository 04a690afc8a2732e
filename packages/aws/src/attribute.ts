// DynamoDB's attribute values and what they stand for: JSON's own types, and nothing else is ever stored. Pure.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
import { Failure } from "@sallyport/core/failure";

type Members = Readonly<Record<string, unknown>>;

const isExact = (value: number): boolean =>
  Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));

/** @throws Failure `internal` for what would not come back as it was */
export const toAttribute = (value: unknown): Members => {
  if (typeof value === "string") return { S: value };
  if (typeof value === "number" && isExact(value)) return { N: String(value) };
  if (typeof value === "boolean") return { BOOL: value };
  if (value === null) return { NULL: true };
  if (Array.isArray(value)) return { L: value.filter((one) => one !== undefined).map(toAttribute) };
  if (typeof value === "object" && !ArrayBuffer.isView(value)) return { M: toAttributes(value as Members) };
  throw new Failure("internal", `a ${typeof value} can't be kept in the table`);
};

/** A map's members; those that are undefined are left out. */
export const toAttributes = (value: Members): Members => {
  const attributes: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value))
    if (member !== undefined) define(attributes, name, toAttribute(member));
  return attributes;
};

/** @throws Failure `internal` for a type or number that we never store */
export const fromAttribute = (attribute: unknown): unknown => {
  const [[type, value] = []] = Object.entries(attribute as Members);
  if (type === "S" || type === "BOOL") return value;
  if (type === "N") return numberOf(String(value));
  if (type === "M") return fromAttributes(value as Members);
  if (type === "L") return (value as readonly unknown[]).map(fromAttribute);
  if (type === "NULL") return null;
  throw new Failure("internal", `the table holds a value of type ${type}`);
};

export const fromAttributes = (attributes: Members): Members => {
  const value: Record<string, unknown> = {};
  for (const [name, attribute] of Object.entries(attributes)) define(value, name, fromAttribute(attribute));
  return value;
};

const numberOf = (text: string): number => {
  const value = Number(text);
  if (!isExact(value)) throw new Failure("internal", "the table holds a number that is not exact here");
  return value;
};

/** As a member of its own, whatever it is called: assigned, `__proto__` would be another thing. */
const define = (to: Record<string, unknown>, name: string, value: unknown): void => {
  if (name === "__proto__")
    Object.defineProperty(to, name, { value, enumerable: true, writable: true, configurable: true });
  else to[name] = value;
};
