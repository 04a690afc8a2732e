// The one way a function of ours is made: Node 24 on arm64, the statements of its principal and no other.
// Never `link`: it grants dynamodb:* on the whole table.
import { kindNames } from "@sallyport/core/database";
import { type Principal, type Statement, statementsFor } from "@sallyport/core/permission";
import { deployment, functionName } from "./deployment";

const conditions = (statement: Statement) =>
  Object.entries(statement.conditions ?? {}).flatMap(([test, variables]) =>
    Object.entries(variables).map(([variable, values]) => ({ test, variable, values: [values].flat() })),
  );

const permissions = (principal: Principal, table: sst.aws.Dynamo) =>
  deployment(table).apply((facts) =>
    statementsFor(principal, facts, kindNames).map((statement) => ({
      actions: [...statement.actions],
      resources: [...statement.resources],
      conditions: conditions(statement),
    })),
  );

const trust = aws.iam.assumeRolePolicyForPrincipal({ Service: "lambda.amazonaws.com" });

type Settings = Pick<sst.aws.FunctionArgs, "description" | "timeout" | "memory" | "environment">;

/** `principal` names the function, its file in functions/ and its statements. */
export const lambda = (principal: Exclude<Principal, "proxy">, table: sst.aws.Dynamo, settings: Settings) =>
  new sst.aws.Function(principal.charAt(0).toUpperCase() + principal.slice(1), {
    name: functionName(principal),
    handler: `functions/${principal}.handler`,
    runtime: "nodejs24.x",
    architecture: "arm64",
    permissions: permissions(principal, table),
    // SST lets the whole account assume a function's role, which is meant for its live mode only.
    transform: { role: { assumeRolePolicy: trust } },
    ...settings,
    environment: { SALLYPORT_TABLE: table.name, ...settings.environment },
  });
