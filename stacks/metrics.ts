// Metrics that the logs are read for. Each names the line that feeds it, as the code writes it; a test looks the lines up in the
// sources, so that a metric nobody feeds any more fails there and not at night.

export type Source = "api" | "bootstrap" | "certify" | "discover" | "enable" | "rotate" | "sweep" | "proxy";

export interface Metric {
  readonly from: Source;
  /** The line's `message`; every line of level ERROR where absent. */
  readonly message?: string;
  /** Further members of the line that have to be so, in CloudWatch's filter syntax. */
  readonly where?: string;
  /** The member that is the value; each line counts one where absent. */
  readonly value?: string;
}

export const metrics = {
  LoginSucceeded: { from: "api", message: "request", where: '$.route = "login" && $.status = 200' },
  LoginFailed: { from: "api", message: "request", where: '$.route = "login" && $.status >= 400' },
  Invited: { from: "bootstrap", message: "bootstrap.invite" },
  DiscoverTrouble: { from: "discover" },
  RotateTrouble: { from: "rotate" },
  RotationLag: { from: "rotate", message: "rotate", value: "lagMs" },
  RotationsFailing: { from: "rotate", message: "rotate", value: "failing" },
  RotationDrift: { from: "rotate", message: "rotate.repaired" },
  SweepTrouble: { from: "sweep" },
  SessionsLost: { from: "sweep", message: "sweep", where: '$.sessions[0] = "*"' },
  SessionBegan: { from: "proxy", message: "a session began" },
  SessionTookFor: { from: "proxy", message: "a session began", value: "tookFor" },
  SessionRefused: { from: "proxy", message: "a login was refused" },
  SessionNotBegun: { from: "proxy", message: "a session did not begin" },
  DatabaseNotReached: { from: "proxy", message: "a session did not reach its database" },
  TableNotRead: { from: "proxy", message: "the table can't be read" },
  AuditNotWritten: { from: "proxy", message: "the audit can't be written" },
  AuditNotShipped: { from: "proxy", message: "the audit can't be shipped" },
  AuditBehindFor: { from: "proxy", message: "pulse", value: "auditBehindFor" },
  AuditFill: { from: "proxy", message: "pulse", value: "auditFill" },
  LiveSessions: { from: "proxy", message: "pulse", value: "sessions" },
  ProxyTrouble: { from: "proxy" },
} as const satisfies Record<string, Metric>;
export type MetricName = keyof typeof metrics;

/** Those of functions that not every deployment has. */
export const further = {
  CertifyTrouble: { from: "certify" },
  EnableTrouble: { from: "enable" },
} as const satisfies Record<string, Metric>;

export const namespace = (): string => `${$app.name}/${$app.stage}`;

const pattern = ({ message, where }: Metric): string => {
  const line = message === undefined ? '$.level = "ERROR"' : `$.message = "${message}"`;
  return where === undefined ? `{ ${line} }` : `{ ${line} && ${where} }`;
};

export const filter = (
  name: string,
  metric: Metric,
  logGroupName: $util.Input<string>,
  after: readonly $util.Resource[],
): void => {
  const args = {
    name,
    logGroupName,
    pattern: pattern(metric),
    metricTransformation: {
      name,
      namespace: namespace(),
      value: metric.value === undefined ? "1" : `$.${metric.value}`,
    },
  };
  new aws.cloudwatch.LogMetricFilter(`${name}Filter`, args, { dependsOn: [...after] });
};
