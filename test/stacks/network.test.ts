// Where the proxies stand and who gets at them, in each shape.
import { describe, expect, it } from "vitest";
import { all, chosen, names, one, only } from "./graph.ts";

const shapeOf = (name: string): "open" | "private" | "bring" =>
  name.endsWith("open") ? "open" : name.endsWith("bring") ? "bring" : "private";

const endpointsOf = (name: string, type: string): readonly string[] =>
  all(name, "aws:ec2/vpcEndpoint:VpcEndpoint")
    .filter(({ inputs }) => inputs["vpcEndpointType"] === type)
    .map(({ inputs }) => String(inputs["serviceName"]).replace("com.amazonaws.us-east-1.", ""))
    .sort();

const placement = (name: string) =>
  one(name, "aws:ecs/service:Service", "ProxyService")["networkConfiguration"] as {
    assignPublicIp: boolean;
    subnets: string[];
    securityGroups: string[];
  };
const balancer = (name: string) => only(name, "aws:lb/loadBalancer:LoadBalancer");
const subnets = ["NetworkSubnet1-id", "NetworkSubnet2-id"];

interface Opening {
  readonly protocol: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly cidrBlocks?: readonly string[];
  readonly securityGroups?: readonly string[];
  readonly self?: boolean;
}
const group = (name: string, called: string) =>
  one(name, "aws:ec2/securityGroup:SecurityGroup", called) as unknown as {
    ingress: readonly Opening[];
    egress: readonly Opening[];
  };

describe.each(names.filter((name) => shapeOf(name) === "open"))("%s", (name) => {
  it("stands in public subnets of its own network, with public addresses and a way out but no NAT", () => {
    expect(placement(name)).toMatchObject({ assignPublicIp: true, subnets });
    expect(balancer(name)).toMatchObject({ internal: false, subnets });
    expect(only(name, "aws:ec2/route:Route")).toMatchObject({
      destinationCidrBlock: "0.0.0.0/0",
      gatewayId: "NetworkInternet-id",
    });
    expect(all(name, "aws:ec2/natGateway:NatGateway")).toEqual([]);
  });

  it("lies in two zones of the region itself, where balancer and Fargate are", () => {
    const zones = all(name, "aws:ec2/subnet:Subnet").map(({ inputs }) => inputs["availabilityZone"]);
    expect(zones).toEqual(["us-east-1a", "us-east-1b"]);
  });

  it("reaches DynamoDB and S3 by endpoints that cost nothing, the rest of AWS over the internet", () => {
    expect(endpointsOf(name, "Gateway")).toEqual(["dynamodb", "s3"]);
    expect(endpointsOf(name, "Interface")).toEqual([]);
  });

  it("may be knocked on from anywhere, and at the balancer only", () => {
    for (const { cidrBlocks } of group(name, "BalancerGroup").ingress) expect(cidrBlocks).toEqual(["0.0.0.0/0"]);
  });
});

describe.each(["dev private", "production private"])("%s", (name) => {
  it("stands in private subnets without an address, a gateway or a route out, behind an internal balancer", () => {
    expect(placement(name)).toMatchObject({ assignPublicIp: false, subnets });
    expect(balancer(name)).toMatchObject({ internal: true, subnets });
    expect(all(name, "aws:ec2/internetGateway:InternetGateway")).toEqual([]);
    expect(all(name, "aws:ec2/route:Route")).toEqual([]);
  });

  it("reaches by endpoint everything a proxy calls", () => {
    expect(endpointsOf(name, "Gateway")).toEqual(["dynamodb", "s3"]);
    expect(endpointsOf(name, "Interface")).toEqual([
      "ecr.api",
      "ecr.dkr",
      "elasticache",
      "kms",
      "logs",
      "memory-db",
      "redshift-serverless",
      "secretsmanager",
      "sts",
    ]);
    for (const { inputs } of all(name, "aws:ec2/vpcEndpoint:VpcEndpoint"))
      if (inputs["vpcEndpointType"] === "Interface")
        expect(inputs).toMatchObject({
          privateDnsEnabled: true,
          subnetIds: subnets,
          securityGroupIds: ["NetworkEndpointGroup-id"],
        });
    expect(group(name, "NetworkEndpointGroup").ingress).toEqual([
      { protocol: "tcp", fromPort: 443, toPort: 443, cidrBlocks: ["10.86.0.0/20"] },
    ]);
  });

  it("may be knocked on from private addresses only", () => {
    const ranges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    for (const { cidrBlocks } of group(name, "BalancerGroup").ingress) expect(cidrBlocks).toEqual(ranges);
  });
});

describe.each(names.filter((name) => shapeOf(name) === "bring"))("%s", (name) => {
  it("makes no network and stands in the subnets and groups it was given", () => {
    for (const type of [
      "vpc:Vpc",
      "subnet:Subnet",
      "routeTable:RouteTable",
      "vpcEndpoint:VpcEndpoint",
      "internetGateway:InternetGateway",
    ])
      expect(all(name, `aws:ec2/${type}`), type).toEqual([]);
    expect(placement(name)).toEqual({
      assignPublicIp: false,
      subnets: ["subnet-0a1", "subnet-0a2"],
      securityGroups: ["ProxyGroup-id", "ReachGroup-id", "sg-0123abcd"],
    });
    expect(balancer(name)).toMatchObject({ internal: true, subnets: ["subnet-0b1", "subnet-0b2"] });
    for (const { inputs } of [
      ...all(name, "aws:lb/targetGroup:TargetGroup"),
      ...all(name, "aws:ec2/securityGroup:SecurityGroup"),
    ])
      expect(inputs["vpcId"]).toBe("vpc-0a1b2c3d");
  });
});

describe(chosen.name, () => {
  it("goes out through the transit gateway, without endpoints to pay for", () => {
    expect(only(chosen.name, "aws:ec2/route:Route")).toMatchObject({ transitGatewayId: "tgw-0a1b" });
    expect(only(chosen.name, "aws:ec2transitgateway/vpcAttachment:VpcAttachment")).toMatchObject({
      subnetIds: subnets,
    });
    expect(endpointsOf(chosen.name, "Interface")).toEqual([]);
  });

  it("takes the addresses and lets in the ranges it was told", () => {
    expect(only(chosen.name, "aws:ec2/vpc:Vpc")["cidrBlock"]).toBe("10.99.16.0/20");
    const blocks = all(chosen.name, "aws:ec2/subnet:Subnet").map(({ inputs }) => inputs["cidrBlock"]);
    expect(blocks).toEqual(["10.99.16.0/24", "10.99.17.0/24"]);
    for (const { cidrBlocks } of group(chosen.name, "BalancerGroup").ingress)
      expect(cidrBlocks).toEqual(["10.1.0.0/16"]);
  });
});

describe.each(names)("%s", (name) => {
  const ports = all.bind(undefined, name, "aws:lb/listener:Listener");
  const doors = (): readonly number[] =>
    ports()
      .map(({ inputs }) => Number(inputs["port"]))
      .sort((a, b) => a - b);

  it("lets a proxy be reached by the balancer and, for cancels, by other proxies, from no address directly", () => {
    const { ingress, egress } = group(name, "ProxyGroup");
    const fromBalancer = ingress.filter(({ self }) => self !== true);
    expect(fromBalancer.map(({ fromPort }) => fromPort).sort((a, b) => a - b)).toEqual(
      [...doors(), 8080].sort((a, b) => a - b),
    );
    for (const { securityGroups, cidrBlocks } of fromBalancer) {
      expect(securityGroups).toEqual(["BalancerGroup-id"]);
      expect(cidrBlocks).toBeUndefined();
    }
    const own = ingress.filter(({ self }) => self === true);
    expect(own).toEqual([{ protocol: "tcp", fromPort: 7444, toPort: 7444, self: true }]);
    expect(egress).toEqual([]);
  });

  it("opens at the balancer the doors and nothing else", () => {
    const opened = group(name, "BalancerGroup").ingress.map(({ protocol, fromPort, toPort }) => [
      protocol,
      fromPort,
      toPort,
    ]);
    expect(opened.sort((a, b) => Number(a[1]) - Number(b[1]))).toEqual(doors().map((port) => ["tcp", port, port]));
    expect(balancer(name)["securityGroups"]).toEqual(["BalancerGroup-id"]);
  });

  it("gives what reaches databases one group to let in, which takes no connection itself", () => {
    expect(group(name, "ReachGroup").ingress).toEqual([]);
    expect(placement(name).securityGroups.slice(0, 2)).toEqual(["ProxyGroup-id", "ReachGroup-id"]);
  });

  it("lets nothing through by the group that what names none would get", () => {
    const made = all(name, "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup");
    expect(made).toHaveLength(shapeOf(name) === "bring" ? 0 : 1);
    for (const { inputs } of made) expect(inputs).toMatchObject({ ingress: [], egress: [] });
  });
});
