// What the resources themselves refuse, whatever anybody's own policy allows: keys sign for one role, the table is written by
// ours alone, the certificate is read by those who show it, and the audit is only ever added to.
import { type Ground, place } from "./deployment";
import { certificateName } from "./secrets";

/** Roles by their ARN. */
export interface Roles {
  readonly proxy: $util.Output<string>;
  readonly certify: $util.Output<string> | undefined;
  /** Every function that writes to the table. */
  readonly writers: readonly $util.Output<string>[];
}

const document = (statements: readonly object[]): string =>
  JSON.stringify({ Version: "2012-10-17", Statement: statements });

const deny = (Sid: string, Action: readonly string[], where: object): object => ({
  Sid,
  Effect: "Deny",
  Principal: "*",
  Action,
  ...where,
});
const unless = (...roles: readonly string[]) => ({ Condition: { ArnNotEquals: { "aws:PrincipalArn": roles } } });
const inTheClear = { Condition: { Bool: { "aws:SecureTransport": "false" } } };

// aliases need their key's leave too
const administration = [
  "CreateAlias",
  "UpdateAlias",
  "DeleteAlias",
  "DescribeKey",
  "GetKeyPolicy",
  "GetKeyRotationStatus",
  "GetPublicKey",
  "ListKeyPolicies",
  "ListGrants",
  "ListResourceTags",
  "PutKeyPolicy",
  "UpdateKeyDescription",
  "EnableKey",
  "DisableKey",
  "TagResource",
  "UntagResource",
  "ScheduleKeyDeletion",
  "CancelKeyDeletion",
  "Verify",
].map((action) => `kms:${action}`);

/** The account administers the key by its own policies; signing digests is given to one role here and to nobody by any policy elsewhere. */
const keyPolicy = (name: string, key: aws.kms.Key, signer: $util.Output<string> | undefined): void => {
  const policy = $util.all([place(), signer ?? ""]).apply(([{ partition, account }, role]) =>
    document([
      {
        Sid: "Administer",
        Effect: "Allow",
        Principal: { AWS: `arn:${partition}:iam::${account}:root` },
        Action: administration,
        Resource: "*",
      },
      ...(role === ""
        ? []
        : [
            {
              Sid: "Sign",
              Effect: "Allow",
              Principal: { AWS: role },
              Action: ["kms:Sign"],
              Resource: "*",
              // a key's own policy allows by itself: it must say no more than the role's
              Condition: { StringEquals: { "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST" } },
            },
          ]),
    ]),
  );
  new aws.kms.KeyPolicy(name, { keyId: key.id, policy });
};

const tableWrites = [
  "PutItem",
  "UpdateItem",
  "DeleteItem",
  "BatchWriteItem",
  "PartiQLInsert",
  "PartiQLUpdate",
  "PartiQLDelete",
];

const tablePolicy = ({ table }: Ground, { proxy, writers }: Roles): void => {
  const policy = $util.all([table.arn, $util.all([proxy, ...writers])]).apply(([arn, roles]) =>
    document([
      deny(
        "WrittenByOursAlone",
        tableWrites.map((action) => `dynamodb:${action}`),
        { Resource: arn, ...unless(...roles) },
      ),
    ]),
  );
  new aws.dynamodb.ResourcePolicy("TablePolicy", { resourceArn: table.arn, policy });
};

/** `made` is what the secret is there after: certify makes it in its first run. */
const certificatePolicy = ({ proxy, certify }: Roles, made: readonly $util.Resource[]): void => {
  const found = aws.secretsmanager.getSecretOutput({ name: certificateName() }, { dependsOn: [...made] });
  const policy = $util.all([proxy, certify ?? ""]).apply(([shows, issues]) => {
    const makers = issues === "" ? [] : [issues];
    const write = ["PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"].map((one) => `secretsmanager:${one}`);
    return document([
      deny("ReadByThoseWhoShowIt", ["secretsmanager:GetSecretValue"], { Resource: "*", ...unless(shows, ...makers) }),
      // one's own is written by its owner
      ...(issues === "" ? [] : [deny("WrittenByItsIssuer", write, { Resource: "*", ...unless(issues) })]),
    ]);
  });
  new aws.secretsmanager.SecretPolicy("CertificatePolicy", { secretArn: found.arn, policy, blockPublicPolicy: true });
};

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html */
const auditPolicy = ({ audit }: Ground, { proxy }: Roles): void => {
  const policy = $util.all([audit.arn, proxy]).apply(([bucket, role]) => {
    const objects = `${bucket}/*`;
    const put = ["s3:PutObject"];
    return document([
      deny("OverTlsOnly", ["s3:*"], { Resource: [bucket, objects], ...inTheClear }),
      deny("PutIfAbsent", put, {
        Resource: objects,
        Condition: { Null: { "s3:if-none-match": "true" }, Bool: { "s3:ObjectCreationOperation": "true" } },
      }),
      deny("PutByProxiesAlone", put, { Resource: objects, ...unless(role) }),
      // each task under its own name, which IAM fills in
      deny("PutUnderOnesOwnName", put, { NotResource: `${bucket}/segments/\${aws:userid}/*` }),
      deny(
        "NeverDeletedOrLoosened",
        [
          "s3:DeleteObject",
          "s3:DeleteObjectVersion",
          "s3:PutObjectRetention",
          "s3:PutObjectLegalHold",
          "s3:PutObjectAcl",
          "s3:BypassGovernanceRetention",
        ],
        { Resource: objects },
      ),
    ]);
  });
  new aws.s3.BucketPolicy("AuditPolicy", { bucket: audit.id, policy });
};

const lettersPolicy = ({ letters }: Ground): void => {
  const policy = $util.all([letters.arn, place()]).apply(([arn, { account }]) =>
    document([
      deny("OverTlsOnly", ["sqs:*"], { Resource: arn, ...inTheClear }),
      deny("FromThisAccountAlone", ["sqs:SendMessage", "sqs:ReceiveMessage"], {
        Resource: arn,
        Condition: { StringNotEquals: { "aws:PrincipalAccount": account } },
      }),
    ]),
  );
  new aws.sqs.QueuePolicy("DeadLettersPolicy", { queueUrl: letters.url, policy });
};

export const policies = (ground: Ground, roles: Roles, certificateMade: readonly $util.Resource[]): void => {
  keyPolicy("RootKeyPolicy", ground.keys.root, roles.certify);
  keyPolicy("AuditKeyPolicy", ground.keys.audit, roles.proxy);
  tablePolicy(ground, roles);
  certificatePolicy(roles, certificateMade);
  auditPolicy(ground, roles);
  lettersPolicy(ground);
};
