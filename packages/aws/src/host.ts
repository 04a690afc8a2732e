// Which hosts are AWS's own, by service, region and partition: a token or password goes nowhere else (S-35).
import type { Database } from "@sallyport/core/database";

type Where = Pick<Database, "partition" | "region">;

const domainsOf = (service: string, { partition, region }: Where): readonly string[] => {
  const usual = `.${region}.${service}.amazonaws.com`;
  if (partition === "aws" || partition === "aws-us-gov") return [usual];
  // China has its own order of the labels beside the usual one
  return partition === "aws-cn" ? [`.${service}.${region}.amazonaws.com.cn`, `${usual}.cn`] : [];
};

/** Is this host that service's own in that region and partition? */
export const isHostOf = (service: string, host: string, where: Where): boolean =>
  /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(host) &&
  domainsOf(service, where).some((domain) => host.endsWith(domain) && host.length > domain.length);

export const isRdsHost = (host: string, where: Where): boolean => isHostOf("rds", host, where);

/** The hosts of STS that sign for a database there: the region's own, and in the first partition the one without a region. */
export const stsHosts = ({ partition, region }: Where): readonly string[] => {
  if (partition === "aws") return ["sts.amazonaws.com", `sts.${region}.amazonaws.com`];
  if (partition === "aws-us-gov") return [`sts.${region}.amazonaws.com`];
  return partition === "aws-cn" ? [`sts.${region}.amazonaws.com.cn`] : [];
};
