// Where the proxies stand, in three shapes by one setting. `open`: a network of our own, tasks with public addresses, no NAT,
// reached through the balancer only. `private`: the same without a way in or out, AWS through endpoints. `bring`: one's own.
import type { Settings } from "./settings";

export interface Network {
  readonly vpc: $util.Input<string>;
  readonly taskSubnets: $util.Input<string>[];
  readonly balancerSubnets: $util.Input<string>[];
  readonly publicTasks: boolean;
  readonly publicBalancer: boolean;
  /** Groups that every task gets besides ours. */
  readonly groups: readonly string[];
}

/**
 * What a proxy asks of AWS beyond DynamoDB and S3, which have gateway endpoints that cost nothing. ECS is not among it: a task's
 * protection is asked of the agent beside it, and tasks on Fargate need no endpoint for what their agent says to ECS.
 * https://docs.aws.amazon.com/AmazonECS/latest/developerguide/vpc-endpoints.html
 */
const interfaces = [
  ...(["ecr.api", "ecr.dkr", "elasticache", "kms", "logs", "memory-db", "redshift-serverless"] as const),
  ...(["secretsmanager", "sts"] as const),
] as const;
const zones = 2;
const anywhere = "0.0.0.0/0";

const named = (name: string) => ({ tags: { Name: `${$app.name}-${$app.stage}-${name}` } });

/** The n-th 256 addresses of a /20. */
const slice = (cidr: string, at: number): string => {
  const [first, second, third] = cidr.split(".");
  return `${first}.${second}.${Number(third) + at}.0/24`;
};

const build = (cidr: string) => {
  const vpc = new aws.ec2.Vpc("Network", {
    cidrBlock: cidr,
    enableDnsHostnames: true,
    enableDnsSupport: true,
    ...named("network"),
  });
  // the group that what names none would get lets nothing through
  new aws.ec2.DefaultSecurityGroup("NetworkDefaultGroup", { vpcId: vpc.id, ingress: [], egress: [] });
  const routes = new aws.ec2.RouteTable("NetworkRoutes", { vpcId: vpc.id, ...named("network") });
  // not the Local Zones that the account may have opted in to: balancer and Fargate are not there
  const inRegion = [{ name: "opt-in-status", values: ["opt-in-not-required"] }];
  const names = aws.getAvailabilityZonesOutput({ state: "available", filters: inRegion }).names;
  const subnets = Array.from({ length: zones }, (_, at) => {
    const subnet = new aws.ec2.Subnet(`NetworkSubnet${at + 1}`, {
      vpcId: vpc.id,
      cidrBlock: slice(cidr, at),
      availabilityZone: names.apply((all) => all[at] ?? ""),
      mapPublicIpOnLaunch: false,
      ...named(`network-${at + 1}`),
    });
    new aws.ec2.RouteTableAssociation(`NetworkSubnet${at + 1}Routes`, { subnetId: subnet.id, routeTableId: routes.id });
    return subnet;
  });
  const region = aws.getRegionOutput().region;
  for (const [name, service] of [
    ["NetworkDynamoEndpoint", "dynamodb"],
    ["NetworkS3Endpoint", "s3"],
  ] as const)
    new aws.ec2.VpcEndpoint(name, {
      vpcId: vpc.id,
      vpcEndpointType: "Gateway",
      serviceName: $interpolate`com.amazonaws.${region}.${service}`,
      routeTableIds: [routes.id],
    });
  return { vpc, routes, subnets, region };
};
type Built = ReturnType<typeof build>;

const openToTheInternet = ({ vpc, routes }: Built): void => {
  const gateway = new aws.ec2.InternetGateway("NetworkInternet", { vpcId: vpc.id, ...named("network") });
  new aws.ec2.Route("NetworkWayOut", {
    routeTableId: routes.id,
    destinationCidrBlock: anywhere,
    gatewayId: gateway.id,
  });
};

const addEndpoints = ({ vpc, subnets, region }: Built, cidr: string): void => {
  const group = new aws.ec2.SecurityGroup("NetworkEndpointGroup", {
    vpcId: vpc.id,
    description: "AWS by endpoint, for whoever is in this network",
    ingress: [{ protocol: "tcp", fromPort: 443, toPort: 443, cidrBlocks: [cidr] }],
    egress: [],
  });
  for (const service of interfaces)
    new aws.ec2.VpcEndpoint(
      `Network${service.replace(/(^|\.)([a-z])/g, (_, _dot, letter) => letter.toUpperCase())}Endpoint`,
      {
        vpcId: vpc.id,
        vpcEndpointType: "Interface",
        serviceName: $interpolate`com.amazonaws.${region}.${service}`,
        subnetIds: subnets.map(({ id }) => id),
        securityGroupIds: [group.id],
        privateDnsEnabled: true,
      },
    );
};

const goThrough = ({ vpc, routes, subnets }: Built, transitGatewayId: string): void => {
  const attachment = new aws.ec2transitgateway.VpcAttachment("NetworkAttachment", {
    transitGatewayId,
    vpcId: vpc.id,
    subnetIds: subnets.map(({ id }) => id),
  });
  new aws.ec2.Route(
    "NetworkWayOut",
    { routeTableId: routes.id, destinationCidrBlock: anywhere, transitGatewayId },
    { dependsOn: [attachment] },
  );
};

export const network = (settings: Settings): Network => {
  const { bring, cidr, shape, transitGateway } = settings;
  if (bring)
    return {
      vpc: bring.vpc,
      taskSubnets: [...bring.tasks],
      balancerSubnets: [...bring.balancer],
      publicTasks: bring.publicTasks,
      publicBalancer: bring.publicBalancer,
      groups: bring.groups,
    };
  const built = build(cidr);
  const open = shape === "open";
  if (open) openToTheInternet(built);
  else if (transitGateway === undefined) addEndpoints(built, cidr);
  else goThrough(built, transitGateway);
  const subnets = built.subnets.map(({ id }) => id);
  return {
    vpc: built.vpc.id,
    taskSubnets: subnets,
    balancerSubnets: subnets,
    publicTasks: open,
    publicBalancer: open,
    groups: [],
  };
};
