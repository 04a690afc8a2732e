// The one table. Partition keys begin with a family, which is what permissions are written against. TTL only tidies: expiry
// is checked in code, always. Production keeps it when the deployment is removed.

export const table = () =>
  new sst.aws.Dynamo("Table", {
    fields: { pk: "string", sk: "string" },
    primaryIndex: { hashKey: "pk", rangeKey: "sk" },
    ttl: "ttl",
    deletionProtection: $app.stage === "production",
    transform: { table: { pointInTimeRecovery: { enabled: true }, serverSideEncryption: { enabled: true } } },
  });
