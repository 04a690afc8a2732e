// Which hosts are AWS's own, by service, region and partition: a token or password goes nowhere else (S-35).
import type { Database } from "@sallyport/core/database";

type Where = Pick<Database, "partition" | "region">;

const directions: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...{ north: "n", south: "s", east: "e", west: "w", central: "c" },
    ...{ northeast: "ne", northwest: "nw", southeast: "se", southwest: "sw" },
  }),
);

/** A region as ElastiCache's hosts name it: `euw1` for eu-west-1, `ugw1` for us-gov-west-1; undefined for one that is not made as AWS's are. */
const shortRegion = (region: string): string | undefined => {
  const [, area = "", gov, direction = "", number = ""] = /^([a-z]{2})-(gov-)?([a-z]+)-(\d+)$/.exec(region) ?? [];
  const way = directions.get(direction);
  return way === undefined ? undefined : `${gov === undefined ? area : `${area.charAt(0)}g`}${way}${number}`;
};

/** What the names of AWS's hosts end in; undefined for a partition that is not known here. */
const ending = (partition: string): string | undefined => {
  if (partition === "aws" || partition === "aws-us-gov") return "amazonaws.com";
  return partition === "aws-cn" ? "amazonaws.com.cn" : undefined;
};

/** Caches have orders of the labels of their own, the same in every partition. */
const cacheDomains = (service: "cache" | "memorydb", { partition, region }: Where): readonly string[] => {
  const end = ending(partition);
  if (end === undefined) return [];
  if (service === "memorydb") return [`.memorydb.${region}.${end}`];
  const short = shortRegion(region);
  return short === undefined ? [] : [`.${short}.cache.${end}`];
};

const domainsOf = (service: string, { partition, region }: Where): readonly string[] => {
  if (service === "cache" || service === "memorydb") return cacheDomains(service, { partition, region });
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
