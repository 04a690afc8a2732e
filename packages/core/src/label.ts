// Label selectors, as Teleport matches them: every key of the selector must exist on the database, `*` is
// "exists", a value is a literal, a glob, or a raw RE2 expression when it starts with ^ and ends with $. An empty selector
// matches nothing; {"*": "*"} matches everything, whatever stands beside it. RE2 (linear time), so a role can't make a
// decision hang.
import { RE2JS } from "re2js";
import { Failure } from "./failure.ts";

export type Labels = Readonly<Record<string, string>>;
export type LabelSelector = Readonly<Record<string, readonly string[]>>;
type Test = (value: string) => boolean;

const maxPattern = 1024;

/** Does `value` match a pattern in which each `*` stands for any run of characters? Greedy from the left, linear. */
const matchesGlob = (parts: readonly string[], value: string): boolean => {
  const first = parts[0] ?? "";
  const last = parts.at(-1) ?? "";
  if (value.length < first.length + last.length || !value.startsWith(first) || !value.endsWith(last)) return false;
  const end = value.length - last.length;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = value.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
};

/** @throws Failure `invalid` for a pattern over 1 kB or one that RE2 does not accept */
const compileValue = (pattern: string): Test => {
  if (pattern.length > maxPattern)
    throw new Failure("invalid", `label pattern is longer than ${maxPattern} characters`);
  if (pattern.startsWith("^") && pattern.endsWith("$")) {
    try {
      const compiled = RE2JS.compile(pattern);
      return (value) => compiled.matcher(value).find();
    } catch (cause) {
      throw new Failure("invalid", `label pattern ${JSON.stringify(pattern)} is not a regular expression`, {
        hint: "use RE2 syntax: no look-around, no back-references",
        cause,
      });
    }
  }
  if (!pattern.includes("*")) return (value) => value === pattern;
  const parts = pattern.split("*");
  return (value) => matchesGlob(parts, value);
};

/** A selector made ready to be asked many times. @throws Failure `invalid` when a pattern does not compile */
export const compileSelector = (selector: LabelSelector | undefined): ((labels: Labels) => boolean) => {
  const entries = Object.entries(selector ?? {});
  if (entries.length === 0) return () => false;
  const tests = entries.map(([key, patterns]): ((labels: Labels) => boolean) => {
    if (key === "*") {
      if (patterns.length === 1 && patterns[0] === "*") return () => true;
      throw new Failure("invalid", 'the label key "*" is only allowed with the value "*"');
    }
    const values = patterns.map(compileValue);
    return (labels) => {
      const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
      return value !== undefined && values.some((matches) => matches(value));
    };
  });
  // read so by Teleport: a deny of everything that also names a label denies everything
  if (Object.hasOwn(selector ?? {}, "*")) return () => true;
  return (labels) => tests.every((matches) => matches(labels));
};
