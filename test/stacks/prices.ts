// What AWS asks for in us-east-1, in US dollars without tax, free tier and discounts. Taken on the day below; the pages named are what
// to check it against. Not read from AWS by any program: who changes a number changes the day.

export const pricedOn = "2026-11-21";
export const region = "us-east-1 (N. Virginia)";

export const hoursAMonth = 730;

/** https://aws.amazon.com/fargate/pricing/, Linux/ARM. 20 GB of disk a task are included. */
export const fargate = { vcpuHour: 0.03238, gigabyteHour: 0.00356 };
/** https://aws.amazon.com/elasticloadbalancing/pricing/, Network Load Balancer; one unit carries 1 GB an hour. */
export const balancer = { hour: 0.0225, unitHour: 0.006 };
/** https://aws.amazon.com/vpc/pricing/, public IPv4 addresses, in use. */
export const publicAddress = { hour: 0.005 };
/** https://aws.amazon.com/privatelink/pricing/, interface endpoints, each zone. Gateway endpoints cost nothing. */
export const endpoint = { hour: 0.01, gigabyte: 0.01 };
/** https://aws.amazon.com/transit-gateway/pricing/ */
export const transitAttachment = { hour: 0.05, gigabyte: 0.02 };
/** https://aws.amazon.com/kms/pricing/; requests with asymmetric keys other than RSA 2048. */
export const kms = { key: 1, tenThousandSigns: 0.15 };
/** https://aws.amazon.com/secrets-manager/pricing/ */
export const secret = { month: 0.4, tenThousandCalls: 0.05 };
/** https://aws.amazon.com/dynamodb/pricing/on-demand/; a strongly consistent read of up to 4 KB is one unit, a write of up to 1 KB. */
export const table = { millionReads: 0.125, millionWrites: 0.625, gigabyteMonth: 0.25, recoveryGigabyteMonth: 0.2 };
/** https://aws.amazon.com/lambda/pricing/, Arm. */
export const lambda = { millionCalls: 0.2, gigabyteSecond: 0.0000133334 };
/** https://aws.amazon.com/api-gateway/pricing/, HTTP APIs. */
export const gateway = { millionCalls: 1 };
/** https://aws.amazon.com/s3/pricing/, S3 Standard. */
export const bucket = { gigabyteMonth: 0.023, thousandPuts: 0.005 };
/** https://aws.amazon.com/cloudwatch/pricing/ */
export const cloudwatch = { alarmMetric: 0.1, metric: 0.3, dashboard: 3, logGigabyte: 0.5 };
/** https://aws.amazon.com/eventbridge/pricing/, Scheduler. */
export const scheduler = { millionCalls: 1 };
/** https://aws.amazon.com/ecr/pricing/ */
export const registry = { gigabyteMonth: 0.1 };
