// The one table: string keys whose partition begins with a family, point-in-time recovery, housekeeping by TTL.
// Expiry is checked in code, always; TTL only sweeps up.

export const table = () =>
  new sst.aws.Dynamo("Table", {
    fields: { pk: "string", sk: "string" },
    primaryIndex: { hashKey: "pk", rangeKey: "sk" },
    ttl: "expiresAt",
    deletionProtection: $app.stage === "production",
    transform: { table: { pointInTimeRecovery: { enabled: true } } },
  });
