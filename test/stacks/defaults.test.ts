// What SST would grant or open beyond need, if it were left to: each taken back, each a test.
import { describe, expect, it } from "vitest";
import { all, container, inline, names, one, rules } from "./graph.ts";

const actionsOf = (name: string, role: string): readonly string[] =>
  [...inline(one(name, "aws:iam/role:Role", role)).values()].flat().flatMap(({ Action }) => Action);

describe.each(names)("%s", (name) => {
  const service = () => one(name, "aws:ecs/service:Service", "ProxyService");

  it("gives tasks public addresses only in the open shape", () => {
    const { assignPublicIp } = service()["networkConfiguration"] as { assignPublicIp: boolean };
    expect(assignPublicIp).toBe(name.endsWith("open"));
  });

  it("links nothing: no role has dynamodb:* or any action by wildcard", () => {
    const actions = all(name, "aws:iam/role:Role").flatMap((role) => actionsOf(name, role.name));
    expect(actions.length).toBeGreaterThan(0);
    expect(actions.filter((action) => action.includes("*"))).toEqual([]);
    expect(container(name).environment.filter((one) => /^SST_RESOURCE_(?!App$)/.test(one.name))).toEqual([]);
  });

  it("lets the execution role read no secret and no parameter", () => {
    const actions = actionsOf(name, "ProxyExecutionRole");
    expect(actions.filter((action) => /^(ssm|secretsmanager|kms|s3):/.test(action))).toEqual([]);
    expect(one(name, "aws:iam/role:Role", "ProxyExecutionRole")["managedPolicyArns"]).toEqual([]);
  });

  it("opens no shell in a task: neither the setting nor the permission is there", () => {
    expect(service()["enableExecuteCommand"]).toBe(false);
    expect(actionsOf(name, "ProxyTaskRole").filter((action) => action.startsWith("ssmmessages:"))).toEqual([]);
    expect(container(name)["pseudoTerminal"]).toBe(false);
  });

  it("lets schedules try again", () => {
    const schedules = all(name, "aws:scheduler/schedule:Schedule");
    expect(schedules.length).toBeGreaterThan(0);
    for (const { inputs } of schedules)
      expect(inputs["target"]).toMatchObject({ retryPolicy: { maximumRetryAttempts: 2 } });
  });

  it("maps the ports that are used, not all there are", () => {
    const ports = container(name)["portMappings"] as readonly { containerPort?: number; containerPortRange?: string }[];
    expect(ports.filter(({ containerPortRange }) => containerPortRange !== undefined)).toEqual([]);
    const used = all(name, "aws:lb/listener:Listener").map(({ inputs }) => Number(inputs["port"]));
    expect(ports.map(({ containerPort }) => containerPort).sort()).toEqual([...used, 7444, 8080].sort());
  });

  it("attaches AWS's own policy, which may write every log, to no function", () => {
    const attached = all(name, "aws:iam/role:Role").flatMap(
      ({ inputs }) => (inputs["managedPolicyArns"] ?? []) as string[],
    );
    expect(attached).toEqual([]);
  });

  it("lets the account's other principals assume no function's role", () => {
    const trusted = all(name, "aws:iam/role:Role").flatMap(({ inputs }) => rules(inputs["assumeRolePolicy"]));
    expect(trusted.filter(({ Principal }) => JSON.stringify(Principal).includes("AWS"))).toEqual([]);
  });

  it("keeps the account's default group and the load balancer's open one out", () => {
    const groups = all(name, "aws:ec2/securityGroup:SecurityGroup");
    const everything = groups.filter(({ inputs }) => JSON.stringify(inputs["ingress"]).includes('"-1"'));
    expect(everything).toEqual([]);
    const { securityGroups } = service()["networkConfiguration"] as { securityGroups: readonly string[] };
    expect(securityGroups.filter((group) => group.includes("Default"))).toEqual([]);
  });
});
