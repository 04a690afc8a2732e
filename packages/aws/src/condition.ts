// Conditions and updates of the Store port as DynamoDB's expressions. Pure.
// Rule: every name and value goes in by placeholder, so that nothing stored can be read as an expression.
import { itemVersion } from "@sallyport/core/family";
import type { Change, Condition } from "@sallyport/core/ports";

/** Placeholders handed out so far; one per expression's request. */
const openNames = () => {
  const names: Record<string, string> = {};
  const values: Record<string, unknown> = {};
  return {
    name(attribute: string): string {
      const known = Object.keys(names).find((placeholder) => names[placeholder] === attribute);
      const placeholder = known ?? `#n${Object.keys(names).length}`;
      names[placeholder] = attribute;
      return placeholder;
    },
    value(value: unknown): string {
      const placeholder = `:v${Object.keys(values).length}`;
      values[placeholder] = value;
      return placeholder;
    },
    /** As the request wants them: left out when there are none. */
    request: () => ({
      ...(Object.keys(names).length > 0 && { ExpressionAttributeNames: names }),
      ...(Object.keys(values).length > 0 && { ExpressionAttributeValues: values }),
    }),
  };
};
type Names = ReturnType<typeof openNames>;

const conditionText = (condition: Condition, names: Names): string => {
  const { absent, present, equals, below = {} } = condition;
  const parts: string[] = [];
  if (absent) parts.push(`attribute_not_exists(${names.name("pk")})`);
  // what equals something is there, even when nothing is compared
  if (present || equals) parts.push(`attribute_exists(${names.name("pk")})`);
  for (const [attribute, value] of Object.entries(equals ?? {}))
    parts.push(`${names.name(attribute)} = ${names.value(value)}`);
  for (const [attribute, bound] of Object.entries(below)) {
    const isBelow = `${names.name(attribute)} < ${names.value(bound)}`;
    // a counter that is missing counts as 0, which is not below 0
    parts.push(bound > 0 ? `(attribute_not_exists(${names.name(attribute)}) OR ${isBelow})` : isBelow);
  }
  return parts.join(" AND ");
};

const updateText = (change: Extract<Change, { update: unknown }>, names: Names): string => {
  const set = Object.entries(change.set ?? {}).filter(([, value]) => value !== undefined);
  const sets = set.map(([attribute, value]) => `${names.name(attribute)} = ${names.value(value)}`);
  const version = names.name("v");
  if (!set.some(([attribute]) => attribute === "v"))
    sets.push(`${version} = if_not_exists(${version}, ${names.value(itemVersion)})`);
  const adds = Object.entries(change.add ?? {}).map(([attribute, by]) => `${names.name(attribute)} ${names.value(by)}`);
  return [`SET ${sets.join(", ")}`, ...(adds.length > 0 ? [`ADD ${adds.join(", ")}`] : [])].join(" ");
};

/** The part of a request that makes this change to `TableName`, with its condition. */
export const requestOf = (change: Change, TableName: string) => {
  const names = openNames();
  const condition = change.if && conditionText(change.if, names);
  const conditional = condition ? { ConditionExpression: condition } : {};
  if ("put" in change) return { put: { TableName, Item: { ...change.put }, ...conditional, ...names.request() } };
  if ("remove" in change)
    return { remove: { TableName, Key: keyOf(change.remove), ...conditional, ...names.request() } };
  const UpdateExpression = updateText(change, names);
  return { update: { TableName, Key: keyOf(change.update), UpdateExpression, ...conditional, ...names.request() } };
};

/** Only the key's members: a whole item passes as a Key. */
const keyOf = ({ pk, sk }: { readonly pk: string; readonly sk: string }) => ({ pk, sk });
