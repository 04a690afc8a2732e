// One page to look at: a graph of what each alarm watches, and of the sessions that are live.
import { place } from "./deployment";
import { namespace } from "./metrics";

interface Series {
  readonly namespace: string;
  readonly metricName: string;
  readonly dimensions?: Readonly<Record<string, $util.Input<string>>>;
  readonly stat: string;
}
export interface Graph {
  readonly title: string;
  readonly of: readonly Series[];
}

const width = 8;
const height = 6;
const perRow = 3;

/** CloudWatch's own shape of a series: namespace, metric, then dimensions by turns, then how it is drawn. */
const drawn = ({ namespace: from, metricName, dimensions = {}, stat }: Series) =>
  $util.all(Object.entries(dimensions).flat()).apply((pairs) => [from, metricName, ...pairs, { stat }]);

export const dashboard = (watched: readonly Graph[]): void => {
  const live: Graph = {
    title: "live sessions, by their proxies' count each minute",
    of: [{ namespace: namespace(), metricName: "LiveSessions", stat: "Sum" }],
  };
  const widgets = place().apply(({ region }) =>
    [live, ...watched].map(({ title, of }, at) => ({
      type: "metric",
      x: (at % perRow) * width,
      y: Math.floor(at / perRow) * height,
      width,
      height,
      properties: { title, region, view: "timeSeries", period: 60, metrics: of.map(drawn) },
    })),
  );
  new aws.cloudwatch.Dashboard("Dashboard", {
    dashboardName: `${$app.name}-${$app.stage}`,
    dashboardBody: $util.output(widgets).apply((all) => JSON.stringify({ widgets: all })),
  });
};
