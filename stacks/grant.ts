// From core's statements to IAM's. A role holds those of its principal, what AWS itself needs to run it, and nothing else.
import { kindNames } from "@sallyport/core/database";
import { type Principal, type Statement, statementsFor } from "@sallyport/core/permission";
import { deployment, type Ground } from "./deployment";

interface Rule {
  readonly effect?: "Allow" | "Deny";
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditions?: Statement["conditions"];
}

const condition = (rule: Rule) =>
  rule.conditions && {
    Condition: Object.fromEntries(
      Object.entries(rule.conditions).map(([test, variables]) => [
        test,
        Object.fromEntries(Object.entries(variables).map(([variable, values]) => [variable, [values].flat()])),
      ]),
    ),
  };

/** A policy document; written out here, because a builder of them would read the variables of IAM as its own. */
export const policy = (rules: readonly Rule[]): string =>
  JSON.stringify({
    Version: "2012-10-17",
    Statement: rules.map((rule) => ({
      Effect: rule.effect ?? "Allow",
      Action: rule.actions,
      Resource: rule.resources,
      ...condition(rule),
    })),
  });

/** The inline policies of a principal's role: its statements, and `runtime`: what the service that runs it needs. */
export const inlinePolicies = (principal: Principal, ground: Ground, runtime: $util.Input<readonly Rule[]>) =>
  $util.all([deployment(ground), runtime]).apply(([facts, rules]) => {
    const statements = statementsFor(principal, facts, kindNames);
    return [
      ...(statements.length > 0 ? [{ name: "statements", policy: policy(statements) }] : []),
      ...(rules.length > 0 ? [{ name: "runtime", policy: policy(rules as readonly Rule[]) }] : []),
    ];
  });
