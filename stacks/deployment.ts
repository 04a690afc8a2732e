// What this deployment's ARNs are made of: the facts from which core writes the IAM statements, and the names that are chosen here
// rather than by SST, so that one part may name another before it exists.
import type { Deployment } from "@sallyport/core/permission";
import type { Keys } from "./keys";
import type { Settings } from "./settings";

export const functionName = (name: string): string => `${$app.name}-${$app.stage}-${name}`;
export const clusterName = (): string => functionName("proxies");
export const secretPrefix = (): string => `${$app.name}/${$app.stage}`;

/** What everything else stands on. */
export interface Ground {
  readonly settings: Settings;
  readonly table: sst.aws.Dynamo;
  readonly keys: Keys;
  readonly audit: aws.s3.Bucket;
  /** Where what failed for good is kept. */
  readonly letters: aws.sqs.Queue;
}

/** Partition, region and account, and the ARN of something in them. */
export const place = () =>
  $util
    .all([aws.getPartitionOutput().partition, aws.getRegionOutput().region, aws.getCallerIdentityOutput().accountId])
    .apply(([partition, region, account]) => ({
      partition,
      region,
      account,
      arn: (service: string, rest: string): string => `arn:${partition}:${service}:${region}:${account}:${rest}`,
    }));

export const deployment = ({ table, settings, keys, audit }: Ground): $util.Output<Deployment> =>
  $util
    .all([place(), table.arn, keys.root.arn, audit.arn, keys.audit.arn])
    .apply(([{ partition, region, account, arn }, tableArn, rootKeyArn, auditBucketArn, auditKeyArn]) => {
      const functionArn = (name: string): string => arn("lambda", `function:${functionName(name)}`);
      return {
        partition,
        region,
        account,
        tableArn,
        discoverArn: functionArn("discover"),
        probeArn: functionArn("probe"),
        rotateArn: functionArn("rotate"),
        ...(settings.rotationKey !== undefined ? { managedKeyArn: settings.rotationKey } : {}),
        ...(settings.enabling.length > 0 ? { enableArn: functionArn("enable"), enabling: settings.enabling } : {}),
        ...(settings.connectTo.length > 0 ? { scope: settings.connectTo } : {}),
        rootKeyArn,
        auditKeyArn,
        auditBucketArn,
        taskArn: arn("ecs", `task/${clusterName()}/*`),
        secretPrefix: secretPrefix(),
        assumable: settings.assumable,
      };
    });
