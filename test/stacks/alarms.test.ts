// The alarms: that each watches something that is really told, reaches somebody, and is explained to whoever it wakes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { root } from "./bundle.ts";
import { all, chosen, functionsOf, names, one, only, stageOf } from "./graph.ts";

interface Query {
  readonly id: string;
  readonly expression?: string;
  readonly returnData?: boolean;
  readonly metric?: {
    readonly namespace: string;
    readonly metricName: string;
    readonly dimensions?: Readonly<Record<string, string>>;
    readonly period: number;
  };
}

const alarmsOf = (name: string) => all(name, "aws:cloudwatch/metricAlarm:MetricAlarm").map(({ inputs }) => inputs);
const short = (name: string, alarm: Readonly<Record<string, unknown>>): string =>
  String(alarm["name"]).replace(`sallyport-${stageOf(name)}-`, "");
const queriesOf = (alarm: Readonly<Record<string, unknown>>) => alarm["metricQueries"] as readonly Query[];
const filtersOf = (name: string) =>
  all(name, "aws:cloudwatch/logMetricFilter:LogMetricFilter").map(({ inputs }) => inputs);

/** The sources whose lines feed the metrics of a log. */
const sources: Readonly<Record<string, readonly string[]>> = {
  proxy: ["login", "admission", "ledger", "proxy", "rhythm", "watch", "volume"].map(
    (file) => `packages/proxy/src/${file}.ts`,
  ),
  api: ["functions/http.ts"],
  bootstrap: ["functions/bootstrap.ts"],
  rotate: ["functions/rotate.ts"],
  sweep: ["functions/sweep.ts"],
};

const usual = [
  "accept-latency",
  "api-errors",
  "audit-behind",
  "audit-failing",
  "audit-filling",
  "break-glass",
  "dead-letters",
  "discover-trouble",
  "login-success",
  "no-proxy",
  "proxy-busy",
  "proxy-memory",
  "proxy-trouble",
  "proxy-unhealthy",
  "session-success",
  "rotate-trouble",
  "rotation-drift",
  "rotation-lag",
  "sessions-lost",
  "sweep-trouble",
  "table-not-read",
  "table-throttled",
];

describe.each(names)("%s", (name) => {
  it("raises these alarms", () => {
    const own = name === chosen.name ? "enable-trouble" : "certify-trouble";
    expect(
      alarmsOf(name)
        .map((alarm) => short(name, alarm))
        .sort(),
    ).toEqual([...usual, own].sort());
  });

  it("tells somebody of each, when it begins and when it ends", () => {
    for (const alarm of alarmsOf(name)) {
      expect(alarm["alarmActions"]).toEqual([expect.stringMatching(/:Alarms$/)]);
      expect(alarm["okActions"]).toEqual(alarm["alarmActions"]);
    }
    const mails = all(name, "aws:sns/topicSubscription:TopicSubscription").map(({ inputs }) => inputs["endpoint"]);
    expect(mails).toEqual(name === chosen.name ? ["oncall@example.com"] : []);
  });

  it("explains each in docs/operations.md, under the name by which it comes", () => {
    const page = readFileSync(join(root, "docs/operations.md"), "utf8");
    for (const alarm of alarmsOf(name)) {
      expect(alarm["alarmDescription"]).toContain(`docs/operations.md, ${short(name, alarm)}`);
      expect(page).toMatch(new RegExp(`^\\| \`${short(name, alarm)}\` \\|`, "m"));
    }
  });

  it("watches nothing that no filter makes, and makes nothing that nobody looks at", () => {
    const made = filtersOf(name).map((filter) => filter["name"]);
    const ours = `sallyport/${stageOf(name)}`;
    const watched = alarmsOf(name)
      .flatMap(queriesOf)
      .flatMap(({ metric }) => (metric?.namespace === ours ? [metric.metricName] : []));
    expect(watched.length).toBeGreaterThan(0);
    expect(watched.filter((metric) => !made.includes(metric))).toEqual([]);
    // live sessions are for the dashboard
    expect(made.filter((metric) => !watched.includes(String(metric)))).toEqual(["LiveSessions"]);
  });

  it("watches AWS's own metrics by the dimensions they have", () => {
    const dimensions: Readonly<Record<string, readonly string[]>> = {
      "AWS/NetworkELB": ["LoadBalancer", "TargetGroup"],
      "AWS/ECS": ["ClusterName", "ServiceName"],
      "AWS/ApiGateway": ["ApiId"],
      "AWS/DynamoDB": ["TableName"],
      "AWS/SQS": ["QueueName"],
    };
    for (const { metric } of alarmsOf(name).flatMap(queriesOf)) {
      if (!metric?.namespace.startsWith("AWS/")) continue;
      expect(Object.keys(metric.dimensions ?? {}).sort(), metric.namespace).toEqual(dimensions[metric.namespace]);
      for (const value of Object.values(metric.dimensions ?? {})) expect(value).toMatch(/\w/);
    }
  });

  it("puts together only what it asked for, and judges one outcome", () => {
    for (const alarm of alarmsOf(name)) {
      const queries = queriesOf(alarm);
      expect(queries.filter(({ returnData }) => returnData === true)).toHaveLength(1);
      const expression = queries.find((query) => query.expression !== undefined)?.expression ?? "";
      const known = queries.flatMap(({ id, metric }) => (metric ? [id] : []));
      expect((expression.match(/\b[a-z]\w*/g) ?? []).filter((word) => !known.includes(word))).toEqual([]);
    }
  });

  it.each([
    ["login-success", { bad: 30 }, { good: 30 }],
    ["session-success", { unreached: 30 }, { good: 30, refused: 5 }],
    ["audit-failing", { shipped: 1 }, { shipped: 0 }],
    ["rotate-trouble", { failing: 1 }, { failing: 0 }],
    ["rotate-trouble", { errors: 1 }, { failing: 0 }],
    ["table-throttled", { writes: 1 }, {}],
    ["api-errors", { all: 40, errors: 40 }, { all: 40 }],
  ])("raises %s although series are silent, and only when it should", (alarmed, ill, well) => {
    const alarm = alarmsOf(name).find((one) => short(name, one) === alarmed) ?? {};
    const queries = queriesOf(alarm);
    const ids = queries.flatMap(({ id, metric }) => (metric ? [id] : []));
    const expression = queries.find((query) => query.expression !== undefined)?.expression ?? "";
    const raised = (told: Readonly<Record<string, number>>): boolean => {
      // what has no value at that time makes whatever is reckoned from it have none: NaN, as here
      const silent = Object.fromEntries(ids.map((id) => [id, Number.NaN]));
      const FILL = (value: number, otherwise: number) => (Number.isNaN(value) ? otherwise : value);
      const IF = (is: boolean, then: number, otherwise: number) => (is ? then : otherwise);
      const outcome = Number(runInNewContext(expression, { FILL, IF, ...silent, ...told }));
      const threshold = Number(alarm["threshold"]);
      return alarm["comparisonOperator"] === "LessThanThreshold" ? outcome < threshold : outcome > threshold;
    };
    expect([raised(ill), raised(well)]).toEqual([true, false]);
  });

  it("reads for each metric a line that is written, and a member that it has", () => {
    for (const filter of filtersOf(name)) {
      const pattern = String(filter["pattern"]);
      const group = String(filter["logGroupName"]);
      const from = group.slice(group.lastIndexOf("/") + 1).replace(`sallyport-${stageOf(name)}-`, "");
      const message = /\$\.message = "([^"]+)"/.exec(pattern)?.[1];
      if (message === undefined) {
        expect(pattern).toBe('{ $.level = "ERROR" }');
        continue;
      }
      const written = (sources[from] ?? []).map((file) => readFileSync(join(root, file), "utf8")).join("\n");
      const at = written.search(new RegExp(`log\\.(info|warn|error)\\(\\s*"${message}"`));
      expect(at, `${from} writes "${message}"`).toBeGreaterThan(-1);
      const { value } = filter["metricTransformation"] as { value: string };
      if (value.startsWith("$."))
        expect(written.slice(at - 400, at + 400)).toMatch(new RegExp(`\\b${value.slice(2)}\\b`));
    }
  });

  it("reads the logs of functions that are there", () => {
    const groups = new Set(filtersOf(name).map((filter) => String(filter["logGroupName"])));
    const own = [...groups].filter((group) => group.startsWith("/aws/lambda/")).map((group) => group.split("-").at(-1));
    expect(own.filter((each) => !functionsOf(name).includes(each ?? ""))).toEqual([]);
    expect(groups).toContain(`/sallyport/${stageOf(name)}/proxy`);
  });

  it("counts silence of the balancer as no proxy, and no other silence as anything", () => {
    for (const alarm of alarmsOf(name))
      expect(alarm["treatMissingData"]).toBe(short(name, alarm) === "no-proxy" ? "breaching" : "notBreaching");
  });

  it("shows each on one page", () => {
    const { widgets } = JSON.parse(String(only(name, "aws:cloudwatch/dashboard:Dashboard")["dashboardBody"])) as {
      widgets: readonly { properties: { title: string; metrics: readonly (readonly unknown[])[] } }[];
    };
    const titles = widgets.map(({ properties }) => properties.title);
    for (const alarm of alarmsOf(name)) {
      const [says] = String(alarm["alarmDescription"]).split("; docs/");
      expect(titles).toContain(says);
    }
    for (const { properties } of widgets) for (const metric of properties.metrics) expect(metric.length % 2).toBe(1);
    expect(one(name, "aws:sns/topic:Topic", "Alarms")).toBeDefined();
  });
});
