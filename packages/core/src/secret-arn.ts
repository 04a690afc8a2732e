// The ARN of a secret of the deployment, by its name below the deployment's own prefix, and the tag that makes a secret one. Pure.
import type { Deployment } from "./permission.ts";

/** Without it a secret is somebody else's, whatever its name. */
export const ownSecretTag = { key: "sallyport/owner", value: "sallyport" } as const;

export const secretArn = (
  { partition, region, account, secretPrefix }: Pick<Deployment, "partition" | "region" | "account" | "secretPrefix">,
  name: string,
): string => `arn:${partition}:secretsmanager:${region}:${account}:secret:${secretPrefix}/${name}`;
