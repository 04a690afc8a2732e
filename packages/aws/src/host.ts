// Which hosts are AWS's own, by service, region and partition: a token or password goes nowhere else (S-35).
import type { Database } from "@sallyport/core/database";

const domains: ReadonlyMap<string, (region: string) => readonly string[]> = new Map([
  ["aws", (region: string) => [`.${region}.rds.amazonaws.com`]],
  ["aws-us-gov", (region: string) => [`.${region}.rds.amazonaws.com`]],
  // China has its own order of the labels beside the usual one
  ["aws-cn", (region: string) => [`.rds.${region}.amazonaws.com.cn`, `.${region}.rds.amazonaws.com.cn`]],
]);

/** Is this host RDS's own in that region and partition? A token goes nowhere else (S-35). */
export const isRdsHost = (host: string, { partition, region }: Pick<Database, "partition" | "region">): boolean =>
  /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(host) &&
  (domains.get(partition)?.(region) ?? []).some((domain) => host.endsWith(domain) && host.length > domain.length);
