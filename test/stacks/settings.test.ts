// What may be chosen at a deployment: defaults, and that a wrong choice stops it before anything is made.
import { afterEach, describe, expect, it } from "vitest";
import { readSettings } from "../../stacks/settings.ts";

const before = { ...process.env };
afterEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith("DEPLOY_")) delete process.env[name];
  Object.assign(process.env, before);
});
const choose = (settings: Readonly<Record<string, string>>): void => {
  for (const [name, value] of Object.entries(settings)) process.env[`DEPLOY_${name}`] = value;
};

const bring = { NETWORK: "bring", VPC: "vpc-1a", TASK_SUBNETS: "subnet-1,subnet-2" };

it("needs nothing said: an open network, an issued certificate, a small service", () => {
  expect(readSettings(false)).toEqual({
    shape: "open",
    bring: undefined,
    allow: ["0.0.0.0/0"],
    cidr: "10.86.0.0/20",
    transitGateway: undefined,
    host: undefined,
    own: undefined,
    tasks: { least: 1, most: 2 },
    auditDays: 1,
    assumable: [],
    connectTo: [],
    enabling: [],
    rotationKey: undefined,
    alarmEmail: undefined,
  });
  expect(readSettings(true)).toMatchObject({ tasks: { least: 2, most: 10 }, auditDays: 365 });
});

it("takes the addresses and the name of one's own", () => {
  choose({ CIDR: "172.20.240.0/20", ALLOW: "203.0.113.7/32, 0.0.0.0/0", HOST: "db-1.eu.example.com" });
  expect(readSettings(true)).toMatchObject({
    cidr: "172.20.240.0/20",
    allow: ["203.0.113.7/32", "0.0.0.0/0"],
    host: "db-1.eu.example.com",
  });
});

it("lets private addresses in where the balancer is internal, and anybody where it is public", () => {
  choose({ NETWORK: "private" });
  expect(readSettings(true).allow).toEqual(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
  choose({ ...bring, BALANCER: "public" });
  expect(readSettings(true)).toMatchObject({ allow: ["0.0.0.0/0"], bring: { balancer: ["subnet-1", "subnet-2"] } });
});

describe("refuses", () => {
  it.each([
    ["NETWORK", { NETWORK: "opne" }],
    ["VPC", { ...bring, VPC: "" }],
    ["TASK_SUBNETS", { ...bring, TASK_SUBNETS: "subnet-1" }],
    ["TASK_SUBNETS", { ...bring, TASK_SUBNETS: "subnet-1,$(id)" }],
    ["ALLOW", { ALLOW: "10.0.0.0/8, everybody" }],
    ["ALLOW", { ALLOW: "10.0.0.300/8" }],
    ["ALLOW", { ALLOW: "10.0.0.0/33" }],
    ["CIDR", { CIDR: "10.0.0.0/16" }],
    ["CIDR", { CIDR: "10.86.15.0/20" }],
    ["CIDR", { CIDR: "10.300.0.0/20" }],
    ["HOST", { HOST: "db.example.com." }],
    ["HOST", { HOST: "10.1.2.3" }],
    ["HOST", { HOST: "DB.example.com; true" }],
    ["PINS", { CERTIFICATE: "own" }],
    ["PINS", { CERTIFICATE: "own", PINS: "sha256/short" }],
    ["TASKS", { TASKS: "0" }],
    ["TASKS", { TASKS: "two" }],
    ["TASKS", { TASKS: "5", MOST_TASKS: "3" }],
    ["AUDIT_DAYS", { AUDIT_DAYS: "-1" }],
    ["ASSUMABLE_ROLES", { ASSUMABLE_ROLES: "*" }],
    ["CONNECT_TO", { CONNECT_TO: "*" }],
    ["CONNECT_TO", { CONNECT_TO: "user:app/app" }],
    ["ENABLE_IAM_ON", { ENABLE_IAM_ON: "arn:aws:iam::1:role/x" }],
    ["ROTATION_KEY", { ROTATION_KEY: "alias/mine" }],
    ["ALARM_EMAIL", { ALARM_EMAIL: "nobody" }],
  ])("DEPLOY_%s: %j", (name, settings) => {
    choose(settings);
    expect(() => readSettings(true)).toThrow(`DEPLOY_${name} `);
  });
});
