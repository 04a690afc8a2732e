// A month's price of an evaluated deployment: what it costs to be there, and what a small team's use adds. Each type of resource is
// priced or named as free; one that is neither stops the reckoning.
import type { Graph, Resource } from "./graph.ts";
import {
  balancer,
  bucket,
  cloudwatch,
  endpoint,
  fargate,
  gateway,
  hoursAMonth,
  kms,
  lambda,
  publicAddress,
  registry,
  scheduler,
  secret,
  table,
  transitAttachment,
} from "./prices.ts";

export interface Line {
  readonly what: string;
  readonly count: number;
  /** US dollars a month. */
  readonly price: number;
}

/** A small team's month, and what the deployment does by itself in it. */
export const use = {
  sessions: 20_000,
  apiCalls: 100_000,
  statementsGigabytes: 5,
  relayedGigabytes: 50,
  logGigabytesATask: 0.5,
  tableGigabytes: 1,
  imageGigabytes: 0.2,
};
/** The proxy reads the epoch each second, and writes its heartbeat each five (core/session.ts). */
const secondsAMonth = hoursAMonth * 3_600;
const heartbeatSeconds = 5;
/** What a login and its session read and write, tokens and events included. */
const aSession = { reads: 15, writes: 14 };
/** A segment every five seconds at most, when there is something to ship. */
const busyHours = 160;
const segmentSeconds = 5;
/** Runs of the jobs: discover, rotate, sweep, certify; and how long each takes, in gigabyte seconds at 1 GB. */
const jobs = { runs: hoursAMonth * (12 + 60 + 60 + 1), gigabyteSeconds: 2 };
/** What one change of a managed user's password takes: test/functions/rotate-run.test.ts counts the calls. */
export const aRotation = { secretCalls: 13, writes: 12, probes: 2 };
const rotationsAMonth = hoursAMonth * 4;

/** What costs nothing by itself: settings, names, permissions, or things paid for elsewhere in this list. */
const free = [
  "aws:apigatewayv2/integration:Integration",
  "aws:apigatewayv2/route:Route",
  "aws:apigatewayv2/stage:Stage",
  "aws:appautoscaling/policy:Policy",
  "aws:appautoscaling/target:Target",
  "aws:cloudwatch/logGroup:LogGroup",
  "aws:dynamodb/resourcePolicy:ResourcePolicy",
  "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
  "aws:ec2/internetGateway:InternetGateway",
  "aws:ec2/route:Route",
  "aws:ec2/routeTable:RouteTable",
  "aws:ec2/routeTableAssociation:RouteTableAssociation",
  "aws:ec2/securityGroup:SecurityGroup",
  "aws:ec2/subnet:Subnet",
  "aws:ec2/vpc:Vpc",
  "aws:ecs/cluster:Cluster",
  "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders",
  "aws:ecs/taskDefinition:TaskDefinition",
  "aws:iam/role:Role",
  "aws:kms/alias:Alias",
  "aws:kms/keyPolicy:KeyPolicy",
  "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig",
  "aws:lambda/invocation:Invocation",
  "aws:lambda/permission:Permission",
  "aws:lb/listener:Listener",
  "aws:lb/targetGroup:TargetGroup",
  "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
  "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
  "aws:s3/bucketObjectv2:BucketObjectv2",
  "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
  "aws:s3/bucketPolicy:BucketPolicy",
  "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
  "aws:s3/bucketVersioning:BucketVersioning",
  "aws:secretsmanager/secretPolicy:SecretPolicy",
  "aws:secretsmanager/secretVersion:SecretVersion",
  // the first million messages a month, and the first thousand mails; these queues and topics see a handful
  "aws:sns/topic:Topic",
  "aws:sns/topicSubscription:TopicSubscription",
  "aws:sqs/queue:Queue",
  "aws:sqs/queuePolicy:QueuePolicy",
];
/** What is Pulumi's or SST's own and nothing at AWS. */
const notAws = /^(sst|pulumi|random):/;

type Inputs = Resource["inputs"];
interface Part {
  readonly what: string;
  readonly price: number;
  readonly count?: number;
}
type Reckoning = (inputs: Inputs, graph: Graph) => readonly Part[];

const found = (graph: Graph, type: string): Inputs =>
  graph.resources.find((resource) => resource.type === type)?.inputs ?? {};
const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

const addresses = (count: number): Part => ({
  what: "public IPv4 addresses",
  count,
  price: count * publicAddress.hour * hoursAMonth,
});

const tasks: Reckoning = (inputs, graph) => {
  const task = found(graph, "aws:ecs/taskDefinition:TaskDefinition");
  const count = Number(inputs["desiredCount"]);
  const [cpu, memory] = [Number(task["cpu"]) / 1024, Number(task["memory"]) / 1024];
  const { assignPublicIp } = inputs["networkConfiguration"] as { readonly assignPublicIp: boolean };
  const hour = cpu * fargate.vcpuHour + memory * fargate.gigabyteHour;
  return [
    { what: `Fargate tasks of ${cpu} vCPU and ${memory} GB`, count, price: count * hour * hoursAMonth },
    ...(assignPublicIp ? [addresses(count)] : []),
  ];
};

const networkBalancer: Reckoning = ({ internal, subnets }) => [
  { what: "network load balancer", price: balancer.hour * hoursAMonth },
  ...(internal === true ? [] : [addresses(lengthOf(subnets))]),
];

/** An alarm on several series is charged for each. */
const alarm: Reckoning = ({ metricQueries }) => {
  const series = ((metricQueries ?? []) as readonly { readonly metric?: unknown }[]).filter(
    ({ metric }) => metric !== undefined,
  );
  return [{ what: "alarms", price: series.length * cloudwatch.alarmMetric }];
};

const each =
  (what: string, costs: number): Reckoning =>
  () => [{ what, price: costs }];
/** Paid for by what it does, in byUse. */
const used: Reckoning = () => [];

/** What is paid for as long as it is there. */
const standing: Readonly<Record<string, Reckoning>> = {
  "aws:ecs/service:Service": tasks,
  "aws:lb/loadBalancer:LoadBalancer": networkBalancer,
  "aws:ec2/vpcEndpoint:VpcEndpoint": ({ vpcEndpointType, subnetIds }) =>
    vpcEndpointType === "Gateway"
      ? []
      : [{ what: "interface endpoints in two zones", price: lengthOf(subnetIds) * endpoint.hour * hoursAMonth }],
  "aws:ec2transitgateway/vpcAttachment:VpcAttachment": each("transit gateway", transitAttachment.hour * hoursAMonth),
  "aws:kms/key:Key": each("KMS keys", kms.key),
  "aws:secretsmanager/secret:Secret": each("secrets", secret.month),
  "aws:cloudwatch/metricAlarm:MetricAlarm": alarm,
  "aws:cloudwatch/logMetricFilter:LogMetricFilter": each("metrics read from the logs", cloudwatch.metric),
  "aws:cloudwatch/dashboard:Dashboard": each("dashboard", cloudwatch.dashboard),
  "docker-build:index:Image": each("image in the registry", use.imageGigabytes * registry.gigabyteMonth),
  "aws:dynamodb/table:Table": used,
  "aws:lambda/function:Function": used,
  "aws:apigatewayv2/api:Api": used,
  "aws:scheduler/schedule:Schedule": used,
  "aws:s3/bucket:Bucket": used,
};

const million = 1_000_000;

const byUse = (graph: Graph): readonly Line[] => {
  const count = Number(found(graph, "aws:ecs/service:Service")["desiredCount"]);
  const reads = count * secondsAMonth + use.sessions * aSession.reads;
  const writes = (count * secondsAMonth) / heartbeatSeconds + use.sessions * aSession.writes;
  const requests = (reads * table.millionReads + writes * table.millionWrites) / million;
  const kept = use.tableGigabytes * (table.gigabyteMonth + table.recoveryGigabyteMonth);
  const puts = (count * busyHours * 3_600) / segmentSeconds;
  const audit = (puts / 1_000) * bucket.thousandPuts + use.statementsGigabytes * bucket.gigabyteMonth;
  const calls = jobs.runs + use.apiCalls;
  const functions =
    (calls / million) * lambda.millionCalls +
    (jobs.runs * jobs.gigabyteSeconds + use.apiCalls * 0.1) * lambda.gigabyteSecond;
  const logs = (count * use.logGigabytesATask + 0.5) * cloudwatch.logGigabyte;
  const line = (what: string, price: number): Line => ({ what, count: 1, price });
  return [
    line("DynamoDB: epochs, heartbeats, logins, sessions", requests + kept),
    line("Lambda and the scheduler", functions + (jobs.runs / million) * scheduler.millionCalls),
    line("API Gateway", (use.apiCalls / million) * gateway.millionCalls),
    line("S3: the audit's first month", audit),
    line("load balancer, by what it carries", use.relayedGigabytes * balancer.unitHour),
    line("logs", logs),
    line("signing and reading secrets", kms.tenThousandSigns + secret.tenThousandCalls),
  ];
};

/** certify makes the certificate's secret in its first run, so that it is not in the graph. */
const madeLater = ({ bundles }: Graph): readonly Part[] =>
  bundles.some(({ handler }) => handler === "functions/certify.handler")
    ? [{ what: "secrets", price: secret.month }]
    : [];

/** What each managed user adds in a month. */
export const managedUser = (): number =>
  secret.month +
  rotationsAMonth *
    ((aRotation.secretCalls / 10_000) * secret.tenThousandCalls +
      (aRotation.writes / million) * table.millionWrites +
      aRotation.probes * (lambda.millionCalls / million + lambda.gigabyteSecond));

/** Parts of one name put together, in the order of their names. */
const together = (parts: readonly Part[]): readonly Line[] => {
  const whats = [...new Set(parts.map(({ what }) => what))].sort();
  return whats.map((what) => {
    const own = parts.filter((part) => part.what === what);
    const sum = (of: (part: Part) => number): number => own.reduce((total, part) => total + of(part), 0);
    return { what, count: sum(({ count = 1 }) => count), price: sum((part) => part.price) };
  });
};

/** @throws Error naming the types of resources that nobody has thought of */
export const price = (graph: Graph): { readonly standing: readonly Line[]; readonly use: readonly Line[] } => {
  const types = new Set(graph.resources.map(({ type }) => type));
  const unknown = [...types].filter((type) => !(type in standing) && !free.includes(type) && !notAws.test(type));
  if (unknown.length > 0) throw new Error(`neither priced nor free: ${unknown.sort().join(", ")}`);
  const parts = graph.resources.flatMap(({ type, inputs }) => standing[type]?.(inputs, graph) ?? []);
  return { standing: together([...parts, ...madeLater(graph)]), use: byUse(graph) };
};

/** Types that are named as free and priced at once, or twice: none. */
export const contradictions = (): readonly string[] =>
  free.filter((type, at) => type in standing || free.indexOf(type) !== at);
