// The one table. Partition keys begin with a family, which is what permissions are written against; point-in-time
// recovery is SST's default. TTL only tidies: expiry is checked in code, always.

export const table = () =>
  new sst.aws.Dynamo("Table", {
    fields: { pk: "string", sk: "string" },
    primaryIndex: { hashKey: "pk", rangeKey: "sk" },
    ttl: "ttl",
    deletionProtection: $app.stage === "production",
  });
