// How fast AWS lets one account change things in one region, for whoever wants to be throttled as there:
// `for (const rate of awsRates) aws.fault.throttle(rate)`. The calls of rotation are what this limits.
import type { Rate, Where } from "./fault.ts";

export const awsRates: readonly (Where & Rate)[] = [
  { service: "elasticache", operation: "ModifyUser", rate: 5, burst: 10 },
  { service: "memorydb", operation: "UpdateUser", rate: 5, burst: 10 },
  // AWS allows more for reading; all together is the stricter reading
  { service: "secretsmanager", rate: 50, burst: 50, shared: true },
];
