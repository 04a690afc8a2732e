// Stands in for Pulumi's engine and AWS: keeps every resource as asked for and answers with the attributes AWS would give.
import type { Resource } from "./graph.ts";

const account = "111122223333";
const region = "us-east-1";

interface Call {
  readonly token: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}
interface Condition {
  readonly test: string;
  readonly variable: string;
  readonly values: readonly string[];
}
interface Statement {
  readonly effect?: string;
  readonly actions?: readonly string[];
  readonly resources?: readonly string[];
  readonly principals?: readonly { readonly type: string; readonly identifiers: readonly string[] }[];
  readonly conditions?: readonly Condition[];
}

/** The mark by which Pulumi wraps a secret value on the wire. */
const secretMark = "4dabf18193072939515e22adb298388d";

const plain = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  if (secretMark in value && "value" in value) return plain(value.value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
};

/** The outputs AWS computes, which other resources build their own inputs from. */
const attributes = ({ type, name, inputs }: Resource): Record<string, unknown> => {
  const service = type.split(":")[1]?.split("/")[0] ?? "";
  const arn =
    service === "iam" ? `arn:aws:iam::${account}:role/${name}` : `arn:aws:${service}:${region}:${account}:${name}`;
  const given = { arn, name: inputs["name"] ?? name };
  switch (type) {
    case "aws:apigatewayv2/api:Api":
      return {
        ...given,
        apiEndpoint: `https://api.execute-api.${region}.amazonaws.com`,
        executionArn: `arn:aws:execute-api:${region}:${account}:api`,
      };
    case "aws:lambda/function:Function":
      return { ...given, invokeArn: `arn:aws:apigateway:${region}:lambda:path/${name}/invocations` };
    case "aws:dynamodb/table:Table":
      return { ...given, arn: `arn:aws:dynamodb:${region}:${account}:table/${name}` };
    case "aws:s3/bucket:Bucket":
      return { ...given, arn: `arn:aws:s3:::${name.toLowerCase()}`, bucket: name.toLowerCase() };
    case "aws:lb/loadBalancer:LoadBalancer":
      return { ...given, dnsName: `${name}.elb.${region}.amazonaws.com`.toLowerCase(), arnSuffix: `net/${name}/1` };
    case "aws:lb/targetGroup:TargetGroup":
      return { ...given, arnSuffix: `targetgroup/${name}/1` };
    case "aws:sqs/queue:Queue":
      return { ...given, url: `https://sqs.${region}.amazonaws.com/${account}/${name}` };
    case "docker-build:index:Image":
      return { ...given, digest: `sha256:${"0".repeat(64)}` };
    default:
      return given;
  }
};

const conditionBlock = (conditions: readonly Condition[]): Record<string, Record<string, readonly string[]>> => {
  const block: Record<string, Record<string, readonly string[]>> = {};
  for (const { test, variable, values } of conditions) block[test] = { ...block[test], [variable]: values };
  return block;
};

/** Echoes a policy document whole; a mock that answered less would let an inline policy vanish without a word. */
const policyDocument = (inputs: Readonly<Record<string, unknown>>): Record<string, unknown> => {
  const statements = (inputs["statements"] ?? []) as readonly Statement[];
  const Statement = statements.map(({ effect, actions, resources, principals = [], conditions = [] }) => ({
    Effect: effect ?? "Allow",
    Action: actions,
    Resource: resources,
    ...(principals.length > 0 && {
      Principal: Object.fromEntries(principals.map(({ type, identifiers }) => [type, identifiers])),
    }),
    ...(conditions.length > 0 && { Condition: conditionBlock(conditions) }),
  }));
  return { ...inputs, json: JSON.stringify({ Version: "2012-10-17", Statement }) };
};

/** Mocks for `pulumi.runtime.setMocks`, which write what they see into `resources`. */
export const engine = (resources: Resource[]) => ({
  newResource(resource: Resource) {
    const { type, name } = resource;
    resources.push({ type, name, inputs: plain(resource.inputs) as Resource["inputs"] });
    return { id: `${name}-id`, state: { ...resource.inputs, ...attributes(resource) } };
  },
  call({ token, inputs }: Call): Record<string, unknown> {
    switch (token) {
      case "aws:index/getRegion:getRegion":
        return { region, name: region, id: region };
      case "aws:index/getCallerIdentity:getCallerIdentity":
        return { accountId: account, arn: `arn:aws:iam::${account}:root`, userId: "AIDATEST" };
      case "aws:index/getPartition:getPartition":
        return { partition: "aws", dnsSuffix: "amazonaws.com" };
      case "aws:iam/getPolicyDocument:getPolicyDocument":
        return policyDocument(inputs);
      case "aws:index/getAvailabilityZones:getAvailabilityZones":
        // Local Zones come first by their names, and are left out only by whoever asks for that
        return {
          names: [...("filters" in inputs ? [] : ["-bos-1a"]), "a", "b", "c"].map((zone) => `${region}${zone}`),
        };
      case "aws:secretsmanager/getRandomPassword:getRandomPassword":
        return { randomPassword: "drawn" };
      case "aws:secretsmanager/getSecret:getSecret":
        return { arn: `arn:aws:secretsmanager:${region}:${account}:secret:${String(inputs["name"])}-abcdef` };
      case "aws:ecr/getAuthorizationToken:getAuthorizationToken":
        return { userName: "AWS", password: "drawn", proxyEndpoint: bootstrap.assetEcrUrl };
      default:
        throw new Error(`the stacks call ${token}, which test/stacks/engine.ts does not answer yet`);
    }
  },
});

/** What SST asks its own server about the account before it creates anything. */
export const bootstrap = {
  asset: "sst-asset-test",
  assetEcrRegistryId: account,
  assetEcrUrl: `${account}.dkr.ecr.${region}.amazonaws.com/sst-asset`,
  state: "sst-state-test",
};
