// The load balancer: TCP passed through, so that TLS ends in the proxy and nowhere else. The client's address is kept, or the
// limits per address would lock everybody out at once; one failed health check cuts nobody.
import { protocolNames, protocols } from "@sallyport/core/database";
import type { Network } from "./network";
import type { Settings } from "./settings";

export const gatePort = 7443;
export const healthPort = 8080;
export const peerPort = 7444;
/** How long a proxy that is going away may keep its sessions: AWS allows an hour. */
export const drainFor = 3_600;

export const plainPorts: Readonly<Record<string, number>> = Object.fromEntries(
  protocolNames.map((name) => [name, protocols[name].port]),
);
/** Everything people connect to, by name. */
const doors = { ...plainPorts, gate: gatePort };

const tcp = (port: number) => ({ protocol: "tcp", fromPort: port, toPort: port });
const everywhere = { cidrBlocks: ["0.0.0.0/0"] };
const logical = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

/** Who may reach whom. `reach` is what a database's own security group has to let in. */
const groups = ({ vpc }: Network, allow: readonly string[]) => {
  const ports = Object.values(doors);
  const balancer = new aws.ec2.SecurityGroup("BalancerGroup", {
    vpcId: vpc,
    description: "Sallyport: the doors, from where they may be knocked on",
    ingress: ports.map((port) => ({ ...tcp(port), cidrBlocks: [...allow] })),
    egress: [...ports, healthPort].map((port) => ({ ...tcp(port), ...everywhere })),
  });
  const proxy = new aws.ec2.SecurityGroup("ProxyGroup", {
    vpcId: vpc,
    description: "Sallyport: proxies, from the balancer and from each other",
    ingress: [
      ...[...ports, healthPort].map((port) => ({ ...tcp(port), securityGroups: [balancer.id] })),
      { ...tcp(peerPort), self: true },
    ],
    egress: [],
  });
  const reach = new aws.ec2.SecurityGroup("ReachGroup", {
    vpcId: vpc,
    description: "Sallyport: let this group in at your databases",
    ingress: [],
    // databases listen where they please; which addresses are dialled is the proxy's own check
    egress: [{ protocol: "tcp", fromPort: 0, toPort: 65_535, ...everywhere }],
  });
  return { balancer, proxy, reach };
};

export const balancer = (network: Network, settings: Settings) => {
  const group = groups(network, settings.allow);
  const balancer = new aws.lb.LoadBalancer("Balancer", {
    loadBalancerType: "network",
    internal: !network.publicBalancer,
    subnets: network.balancerSubnets,
    securityGroups: [group.balancer.id],
    enableCrossZoneLoadBalancing: true,
    enableDeletionProtection: $app.stage === "production",
  });
  const listeners = Object.entries(doors).map(([name, port]) => {
    const target = new aws.lb.TargetGroup(`${logical(name)}Target`, {
      vpcId: network.vpc,
      protocol: "TCP",
      port,
      targetType: "ip",
      preserveClientIp: "true",
      deregistrationDelay: drainFor,
      connectionTermination: false,
      targetHealthStates: [{ enableUnhealthyConnectionTermination: false }],
      healthCheck: {
        protocol: "HTTP",
        port: String(healthPort),
        path: "/",
        matcher: "200",
        interval: 10,
        timeout: 6,
        healthyThreshold: 2,
        unhealthyThreshold: 6,
      },
    });
    const listener = new aws.lb.Listener(`${logical(name)}Listener`, {
      loadBalancerArn: balancer.arn,
      protocol: "TCP",
      port,
      tcpIdleTimeoutSeconds: 6_000,
      defaultActions: [{ type: "forward", targetGroupArn: target.arn }],
    });
    return { name, port, target, listener };
  });
  const host = settings.host ?? balancer.dnsName;
  return { balancer, listeners, host, groups: group };
};
export type Balancer = ReturnType<typeof balancer>;

/** What the API answers and certify names: where people reach these proxies. Whose certificate they show is in the table, unless it is one's own. */
export const networksOf = ({ host }: Balancer, { own }: Settings): $util.Output<string> =>
  $util.output(host).apply((name) => {
    const ca = own?.ca === undefined ? {} : { ca: own.ca };
    const gate = { host: name, port: gatePort, ...(own && { pins: own.pins }), ...ca };
    return JSON.stringify({ default: { gate, direct: { host: name, ports: plainPorts, ...ca } } });
  });
