// What evaluating sst.config.ts for one case yields: every resource with the inputs it would be created with. Names are matched as
// the stacks write them, never by the random suffix SST adds.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";

export interface Resource {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

export interface Graph {
  readonly app: { readonly name: string; readonly removal?: string; readonly protect?: boolean };
  readonly resources: readonly Resource[];
  /** The handlers that were bundled, as the stacks name them, and what came of it. */
  readonly bundles: readonly { readonly handler: string; readonly file: string; readonly bytes: number }[];
}

export const region = "us-east-1";
export const account = "111122223333";

interface Case {
  readonly name: string;
  readonly stage: "dev" | "production";
  readonly settings: Readonly<Record<string, string>>;
}

const ours = {
  DEPLOY_VPC: "vpc-0a1b2c3d",
  DEPLOY_TASK_SUBNETS: "subnet-0a1, subnet-0a2",
  DEPLOY_BALANCER_SUBNETS: "subnet-0b1,subnet-0b2",
  DEPLOY_SECURITY_GROUPS: "sg-0123abcd",
};
const shapes = { open: {}, private: {}, bring: ours } as const;
const stages = ["dev", "production"] as const;

/** Every stage in every network shape. */
export const plain: readonly Case[] = stages.flatMap((stage) =>
  Object.entries(shapes).map(([shape, more]) => ({
    name: `${stage} ${shape}`,
    stage,
    settings: { DEPLOY_NETWORK: shape, ...more },
  })),
);
/** Everything else that may be chosen, in one. */
export const chosen: Case = {
  name: "chosen",
  stage: "production",
  settings: {
    DEPLOY_NETWORK: "private",
    DEPLOY_TRANSIT_GATEWAY: "tgw-0a1b",
    DEPLOY_ALLOW: "10.1.0.0/16",
    DEPLOY_CIDR: "10.99.16.0/20",
    DEPLOY_HOST: "db.example.com",
    DEPLOY_CERTIFICATE: "own",
    DEPLOY_PINS: `sha256/${"A".repeat(43)}=`,
    DEPLOY_TASKS: "3",
    DEPLOY_MOST_TASKS: "7",
    DEPLOY_AUDIT_DAYS: "30",
    DEPLOY_ASSUMABLE_ROLES: "arn:aws:iam::444455556666:role/sallyport",
    DEPLOY_CONNECT_TO: "db-*/reader, cluster-*/writer, replicationgroup:orders/app",
    DEPLOY_ENABLE_IAM_ON: "arn:aws:rds:us-east-1:111122223333:db:orders-*",
    DEPLOY_ROTATION_KEY: "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    DEPLOY_ALARM_EMAIL: "oncall@example.com",
  },
};
export const cases: readonly Case[] = [...plain, chosen];
export const names = cases.map(({ name }) => name);

declare module "vitest" {
  interface ProvidedContext {
    /** Where setup.ts left the graphs. */
    stacks: string;
  }
}

const read = new Map<string, Graph>();

export const folderOf = (name: string): string => name.replaceAll(" ", "-");

export const graph = (name: string): Graph => {
  const found =
    read.get(name) ?? (JSON.parse(readFileSync(join(inject("stacks"), folderOf(name), "graph.json"), "utf8")) as Graph);
  read.set(name, found);
  return found;
};

export const stageOf = (name: string): string => cases.find((one) => one.name === name)?.stage ?? "";

export const all = (name: string, type: string): readonly Resource[] =>
  graph(name).resources.filter((resource) => resource.type === type);

/** The inputs of the one resource of this type and name. @throws Error when there is none, or more */
export const one = (name: string, type: string, called: string): Resource["inputs"] => {
  const [found, ...others] = all(name, type).filter((resource) => resource.name === called);
  if (found === undefined || others.length > 0) throw new Error(`${name}: not exactly one ${type} named ${called}`);
  return found.inputs;
};

/** The one resource of its type. @throws Error when there is none, or more */
export const only = (name: string, type: string): Resource["inputs"] => {
  const [found, ...others] = all(name, type);
  if (found === undefined || others.length > 0) throw new Error(`${name}: not exactly one ${type}`);
  return found.inputs;
};

export interface Rule {
  readonly Sid?: string;
  readonly Effect: "Allow" | "Deny";
  readonly Action: readonly string[];
  readonly Resource?: unknown;
  readonly NotResource?: unknown;
  readonly Principal?: unknown;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** The statements of a policy, however it is given. */
export const rules = (policy: unknown): readonly Rule[] => {
  const document = (typeof policy === "string" ? JSON.parse(policy) : policy) as {
    readonly Statement: readonly Rule[];
  };
  return document.Statement.map((rule) => ({ ...rule, Action: [rule.Action].flat() }));
};

/** A role's own policies by name. */
export const inline = (role: Resource["inputs"]): ReadonlyMap<string, readonly Rule[]> => {
  const policies = (role["inlinePolicies"] ?? []) as readonly { readonly name: string; readonly policy: unknown }[];
  return new Map(policies.map(({ name, policy }) => [name, rules(policy)]));
};

export const logical = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

/** The functions a case has. */
export const functionsOf = (name: string): readonly string[] => {
  const usual = ["api", "bootstrap", "discover", "probe", "rotate", "sweep"];
  return (name === chosen.name ? [...usual, "enable"] : [...usual, "certify"]).sort();
};

export interface Container {
  readonly environment: readonly { readonly name: string; readonly value: string }[];
  readonly [member: string]: unknown;
}

/** The proxy's container, the only one of its task. */
export const container = (name: string): Container => {
  const task = only(name, "aws:ecs/taskDefinition:TaskDefinition");
  const [found, ...others] = JSON.parse(String(task["containerDefinitions"])) as readonly Container[];
  if (found === undefined || others.length > 0) throw new Error(`${name}: not exactly one container`);
  return found;
};
export const environmentOf = (name: string): Readonly<Record<string, string>> =>
  Object.fromEntries(container(name).environment.map((setting) => [setting.name, setting.value]));
