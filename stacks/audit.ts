// Where the audit goes and stays: a bucket whose objects can't be changed or deleted before their time. Outside production the lock
// yields to whoever may bypass it (governance); in production to nobody, the account's owner included (compliance).
import type { Settings } from "./settings";

export const audit = ({ auditDays }: Settings) => {
  const bucket = new aws.s3.Bucket("Audit", { objectLockEnabled: true, forceDestroy: false });
  new aws.s3.BucketVersioning("AuditVersioning", {
    bucket: bucket.id,
    versioningConfiguration: { status: "Enabled" },
  });
  new aws.s3.BucketObjectLockConfiguration("AuditLock", {
    bucket: bucket.id,
    rule: {
      defaultRetention: { mode: $app.stage === "production" ? "COMPLIANCE" : "GOVERNANCE", days: auditDays },
    },
  });
  new aws.s3.BucketPublicAccessBlock("AuditPublicAccess", {
    bucket: bucket.id,
    blockPublicAcls: true,
    blockPublicPolicy: true,
    ignorePublicAcls: true,
    restrictPublicBuckets: true,
  });
  new aws.s3.BucketOwnershipControls("AuditOwnership", {
    bucket: bucket.id,
    rule: { objectOwnership: "BucketOwnerEnforced" },
  });
  // a version of its own is what deleting makes of an object here; what is no longer held is let go
  new aws.s3.BucketLifecycleConfiguration("AuditLifecycle", {
    bucket: bucket.id,
    rules: [
      {
        id: "let-go",
        status: "Enabled",
        filter: { prefix: "" },
        expiration: { days: auditDays + 1 },
        noncurrentVersionExpiration: { noncurrentDays: 1 },
        abortIncompleteMultipartUpload: { daysAfterInitiation: 1 },
      },
    ],
  });
  return bucket;
};
