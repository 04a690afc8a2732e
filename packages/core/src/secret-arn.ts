// The ARN of a secret of the deployment, by its name below the deployment's own prefix. Pure.
import type { Deployment } from "./permission.ts";

export const secretArn = (
  { partition, region, account, secretPrefix }: Pick<Deployment, "partition" | "region" | "account" | "secretPrefix">,
  name: string,
): string => `arn:${partition}:secretsmanager:${region}:${account}:secret:${secretPrefix}/${name}`;
