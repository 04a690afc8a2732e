// What runs by the clock. EventBridge Scheduler delivers at least once and SST retries nothing unless told to; each job
// converges from wherever the last one stopped, so a repeat is harmless.
import { lambda } from "./lambda";

export const schedule = (table: sst.aws.Dynamo) => {
  const discover = lambda("discover", table, {
    description: "Reads the AWS APIs and keeps one item per database endpoint",
    timeout: "5 minutes",
  });
  const sweep = lambda("sweep", table, {
    description: "Closes the sessions of proxies that fell silent and repairs counters",
    timeout: "1 minute",
  });
  new sst.aws.CronV2("DiscoverSchedule", { schedule: "rate(5 minutes)", function: discover.arn, retries: 2 });
  new sst.aws.CronV2("SweepSchedule", { schedule: "rate(1 minute)", function: sweep.arn, retries: 2 });
};
