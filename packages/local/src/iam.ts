// IAM policy evaluation: does any allow statement cover this action on this resource in this context?
// Rule: fail closed. An operator or condition key this file does not know is an error, never a match; an absent value matches only
// where IAM says so. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
import type { Statement } from "@sallyport/core/permission";

/** A context value no condition can hold for: the request reaches more than any list of values could say (a table scan). */
export const unbounded: unique symbol = Symbol("unbounded");

export type Context = Readonly<Record<string, string | readonly string[] | typeof unbounded | undefined>>;

/** One permission a request needs. `trusted`: the resource's own policy has already said yes, so it may be another account's. */
export interface Need {
  readonly action: string;
  readonly resource: string;
  readonly context?: Context;
  readonly trusted?: true;
}

/** True when one statement allows it: actions, resource and every condition. */
export function allows(statements: readonly Statement[], need: Need): boolean {
  const context = lookUp(need.context ?? {});
  return statements.some(
    (statement) =>
      statement.actions.some((pattern) => matches(pattern.toLowerCase(), need.action.toLowerCase())) &&
      statement.resources.some((pattern) => {
        const filled = fill(pattern, context);
        return filled !== undefined && (filled === "*" || matchesArn(filled, need.resource));
      }) &&
      conditionsHold(statement.conditions ?? {}, context),
  );
}

/** Condition keys are case-insensitive. */
export const lookUp = (context: Context): ReadonlyMap<string, Context[string]> =>
  new Map(Object.entries(context).map(([key, value]): [string, Context[string]] => [key.toLowerCase(), value]));

/** Every key under every operator must hold. Exported for trust policies, which have conditions of their own. */
export function conditionsHold(
  conditions: NonNullable<Statement["conditions"]>,
  context: ReadonlyMap<string, Context[string]>,
): boolean {
  return Object.entries(conditions).every(([operator, keys]) => {
    const test = operatorOf(operator);
    return Object.entries(keys).every(([key, wanted]) => {
      if (!knownKeys.test(key)) throw new Error(`the laptop account does not know the condition key ${key}`);
      const value = context.get(key.toLowerCase());
      if (value === unbounded) return false;
      const patterns = [wanted].flat().map((pattern) => fill(pattern, context));
      const filled = patterns.filter((pattern) => pattern !== undefined);
      return filled.length === patterns.length && test(value === undefined ? undefined : [value].flat(), filled);
    });
  });
}

// Keys that some operation here provides. A policy that leans on another would be judged on a value nobody sets.
const knownKeys = new RegExp(
  `^(${[
    "aws:(principalarn|principalaccount|principaltag/.+|requesttag/.+|resourcetag/.+|tagkeys|sourceidentity|requestedregion|username|userid)",
    "iam:resourcetag/.+",
    "sts:(externalid|rolesessionname|sourceidentity|transitivetagkeys)",
    "dynamodb:(leadingkeys|select|returnvalues)",
    "s3:(if-none-match|objectcreationoperation|prefix)",
    "secretsmanager:(name|secretid|versionid|versionstage|resourcetag/.+)",
    "(elasticache|memorydb):userauthenticationmode",
    "kms:(keyspec|keyusage|messagetype|requestalias|resourcealiases|signingalgorithm|viaservice|encryptioncontext:secretarn)",
  ].join("|")})$`,
  "i",
);

type Test = (values: readonly string[] | undefined, patterns: readonly string[]) => boolean;
type Compare = (value: string, pattern: string) => boolean;

const compares: Readonly<Record<string, Compare>> = {
  stringequals: (value, pattern) => value === plain(pattern),
  stringequalsignorecase: (value, pattern) => value.toLowerCase() === plain(pattern).toLowerCase(),
  stringlike: (value, pattern) => matches(pattern, value),
  arnlike: (value, pattern) => matchesArn(pattern, value),
  arnequals: (value, pattern) => matchesArn(pattern, value),
  bool: (value, pattern) => value.toLowerCase() === pattern.toLowerCase(),
};
const negated: Readonly<Record<string, Compare>> = {
  stringnotequals: (value, pattern) => value === plain(pattern),
  stringnotequalsignorecase: (value, pattern) => value.toLowerCase() === plain(pattern).toLowerCase(),
  stringnotlike: (value, pattern) => matches(pattern, value),
  arnnotlike: (value, pattern) => matchesArn(pattern, value),
  arnnotequals: (value, pattern) => matchesArn(pattern, value),
};

function operatorOf(name: string): Test {
  const [, quantifier = "", plain = "", ifExists] =
    /^(?:(forallvalues|foranyvalue):)?(.*?)(ifexists)?$/.exec(name.toLowerCase()) ?? [];
  if (plain === "null" && !quantifier && !ifExists) {
    return (values, patterns) =>
      patterns.some((pattern) => (pattern === "true") === (values === undefined || values.length === 0));
  }
  const compare = Object.hasOwn(compares, plain) ? compares[plain] : undefined;
  const inverse = Object.hasOwn(negated, plain) ? negated[plain] : undefined;
  const used = compare ?? inverse;
  if (!used) throw new Error(`the laptop account does not know the condition operator ${name}`);
  const one = (value: string, patterns: readonly string[]) =>
    patterns.some((pattern) => used(value, pattern)) === (compare !== undefined);
  return (values, patterns) => {
    if (values === undefined || values.length === 0)
      return ifExists !== undefined || quantifier === "forallvalues" || (!quantifier && inverse !== undefined);
    if (quantifier === "forallvalues") return values.every((value) => one(value, patterns));
    if (quantifier === "foranyvalue") return values.some((value) => one(value, patterns));
    // A multi-valued key under a single-valued operator is a mistake in the policy; IAM leaves it undefined, we never match.
    return values.length === 1 && one(values[0] ?? "", patterns);
  };
}

/** Policy variables: `${aws:PrincipalTag/team}`, and `${*}` `${?}` `${$}` for the characters themselves. Undefined: a variable has no value, so nothing matches. */
function fill(pattern: string, context: ReadonlyMap<string, Context[string]>): string | undefined {
  let missing = false;
  const filled = pattern.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    if (name === "*" || name === "?") return name === "*" ? literal.star : literal.mark;
    if (name === "$") return "$";
    const value = context.get(name.toLowerCase());
    if (typeof value !== "string") {
      missing = true;
      return "";
    }
    return value.replaceAll("*", literal.star).replaceAll("?", literal.mark);
  });
  return missing ? undefined : filled;
}

// Stand-ins for a literal * or ? that came from a variable, so that no value can widen a pattern.
const literal = { star: "\ue000", mark: "\ue001" } as const;
const plain = (pattern: string): string => pattern.replaceAll(literal.star, "*").replaceAll(literal.mark, "?");

/** ARNs match segment by segment, so a `*` never reaches across a colon before the resource part. */
export function matchesArn(pattern: string, arn: string): boolean {
  const [want, have] = [segments(pattern), segments(arn)];
  return want.length === 6 && have.length === 6 && want.every((part, at) => matches(part, have[at] ?? ""));
}

function segments(arn: string): readonly string[] {
  const parts = arn.split(":");
  return [...parts.slice(0, 5), ...(parts.length > 5 ? [parts.slice(5).join(":")] : [])];
}

/** `*` any run, `?` one character. Linear: it only ever goes back to the last star. */
export function matches(pattern: string, text: string): boolean {
  let [at, to, star, resume] = [0, 0, -1, 0];
  while (to < text.length) {
    const want = pattern[at];
    if (want === "*") {
      star = at++;
      resume = to;
    } else if (want !== undefined && (want === "?" || plain(want) === text[to])) {
      at++;
      to++;
    } else if (star >= 0) {
      at = star + 1;
      to = ++resume;
    } else return false;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
