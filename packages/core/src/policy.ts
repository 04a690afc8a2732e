// Statements as IAM's own documents, each within AWS's limits. What is granted by all parts of a split together is exactly what
// the statements say. Pure.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
import { Failure } from "./failure.ts";
import type { Statement } from "./permission.ts";

interface PolicyStatement {
  readonly Effect: "Allow";
  readonly Principal?: { readonly AWS: readonly string[] };
  readonly Action: readonly string[];
  readonly Resource?: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}
export interface PolicyDocument {
  readonly Version: "2012-10-17";
  readonly Statement: readonly PolicyStatement[];
}

/** Where a policy is put, and how many characters, without whitespace, fit there. All inline policies of one user or role count together. */
export const places = {
  user: { limit: 2_048, inline: true },
  role: { limit: 10_240, inline: true },
  managed: { limit: 6_144, inline: false },
} as const;
export type Place = keyof typeof places;

/** As AWS counts. */
export const sizeOf = (document: PolicyDocument): number => JSON.stringify(document).replace(/\s/g, "").length;

const statementOf = ({ actions, resources, conditions }: Statement): PolicyStatement => ({
  Effect: "Allow",
  Action: actions,
  Resource: resources,
  ...(conditions && {
    Condition: Object.fromEntries(
      Object.entries(conditions).map(([test, variables]) => [
        test,
        Object.fromEntries(Object.entries(variables).map(([variable, values]) => [variable, [values].flat()])),
      ]),
    ),
  }),
});

export const documentOf = (statements: readonly Statement[]): PolicyDocument => ({
  Version: "2012-10-17",
  Statement: statements.map(statementOf),
});

const fits = (statements: readonly Statement[], limit: number): boolean => sizeOf(documentOf(statements)) <= limit;

/** A statement that is too long by itself, in halves: of its resources, then of its actions. A list of values of a condition stays whole. @throws Failure `too_large` */
const halve = (statement: Statement, limit: number): readonly Statement[] => {
  if (fits([statement], limit)) return [statement];
  const part = statement.resources.length > 1 ? "resources" : "actions";
  const values = statement[part];
  if (values.length < 2)
    throw new Failure("too_large", `a statement on ${values.join()} does not fit into ${limit} characters`);
  const middle = Math.ceil(values.length / 2);
  return [values.slice(0, middle), values.slice(middle)].flatMap((half) =>
    halve({ ...statement, [part]: half }, limit),
  );
};

/** As few documents as the statements in their order fill, each within the limit. @throws Failure `too_large` */
export const splitPolicy = (statements: readonly Statement[], limit: number): readonly PolicyDocument[] => {
  const parts: Statement[][] = [];
  for (const statement of statements.flatMap((one) => halve(one, limit))) {
    const last = parts.at(-1);
    if (last && fits([...last, statement], limit)) last.push(statement);
    else parts.push([statement]);
  }
  return parts.map(documentOf);
};

/** The trust policy of a role that these principals may assume, with this external id where one is agreed on. */
export const trustDocument = (principals: readonly string[], externalId?: string): PolicyDocument => ({
  Version: "2012-10-17",
  Statement: [
    {
      Effect: "Allow",
      Principal: { AWS: principals },
      Action: ["sts:AssumeRole"],
      ...(externalId !== undefined && { Condition: { StringEquals: { "sts:ExternalId": [literal(externalId)] } } }),
    },
  ],
});

/** Text that IAM must not read as a wildcard or a variable. */
export const literal = (text: string): string => text.replace(/[*?$]/g, (character) => `\${${character}}`);
