// Whom to wake and for what: docs/operations.md says of each alarm, by its name, what it means and what to do.
import type { Balancer } from "./balancer";
import { dashboard } from "./dashboard";
import type { Ground } from "./deployment";
import { filter, further, type Metric, type MetricName, metrics, namespace } from "./metrics";
import { logGroup, type Proxies } from "./proxy";

export interface Watched {
  readonly gateway: sst.aws.ApiGatewayV2;
  readonly functions: Readonly<Record<string, sst.aws.Function>>;
  readonly balancer: Balancer;
  readonly proxies: Proxies;
}

type Dimensions = Readonly<Record<string, $util.Input<string>>>;
interface Series {
  readonly namespace: string;
  readonly metricName: string;
  readonly dimensions?: Dimensions;
  readonly stat: string;
}
interface Alarm {
  readonly says: string;
  /** One series, or several put together by `expression`. */
  readonly of: Readonly<Record<string, Series>>;
  readonly expression?: string;
  readonly above?: number;
  readonly below?: number;
  readonly minutes: number;
  readonly times?: number;
  /** Silence is a bad sign too. */
  readonly silence?: "breaching";
}

const ours = (metricName: MetricName | keyof typeof further, stat = "Sum"): Series => ({
  namespace: namespace(),
  metricName,
  stat,
});

/** Sums of several series: where one of them is silent CloudWatch knows no outcome, though nothing told is none. */
const sum = (...series: readonly string[]): string => series.map((one) => `FILL(${one}, 0)`).join(" + ");
/** The share in percent of the first among them all, of at least so many. */
const share = (least: number, ...[good, ...others]: readonly [string, ...string[]]): string =>
  `IF(${sum(good, ...others)} >= ${least}, 100 * ${sum(good)} / (${sum(good, ...others)}), 100)`;

const alarmsOf = (
  ground: Ground,
  { gateway, functions, balancer, proxies }: Watched,
): Readonly<Record<string, Alarm>> => {
  const gate = balancer.listeners.find(({ name }) => name === "gate");
  if (!gate) throw new Error("the balancer has no gate");
  const host: Dimensions = { LoadBalancer: balancer.balancer.arnSuffix, TargetGroup: gate.target.arnSuffix };
  const tasks: Dimensions = {
    ClusterName: proxies.cluster.nodes.cluster.name,
    ServiceName: proxies.service.nodes.service.name,
  };
  const api: Dimensions = { ApiId: gateway.nodes.api.id };
  const table: Dimensions = { TableName: ground.table.name };
  const trouble = (name: keyof typeof further | MetricName, says: string): Alarm => ({
    says,
    of: { count: ours(name) },
    above: 0,
    minutes: 5,
    times: 3,
  });
  return {
    "login-success": {
      says: "less than half of the logins at the API succeed",
      of: { good: ours("LoginSucceeded"), bad: ours("LoginFailed") },
      expression: share(20, "good", "bad"),
      below: 50,
      minutes: 15,
    },
    "session-success": {
      says: "less than half of the sessions asked for at the proxies begin",
      of: {
        good: ours("SessionBegan"),
        refused: ours("SessionRefused"),
        unbegun: ours("SessionNotBegun"),
        unreached: ours("DatabaseNotReached"),
      },
      expression: share(20, "good", "refused", "unbegun", "unreached"),
      below: 50,
      minutes: 15,
    },
    "accept-latency": {
      says: "from a connection's arrival to a session at its database takes too long",
      of: { took: ours("SessionTookFor", "p99") },
      above: 5_000,
      minutes: 5,
      times: 3,
    },
    "audit-behind": {
      says: "the audit waits for more than a minute to get to where it is kept",
      of: { behind: ours("AuditBehindFor", "Maximum") },
      above: 60_000,
      minutes: 1,
      times: 3,
    },
    "audit-filling": {
      says: "the audit is not kept as fast as it comes: half of the spool is full",
      of: { fill: ours("AuditFill", "Maximum") },
      above: 0.5,
      minutes: 1,
      times: 3,
    },
    "audit-failing": {
      says: "a proxy can't write its audit, or can't ship it",
      of: { written: ours("AuditNotWritten"), shipped: ours("AuditNotShipped") },
      expression: sum("written", "shipped"),
      above: 0,
      minutes: 5,
    },
    "no-proxy": {
      says: "no proxy takes connections",
      of: {
        healthy: { namespace: "AWS/NetworkELB", metricName: "HealthyHostCount", dimensions: host, stat: "Maximum" },
      },
      below: 1,
      minutes: 1,
      times: 3,
      silence: "breaching",
    },
    "proxy-unhealthy": {
      says: "a proxy has refused new connections for ten minutes",
      of: { ill: { namespace: "AWS/NetworkELB", metricName: "UnHealthyHostCount", dimensions: host, stat: "Minimum" } },
      above: 0,
      minutes: 10,
    },
    "proxy-busy": {
      says: "the proxies' processors are busy although more may be started",
      of: { cpu: { namespace: "AWS/ECS", metricName: "CPUUtilization", dimensions: tasks, stat: "Average" } },
      above: 85,
      minutes: 5,
      times: 3,
    },
    "proxy-memory": {
      says: "the proxies' memory is nearly used up",
      of: { memory: { namespace: "AWS/ECS", metricName: "MemoryUtilization", dimensions: tasks, stat: "Maximum" } },
      above: 85,
      minutes: 5,
      times: 3,
    },
    "proxy-trouble": { ...trouble("ProxyTrouble", "proxies log errors"), above: 10 },
    "table-not-read": { ...trouble("TableNotRead", "a proxy can't read the table: new logins are refused"), times: 1 },
    "table-throttled": {
      says: "DynamoDB turns requests away",
      of: {
        reads: { namespace: "AWS/DynamoDB", metricName: "ReadThrottleEvents", dimensions: table, stat: "Sum" },
        writes: { namespace: "AWS/DynamoDB", metricName: "WriteThrottleEvents", dimensions: table, stat: "Sum" },
      },
      expression: sum("reads", "writes"),
      above: 0,
      minutes: 5,
      times: 2,
    },
    "api-errors": {
      says: "more than one in twenty answers of the API is an error of ours",
      of: {
        errors: { namespace: "AWS/ApiGateway", metricName: "5xx", dimensions: api, stat: "Sum" },
        all: { namespace: "AWS/ApiGateway", metricName: "Count", dimensions: api, stat: "Sum" },
      },
      expression: `IF(all >= 20, 100 * ${sum("errors")} / all, 0)`,
      above: 5,
      minutes: 5,
      times: 2,
    },
    "discover-trouble": trouble("DiscoverTrouble", "discovery is not complete"),
    "rotation-lag": {
      says: "a password should have been changed half an hour ago or more",
      of: { lag: ours("RotationLag", "Maximum") },
      above: 30 * 60_000,
      minutes: 5,
    },
    "rotation-drift": {
      says: "somebody else changes the passwords of a managed user",
      of: { repaired: ours("RotationDrift") },
      above: 0,
      minutes: 5,
    },
    "rotate-trouble": {
      says: "a rotation fails time after time, or rotation can't be done at all",
      of: { errors: ours("RotateTrouble"), failing: ours("RotationsFailing", "Maximum") },
      expression: sum("errors", "failing"),
      above: 0,
      minutes: 5,
    },
    "sweep-trouble": trouble("SweepTrouble", "the sweep is not complete"),
    ...(functions["certify"] && {
      "certify-trouble": { ...trouble("CertifyTrouble", "the certificate is not renewed"), minutes: 60, times: 1 },
    }),
    ...(functions["enable"] && {
      "enable-trouble": { ...trouble("EnableTrouble", "IAM authentication can't be switched on"), times: 1 },
    }),
    "sessions-lost": {
      says: "a proxy fell silent with sessions on it",
      of: { lost: ours("SessionsLost") },
      above: 0,
      minutes: 1,
    },
    "break-glass": {
      says: "bootstrap made an invite: somebody becomes an administrator by IAM",
      of: { invites: ours("Invited") },
      above: 0,
      minutes: 1,
    },
    "dead-letters": {
      says: "an event could not be worked off, and is kept",
      of: {
        kept: {
          namespace: "AWS/SQS",
          metricName: "ApproximateNumberOfMessagesVisible",
          dimensions: { QueueName: ground.letters.name },
          stat: "Maximum",
        },
      },
      above: 0,
      minutes: 5,
    },
  };
};

const queries = ({ of, expression, minutes }: Alarm) => [
  ...Object.entries(of).map(([id, { namespace, metricName, dimensions, stat }]) => ({
    id,
    metric: { namespace, metricName, ...(dimensions && { dimensions }), period: minutes * 60, stat },
    ...(expression === undefined && { returnData: true }),
  })),
  ...(expression === undefined ? [] : [{ id: "outcome", expression, label: "outcome", returnData: true }]),
];

const raise = (name: string, alarm: Alarm, topic: aws.sns.Topic): void => {
  const { says, above, below, times = 1, silence } = alarm;
  new aws.cloudwatch.MetricAlarm(`Alarm-${name}`, {
    name: `${$app.name}-${$app.stage}-${name}`,
    alarmDescription: `${says}; docs/operations.md, ${name}`,
    metricQueries: queries(alarm),
    comparisonOperator: above === undefined ? "LessThanThreshold" : "GreaterThanThreshold",
    threshold: above ?? below ?? 0,
    evaluationPeriods: times,
    datapointsToAlarm: times,
    treatMissingData: silence ?? "notBreaching",
    alarmActions: [topic.arn],
    okActions: [topic.arn],
  });
};

const readLogs = ({ functions, proxies }: Watched): void => {
  for (const [name, metric] of Object.entries<Metric>({ ...metrics, ...further })) {
    if (metric.from === "proxy") filter(name, metric, logGroup(), [proxies.service]);
    const own = functions[metric.from];
    const group = own && $util.output(own.nodes.logGroup).apply((made) => $util.output(made?.name ?? ""));
    if (group) filter(name, metric, group, []);
  }
};

export const alarms = (ground: Ground, watched: Watched): void => {
  const topic = new aws.sns.Topic("Alarms", { displayName: `${$app.name} ${$app.stage}` });
  const { alarmEmail } = ground.settings;
  if (alarmEmail !== undefined)
    new aws.sns.TopicSubscription("AlarmEmail", { topic: topic.arn, protocol: "email", endpoint: alarmEmail });
  readLogs(watched);
  const all = alarmsOf(ground, watched);
  for (const [name, alarm] of Object.entries(all)) raise(name, alarm, topic);
  dashboard(Object.values(all).map(({ says, of }) => ({ title: says, of: Object.values(of) })));
};
