// What is kept: the table, the audit's bucket and what its policy refuses, the letters of what failed.
import { describe, expect, it } from "vitest";
import { account, all, chosen, names, one, only, type Rule, rules, stageOf } from "./graph.ts";

describe.each(names)("%s", (name) => {
  const production = stageOf(name) === "production";
  const policy = (): readonly Rule[] => rules(only(name, "aws:s3/bucketPolicy:BucketPolicy")["policy"]);
  const refused = (sid: string): Rule => {
    const found = policy().find(({ Sid }) => Sid === sid) ?? expect.unreachable(`the policy has no ${sid}`);
    expect(found).toMatchObject({ Effect: "Deny", Principal: "*" });
    return found;
  };

  it("keeps one table with pk and sk, TTL on ttl, encryption and point-in-time recovery", () => {
    expect(all(name, "aws:dynamodb/table:Table").map(({ inputs }) => inputs)).toEqual([
      expect.objectContaining({
        attributes: [
          { name: "pk", type: "S" },
          { name: "sk", type: "S" },
        ],
        hashKey: "pk",
        rangeKey: "sk",
        ttl: { attributeName: "ttl", enabled: true },
        pointInTimeRecovery: { enabled: true },
        serverSideEncryption: { enabled: true },
        globalSecondaryIndexes: [],
        deletionProtectionEnabled: production,
      }),
    ]);
  });

  it("S-43 locks every object of the audit, in production against its owner too", () => {
    expect(one(name, "aws:s3/bucket:Bucket", "Audit")).toMatchObject({ objectLockEnabled: true, forceDestroy: false });
    expect(only(name, "aws:s3/bucketVersioning:BucketVersioning")).toMatchObject({
      versioningConfiguration: { status: "Enabled" },
    });
    const days = name === chosen.name ? 30 : production ? 365 : 1;
    expect(only(name, "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration")).toMatchObject({
      rule: { defaultRetention: { mode: production ? "COMPLIANCE" : "GOVERNANCE", days } },
    });
    const [rule] = only(name, "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")["rules"] as readonly {
      expiration: { days: number };
    }[];
    expect(rule?.expiration.days).toBeGreaterThan(days);
  });

  it("shows the audit to no public", () => {
    expect(only(name, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")).toMatchObject({
      blockPublicAcls: true,
      blockPublicPolicy: true,
      ignorePublicAcls: true,
      restrictPublicBuckets: true,
    });
    expect(policy().filter(({ Effect }) => Effect === "Allow")).toEqual([]);
  });

  it("S-43 takes an object only if none is there, over TLS, from a proxy, below its own name", () => {
    expect(refused("OverTlsOnly")).toMatchObject({
      Action: ["s3:*"],
      Resource: ["arn:aws:s3:::audit", "arn:aws:s3:::audit/*"],
      Condition: { Bool: { "aws:SecureTransport": "false" } },
    });
    expect(refused("PutIfAbsent")).toMatchObject({
      Action: ["s3:PutObject"],
      Resource: "arn:aws:s3:::audit/*",
      Condition: { Null: { "s3:if-none-match": "true" }, Bool: { "s3:ObjectCreationOperation": "true" } },
    });
    expect(refused("PutByProxiesAlone")).toMatchObject({
      Action: ["s3:PutObject"],
      Resource: "arn:aws:s3:::audit/*",
      Condition: { ArnNotEquals: { "aws:PrincipalArn": [`arn:aws:iam::${account}:role/ProxyTaskRole`] } },
    });
    const own = refused("PutUnderOnesOwnName");
    expect(own).toMatchObject({ Action: ["s3:PutObject"], NotResource: "arn:aws:s3:::audit/segments/${aws:userid}/*" });
    expect(own.Condition).toBeUndefined();
  });

  it("S-43 refuses deleting and loosening to everybody", () => {
    const never = refused("NeverDeletedOrLoosened");
    expect(never.Condition).toBeUndefined();
    expect(never.Action).toEqual(
      expect.arrayContaining([
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:PutObjectRetention",
        "s3:BypassGovernanceRetention",
      ]),
    );
  });

  it("keeps what failed for two weeks, encrypted, from this account alone", () => {
    expect(only(name, "aws:sqs/queue:Queue")).toMatchObject({
      messageRetentionSeconds: 14 * 86_400,
      sqsManagedSseEnabled: true,
    });
    const refusals = rules(only(name, "aws:sqs/queuePolicy:QueuePolicy")["policy"]);
    expect(refusals.map(({ Effect, Condition }) => [Effect, Condition])).toEqual([
      ["Deny", { Bool: { "aws:SecureTransport": "false" } }],
      ["Deny", { StringNotEquals: { "aws:PrincipalAccount": account } }],
    ]);
  });

  it("draws the key of cancels once and shows it to nobody", () => {
    const version = only(name, "aws:secretsmanager/secretVersion:SecretVersion");
    expect(version).toMatchObject({ secretId: "CancelKey-id", secretString: "drawn" });
    expect(one(name, "aws:secretsmanager/secret:Secret", "CancelKey")["name"]).toBe(
      `sallyport/${stageOf(name)}/proxy/cancel-key`,
    );
  });
});
