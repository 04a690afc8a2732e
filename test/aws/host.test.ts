// Which hosts are AWS's own: names from the services' own documentation, and everything beside them.
import { isHostOf } from "@sallyport/aws/host";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

describe("S-35 hosts of caches", () => {
  it.each([
    ["cache", "aws", "us-east-1", "master.orders.abc123.use1.cache.amazonaws.com"],
    ["cache", "aws", "eu-west-1", "clustercfg.orders.abc123.euw1.cache.amazonaws.com"],
    ["cache", "aws", "ap-southeast-2", "orders-abc123.serverless.apse2.cache.amazonaws.com"],
    ["cache", "aws", "ap-northeast-1", "replica.orders.abc123.apne1.cache.amazonaws.com"],
    ["cache", "aws", "ca-central-1", "master.orders.abc123.cac1.cache.amazonaws.com"],
    ["cache", "aws", "me-south-1", "master.orders.abc123.mes1.cache.amazonaws.com"],
    ["cache", "aws-us-gov", "us-gov-west-1", "master.orders.abc123.ugw1.cache.amazonaws.com"],
    ["cache", "aws-cn", "cn-north-1", "master.orders.abc123.cnn1.cache.amazonaws.com.cn"],
    ["cache", "aws-cn", "cn-northwest-1", "master.orders.abc123.cnnw1.cache.amazonaws.com.cn"],
    ["memorydb", "aws", "eu-west-1", "clustercfg.ledger.abc123.memorydb.eu-west-1.amazonaws.com"],
    ["memorydb", "aws-cn", "cn-north-1", "clustercfg.ledger.abc123.memorydb.cn-north-1.amazonaws.com.cn"],
  ])("are %s's own in %s %s: %s", (service, partition, region, host) => {
    expect(isHostOf(service, host, { partition, region })).toBe(true);
    // nobody else's, and nobody's elsewhere
    expect(isHostOf(service === "cache" ? "memorydb" : "cache", host, { partition, region })).toBe(false);
    expect(isHostOf("rds", host, { partition, region })).toBe(false);
    expect(isHostOf(service, host, { partition, region: "sa-east-1" })).toBe(false);
    for (const other of ["aws", "aws-cn", "aws-us-gov", "aws-iso", "constructor"].filter((one) => one !== partition))
      if (!(partition !== "aws-cn" && other !== "aws-cn" && /^aws(-us-gov)?$/.test(other)))
        expect(isHostOf(service, host, { partition: other, region })).toBe(false);
  });

  it("have a region that is made as AWS's are: no other has any", () => {
    const host = (middle: string) => `master.orders.abc123.${middle}.cache.amazonaws.com`;
    for (const region of ["", "eu-west", "eu-upwards-1", "west-1", "eu-constructor-1", "eu--1", "EU-WEST-1"])
      for (const middle of ["", "eu1", "euw", "undefined", "euundefined1", region])
        expect(isHostOf("cache", host(middle), { partition: "aws", region })).toBe(false);
  });

  it("end in the service's own domain, with a name before it and nothing behind, whatever else they hold", () => {
    const where = { partition: "aws", region: "eu-west-1" };
    fc.assert(
      fc.property(fc.constantFrom("cache", "memorydb"), fc.string(), fc.string(), (service, before, behind) => {
        const domain = service === "cache" ? ".euw1.cache.amazonaws.com" : ".memorydb.eu-west-1.amazonaws.com";
        const plain = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(before) && behind === "";
        expect(isHostOf(service, `${before}${domain}${behind}`, where)).toBe(plain);
      }),
      { numRuns: 500 },
    );
  });
});
