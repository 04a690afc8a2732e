// The one way a function of ours is made: Node 24 on arm64, the statements of its principal, its own log and nothing more.
// Never `link`: it grants dynamodb:* on the whole table. What runs by the clock converges from wherever the last run stopped,
// so that a repeat is harmless; SST retries nothing unless told to.
import type { Principal } from "@sallyport/core/permission";
import { functionName, type Ground, place } from "./deployment";
import { inlinePolicies } from "./grant";

const trust = aws.iam.assumeRolePolicyForPrincipal({ Service: "lambda.amazonaws.com" });

type Settings = Pick<sst.aws.FunctionArgs, "description" | "timeout" | "environment" | "vpc"> & {
  /** By the clock, at this rate. What fails for good goes to the dead letters. */
  readonly every?: string;
};

/** Ways to keys that a function never goes: Lambda puts them into its environment. Left out, they are a tenth of a bundle. */
const otherKeys = ["sso", "ini", "process", "web-identity"].map((way) => `@aws-sdk/credential-provider-${way}`);

const interfaces = [
  "ec2:CreateNetworkInterface",
  "ec2:DescribeNetworkInterfaces",
  "ec2:DescribeSubnets",
  "ec2:DeleteNetworkInterface",
  "ec2:AssignPrivateIpAddresses",
  "ec2:UnassignPrivateIpAddresses",
];

/** What Lambda needs of the role: the function's own log, where to leave what failed and, inside a network, interfaces there, which the code itself may not use. */
const runtime = (name: string, { letters }: Ground, { every, vpc }: Settings) =>
  $util.all([place(), letters.arn]).apply(([{ arn }, lettersArn]) => [
    {
      actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
      resources: [arn("logs", `log-group:/aws/lambda/${name}:*`)],
    },
    ...(every === undefined ? [] : [{ actions: ["sqs:SendMessage"], resources: [lettersArn] }]),
    ...(vpc !== undefined
      ? [
          { actions: interfaces, resources: ["*"] },
          {
            effect: "Deny" as const,
            actions: interfaces,
            resources: ["*"],
            conditions: { ArnEquals: { "lambda:SourceFunctionArn": arn("lambda", `function:${name}`) } },
          },
        ]
      : []),
  ]);

export const logicalName = (principal: string): string => principal.charAt(0).toUpperCase() + principal.slice(1);

/** Runs it at the rate, tries twice more whether delivery or the function failed, then leaves the event in the queue. */
const schedule = (principal: string, rate: string, job: sst.aws.Function, { letters }: Ground): void => {
  new sst.aws.CronV2(`${logicalName(principal)}Schedule`, {
    schedule: `rate(${rate})`,
    function: job.arn,
    retries: 2,
    dlq: letters.arn,
  });
  // the scheduler only hands the event over; what comes of it is Lambda's to retry
  new aws.lambda.FunctionEventInvokeConfig(`${logicalName(principal)}Retries`, {
    functionName: job.name,
    maximumRetryAttempts: 2,
    maximumEventAgeInSeconds: 300,
    destinationConfig: { onFailure: { destination: letters.arn } },
  });
};

/** `principal` names the function, its file in functions/ and its statements. */
export const lambda = (principal: Exclude<Principal, "proxy">, ground: Ground, settings: Settings) => {
  const name = functionName(principal);
  const { every, ...rest } = settings;
  const made = new sst.aws.Function(logicalName(principal), {
    name,
    handler: `functions/${principal}.handler`,
    runtime: "nodejs24.x",
    // names of functions are for stack traces only; keeping them is a twentieth of a bundle
    nodejs: { esbuild: { keepNames: false, external: otherKeys } },
    architecture: "arm64",
    logging: { retention: "3 months" },
    ...rest,
    transform: {
      role: (args) => {
        // SST lets the whole account assume a function's role, which is meant for its live mode only
        args.assumeRolePolicy = trust;
        args.inlinePolicies = inlinePolicies(principal, ground, runtime(name, ground, settings));
        args.managedPolicyArns = [];
      },
    },
  });
  if (every !== undefined) schedule(principal, every, made, ground);
  return made;
};
