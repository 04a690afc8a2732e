// What the stacks would create, from evaluating them offline: names are matched as the stacks write them, never by the
// random suffix SST adds.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { kindNames } from "@sallyport/core/database";
import { type Statement, statementsFor } from "@sallyport/core/permission";
import { beforeAll, describe, expect, it } from "vitest";
import { type Graph, type Resource, type Stage, stages } from "./graph.ts";

const root = resolve(import.meta.dirname, "../..");
const functions = ["api", "bootstrap", "discover", "sweep"] as const;
const region = "us-east-1";
const account = "111122223333";

const run = promisify(execFile);
const graphs = new Map<Stage, Graph>();

/** In a child process of its own, because SST and Pulumi live in globals. */
const evaluate = async (stage: Stage): Promise<Graph> => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-stacks-"));
  try {
    await run(process.execPath, [join(import.meta.dirname, "evaluate.ts"), stage, folder], { timeout: 60_000 });
    return JSON.parse(await readFile(join(folder, "graph.json"), "utf8"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

beforeAll(async () => {
  for (const stage of stages) graphs.set(stage, await evaluate(stage));
}, 90_000);

const graph = (stage: Stage): Graph => graphs.get(stage) ?? expect.unreachable(`${stage} was not evaluated`);

const all = (stage: Stage, type: string): readonly Resource[] =>
  graph(stage).resources.filter((resource) => resource.type === type);

const one = (stage: Stage, type: string, name: string): Resource["inputs"] => {
  const [found, ...others] = all(stage, type).filter((resource) => resource.name === name);
  if (found === undefined || others.length > 0) throw new Error(`${stage}: not exactly one ${type} named ${name}`);
  return found.inputs;
};

const logical = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

interface Policy {
  readonly Statement: readonly {
    readonly Effect: string;
    readonly Action: readonly string[];
    readonly Resource: readonly string[];
    readonly Condition?: Statement["conditions"];
  }[];
}

const parsed = (policy: unknown): Policy => (typeof policy === "string" ? JSON.parse(policy) : (policy as Policy));

const inline = (inputs: Resource["inputs"]): readonly Policy[] =>
  ((inputs["inlinePolicies"] ?? []) as readonly { readonly policy: unknown }[]).map(({ policy }) => parsed(policy));

const asPolicy = (statements: readonly Statement[]): Policy => ({
  Statement: statements.map(({ actions, resources, conditions }) => ({
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
  })),
});

it("type-checks", async () => {
  const tsc = await run(join(root, "node_modules/.bin/tsc"), ["-p", "stacks"], { cwd: root });
  expect(tsc.stdout).toBe("");
});

describe.each(stages)("stage %s", (stage) => {
  it("builds the handler of every function, and no other", () => {
    const handlers = functions.map((name) => `functions/${name}.handler`);
    expect([...graph(stage).handlers].sort()).toEqual(handlers.sort());
  });

  it.each(functions)("runs %s on Node 24 and arm64, by a name the others can know", (name) => {
    expect(one(stage, "aws:lambda/function:Function", `${logical(name)}Function`)).toMatchObject({
      name: `sallyport-${stage}-${name}`,
      runtime: "nodejs24.x",
      architectures: ["arm64"],
      environment: { variables: { SALLYPORT_TABLE: expect.stringContaining("TableTable") } },
    });
  });

  it("tells the API and bootstrap where they are reached, and the API which function discovers", () => {
    const settings = (name: string) => one(stage, "aws:lambda/function:Function", name)["environment"];
    const SALLYPORT_API_URL = expect.stringMatching(/^https:\/\//);
    const SALLYPORT_DISCOVER_FUNCTION = `sallyport-${stage}-discover`;
    expect(settings("ApiFunction")).toMatchObject({ variables: { SALLYPORT_API_URL, SALLYPORT_DISCOVER_FUNCTION } });
    expect(settings("BootstrapFunction")).toMatchObject({ variables: { SALLYPORT_API_URL } });
  });

  it.each(functions)("grants %s exactly what core/permission says", (name) => {
    const deployment = {
      partition: "aws",
      account,
      region,
      tableArn: `arn:aws:dynamodb:${region}:${account}:table/TableTable`,
      discoverArn: `arn:aws:lambda:${region}:${account}:function:sallyport-${stage}-discover`,
      secretPrefix: `sallyport/${stage}`,
      assumable: [],
    };
    const role = one(stage, "aws:iam/role:Role", `${logical(name)}Role`);
    const { Statement } = asPolicy(statementsFor(name, deployment, kindNames));
    expect(inline(role).map((policy) => policy.Statement)).toEqual([Statement]);
    expect(role["managedPolicyArns"]).toEqual(["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]);
  });

  it.each(functions)("lets nobody but Lambda assume the role of %s", (name) => {
    const { Statement } = parsed(one(stage, "aws:iam/role:Role", `${logical(name)}Role`)["assumeRolePolicy"]);
    expect(Statement.map((statement) => ({ ...statement, Sid: undefined }))).toEqual([
      { Effect: "Allow", Action: "sts:AssumeRole", Principal: { Service: "lambda.amazonaws.com" } },
    ]);
  });

  it("grants no action by wildcard and no whole service", () => {
    const policies = all(stage, "aws:iam/role:Role").flatMap((role) => inline(role.inputs));
    const attached = all(stage, "aws:iam/rolePolicy:RolePolicy").map((policy) => parsed(policy.inputs["policy"]));
    const actions = [...policies, ...attached].flatMap(({ Statement }) => Statement.flatMap(({ Action }) => Action));
    expect(actions.length).toBeGreaterThan(functions.length);
    expect(actions.filter((action) => action.includes("*"))).toEqual([]);
  });

  it.each([
    ["discover", "rate(5 minutes)"],
    ["sweep", "rate(1 minute)"],
  ])("runs %s at %s and retries", (name, expression) => {
    expect(one(stage, "aws:scheduler/schedule:Schedule", `${logical(name)}ScheduleSchedule`)).toMatchObject({
      scheduleExpression: expression,
      state: "ENABLED",
      target: {
        arn: expect.stringMatching(new RegExp(`:${logical(name)}Function$`)),
        retryPolicy: { maximumRetryAttempts: 2 },
      },
    });
  });

  it("keeps one table with pk and sk, TTL on ttl and point-in-time recovery", () => {
    expect(all(stage, "aws:dynamodb/table:Table").map(({ inputs }) => inputs)).toEqual([
      expect.objectContaining({
        attributes: [
          { name: "pk", type: "S" },
          { name: "sk", type: "S" },
        ],
        hashKey: "pk",
        rangeKey: "sk",
        ttl: { attributeName: "ttl", enabled: true },
        pointInTimeRecovery: { enabled: true },
        globalSecondaryIndexes: [],
        deletionProtectionEnabled: stage === "production",
      }),
    ]);
  });

  it("S-12 lets API Gateway invoke the API alone; bootstrap is reached through IAM only", () => {
    const permitted = all(stage, "aws:lambda/permission:Permission").map(({ inputs }) => inputs);
    expect(permitted).toEqual([
      expect.objectContaining({
        function: expect.stringMatching(/:ApiFunction$/),
        principal: "apigateway.amazonaws.com",
      }),
    ]);
    expect(all(stage, "aws:lambda/functionUrl:FunctionUrl")).toEqual([]);
    const targets = all(stage, "aws:apigatewayv2/integration:Integration").map((made) => made.inputs["integrationUri"]);
    expect(targets).toEqual([expect.stringMatching(/:ApiFunction$/)]);
  });

  it("answers no other site's scripts and limits the rate of requests", () => {
    expect(one(stage, "aws:apigatewayv2/api:Api", "GatewayApi")["corsConfiguration"]).toEqual({});
    expect(one(stage, "aws:apigatewayv2/stage:Stage", "GatewayStage")).toMatchObject({
      defaultRouteSettings: { throttlingRateLimit: expect.any(Number) },
    });
  });
});

it("keeps what production removes, and asks before it removes production", () => {
  expect(graph("production").app).toMatchObject({ removal: "retain", protect: true });
  expect(graph("dev").app).toMatchObject({ removal: "remove", protect: false });
});
