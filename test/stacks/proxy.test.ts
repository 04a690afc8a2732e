// The proxy service: its balancer, its task, how it is replaced and how far it grows.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { protocolNames, protocols } from "@sallyport/core/database";
import { readSettings } from "@sallyport/proxy/settings";
import { describe, expect, it } from "vitest";
import { root } from "./bundle.ts";
import { all, chosen, container, environmentOf, graph, inline, names, one, only, stageOf } from "./graph.ts";

const plainPorts = Object.fromEntries(protocolNames.map((name) => [name, protocols[name].port]));
const doors = { ...plainPorts, gate: 7443 };
const service = (name: string) => one(name, "aws:ecs/service:Service", "ProxyService");

describe.each(names)("%s", (name) => {
  const production = stageOf(name) === "production";

  it("listens for every protocol's plain port and the gate, and passes TCP through", () => {
    const listeners = all(name, "aws:lb/listener:Listener").map(({ inputs }) => inputs);
    expect(listeners.map(({ port }) => port).sort()).toEqual(Object.values(doors).sort());
    for (const listener of listeners) {
      expect(listener).toMatchObject({ protocol: "TCP", tcpIdleTimeoutSeconds: 6_000 });
      expect(listener["certificateArn"]).toBeUndefined();
    }
    // the most that ECS registers one service with
    expect(listeners.length).toBeLessThanOrEqual(5);
  });

  it("keeps clients' addresses, cuts nobody for one failed check, and asks for health on a port of its own", () => {
    const targets = all(name, "aws:lb/targetGroup:TargetGroup").map(({ inputs }) => inputs);
    expect(targets.map(({ port }) => port).sort()).toEqual(Object.values(doors).sort());
    for (const target of targets)
      expect(target).toMatchObject({
        protocol: "TCP",
        targetType: "ip",
        preserveClientIp: "true",
        deregistrationDelay: 3_600,
        connectionTermination: false,
        targetHealthStates: [{ enableUnhealthyConnectionTermination: false }],
        healthCheck: { protocol: "HTTP", port: "8080", matcher: "200" },
      });
  });

  it("registers the service with each, and is a network load balancer that production does not lose by mistake", () => {
    const registered = service(name)["loadBalancers"] as readonly { containerPort: number; containerName: string }[];
    // ECS takes five for a service: another protocol would need another service
    expect(registered.length).toBeLessThanOrEqual(5);
    expect(registered.map(({ containerPort }) => containerPort).sort()).toEqual(Object.values(doors).sort());
    for (const { containerName } of registered) expect(containerName).toBe(container(name)["name"]);
    expect(only(name, "aws:lb/loadBalancer:LoadBalancer")).toMatchObject({
      loadBalancerType: "network",
      enableCrossZoneLoadBalancing: true,
      enableDeletionProtection: production,
    });
  });

  it("starts new tasks beside the old, takes back what does not start, and moves nothing about to even out zones", () => {
    expect(service(name)).toMatchObject({
      name: `sallyport-${stageOf(name)}-proxy`,
      deploymentMinimumHealthyPercent: 100,
      deploymentMaximumPercent: 200,
      deploymentCircuitBreaker: { enable: true, rollback: true },
      availabilityZoneRebalancing: "DISABLED",
    });
  });

  it("is replaced for no answer of its health port: 503 keeps connections away and ends none", () => {
    expect(service(name)["healthCheckGracePeriodSeconds"]).toBe(2_147_483_647);
  });

  it("may protect its own tasks, in the cluster that they are in", () => {
    const cluster = only(name, "aws:ecs/cluster:Cluster")["name"];
    expect(cluster).toBe(`sallyport-${stageOf(name)}-proxies`);
    const granted = [...inline(one(name, "aws:iam/role:Role", "ProxyTaskRole")).values()].flat();
    const protection = granted.find(({ Action }) => Action.includes("ecs:UpdateTaskProtection"));
    expect(protection?.Resource).toEqual([`arn:aws:ecs:us-east-1:111122223333:task/${String(cluster)}/*`]);
  });

  it("S-49 grows with its processors up to a cap", () => {
    const [least, most] = name === chosen.name ? [3, 7] : production ? [2, 10] : [1, 2];
    expect(service(name)["desiredCount"]).toBe(least);
    expect(only(name, "aws:appautoscaling/target:Target")).toMatchObject({ minCapacity: least, maxCapacity: most });
    const policies = all(name, "aws:appautoscaling/policy:Policy").map(
      ({ inputs }) => inputs["targetTrackingScalingPolicyConfiguration"],
    );
    const metric = (predefinedMetricType: string, targetValue: number) =>
      expect.objectContaining({
        predefinedMetricSpecification: { predefinedMetricType },
        targetValue,
        scaleInCooldown: 600,
      });
    expect(policies).toEqual(
      expect.arrayContaining([
        metric("ECSServiceAverageCPUUtilization", 60),
        metric("ECSServiceAverageMemoryUtilization", 70),
      ]),
    );
  });

  it("runs on arm64 as nobody's root, on a root folder that is read only, with the spool to write to", () => {
    const task = only(name, "aws:ecs/taskDefinition:TaskDefinition");
    expect(task).toMatchObject({
      runtimePlatform: { cpuArchitecture: "ARM64", operatingSystemFamily: "LINUX" },
      networkMode: "awsvpc",
      volumes: [{ name: "spool" }],
    });
    expect(container(name)).toMatchObject({
      user: "1000:1000",
      readonlyRootFilesystem: true,
      mountPoints: [
        { sourceVolume: "spool", containerPath: environmentOf(name)["SALLYPORT_SPOOL_DIR"], readOnly: false },
      ],
      linuxParameters: { initProcessEnabled: true, capabilities: { drop: ["ALL"] } },
      ulimits: [{ name: "nofile", softLimit: 65_536, hardLimit: 65_536 }],
      secrets: [],
    });
    expect(container(name)["privileged"]).toBeUndefined();
  });

  it("has two minutes to leave, of which sessions get all but the last thirty seconds", () => {
    expect(container(name)["stopTimeout"]).toBe(120);
    expect(Number(environmentOf(name)["SALLYPORT_DRAIN_SECONDS"])).toBe(90);
    // before that, an hour to make way for a newer revision, as long as the balancer keeps a target that it lets go
    expect(Number(environmentOf(name)["SALLYPORT_DRAIN_FOR_SECONDS"])).toBe(3_600);
  });

  it("is asked by ECS whether it answers at all, whatever the answer", () => {
    const { command } = container(name)["healthCheck"] as { command: readonly string[] };
    expect(command[0]).toBe("CMD");
    expect(command.at(-1)).toContain("http://127.0.0.1:8080");
    expect(command.at(-1)).not.toContain("status");
  });

  it("has every setting that the proxy asks for, and none that it does not know", () => {
    const environment = environmentOf(name);
    const settings = readSettings({ ...environment, ECS_CONTAINER_METADATA_URI_V4: "http://169.254.170.2/v4/abc" });
    expect(settings).toMatchObject({ plainPorts, gatePort: 7443, healthPort: 8080, peerPort: 7444 });
    const source = readFileSync(join(root, "packages/proxy/src/settings.ts"), "utf8");
    const known = new Set(source.match(/\bSALLYPORT_[A-Z_]+/g));
    const given = Object.keys(environment).filter((setting) => !setting.startsWith("SST_"));
    expect(given.filter((setting) => !known.has(setting))).toEqual([]);
    expect(environment).toMatchObject({
      SALLYPORT_CANCEL_SECRET: one(name, "aws:secretsmanager/secret:Secret", "CancelKey")["name"],
      SALLYPORT_CERT_SECRET: `sallyport/${stageOf(name)}/proxy/certificate`,
      SALLYPORT_AUDIT_BUCKET: "audit",
      SALLYPORT_AUDIT_KEY: "AuditKey-id",
    });
  });

  it("starts after its certificate was issued, unless it is one's own", () => {
    const issued = all(name, "aws:lambda/invocation:Invocation").map(({ inputs }) => inputs["functionName"]);
    expect(issued).toEqual(name === chosen.name ? [] : [`sallyport-${stageOf(name)}-certify`]);
  });

  it("is built from the Dockerfile, for arm64", () => {
    expect(only(name, "docker-build:index:Image")).toMatchObject({
      platforms: ["linux/arm64"],
      dockerfile: { location: expect.stringMatching(/\/Dockerfile$/) },
      push: true,
    });
  });
});

it("keeps what production removes, and asks before it removes production", () => {
  expect(graph("production open").app).toMatchObject({ removal: "retain", protect: true });
  expect(graph("dev open").app).toMatchObject({ removal: "remove", protect: false });
});
