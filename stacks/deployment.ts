// What this deployment's ARNs are made of: the facts from which core writes the IAM statements.
import type { Deployment } from "@sallyport/core/permission";

/** Functions are named here rather than by SST, so that one may name another before it exists. */
export const functionName = (name: string): string => `${$app.name}-${$app.stage}-${name}`;

export const deployment = (table: sst.aws.Dynamo): $util.Output<Deployment> =>
  $util
    .all([
      aws.getPartitionOutput().partition,
      aws.getRegionOutput().region,
      aws.getCallerIdentityOutput().accountId,
      table.arn,
    ])
    .apply(([partition, region, account, tableArn]) => ({
      partition,
      region,
      account,
      tableArn,
      discoverArn: `arn:${partition}:lambda:${region}:${account}:function:${functionName("discover")}`,
      secretPrefix: `${$app.name}/${$app.stage}`,
      assumable: [],
    }));
