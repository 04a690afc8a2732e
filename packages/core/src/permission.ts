// Every IAM statement the project needs, as data: per principal, and per kind and principal. The stacks grant exactly these,
// the laptop account enforces them, and people print them: a permission that is missing fails a test, not a deployment.
import type { KindName } from "./database.ts";
import type { Family } from "./family.ts";
import { managedServices } from "./managed.ts";
import { cacheChange, cacheListing, cacheLogin, cachePasswords, isCacheScope, viaSecrets } from "./permission-cache.ts";
import { ownSecretTag, secretArn } from "./secret-arn.ts";

/** An IAM policy statement; effect is always Allow. */
export interface Statement {
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditions?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

export const principals = [
  "api",
  "bootstrap",
  "certify",
  "discover",
  "enable",
  "probe",
  "rotate",
  "sweep",
  "proxy",
] as const;
export type Principal = (typeof principals)[number];

/** What the ARNs are made of. */
export interface Deployment {
  readonly partition: string;
  readonly account: string;
  readonly region: string;
  readonly tableArn: string;
  /** The discover function, which the API may start. */
  readonly discoverArn: string;
  /** The function that looks whether a database is reached from inside the network, which the API may start. */
  readonly probeArn?: string;
  /** The function that rotates passwords, which the API may start. */
  readonly rotateArn?: string;
  /** The function that switches IAM authentication on, which discovery may start. Absent where the deployment did not opt in. */
  readonly enableArn?: string;
  /** Instances and clusters (ARNs, with wildcards) whose IAM authentication may be switched on; empty or absent: none. */
  readonly enabling?: readonly string[];
  /** What proxies may log in to, `<resource id>/<database user>` or `<type of cache>:<name>/<user>` with wildcards; absent: every database of the account. */
  readonly scope?: readonly string[];
  /** The key of the root certificate, which nobody but certify may sign with. */
  readonly rootKeyArn?: string;
  /** The key that managed users' secrets are encrypted with, where it is not Secrets Manager's own. */
  readonly managedKeyArn?: string;
  /** Where the audit goes, and the key that signs how far it goes. */
  readonly auditBucketArn?: string;
  readonly auditKeyArn?: string;
  /** The proxies' tasks, by a wildcard: ARNs of tasks end in what nobody knows before. */
  readonly taskArn?: string;
  /** Secrets of the proxies are named `<prefix>/proxy/…`. */
  readonly secretPrefix: string;
  /** Roles in other accounts that matchers name; empty when there are none. */
  readonly assumable: readonly string[];
}

/** A statement on items whose partition key begins with one of the families. */
const items = (deployment: Deployment, actions: readonly string[], ...families: readonly Family[]): Statement => ({
  actions: actions.map((action) => `dynamodb:${action}`),
  resources: [deployment.tableArn],
  conditions: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": families.map((family) => `${family}#*`) } },
});

const assume = (deployment: Deployment): readonly Statement[] =>
  deployment.assumable.length > 0 ? [{ actions: ["sts:AssumeRole"], resources: deployment.assumable }] : [];

const invoke = (...functions: readonly (string | undefined)[]): readonly Statement[] => {
  const resources = functions.filter((arn) => arn !== undefined);
  return resources.length > 0 ? [{ actions: ["lambda:InvokeFunction"], resources }] : [];
};

/** What is signed is a digest: KMS sees no message, and nothing else can be made of the key. */
const signWith = (key: string): Statement => ({
  actions: ["kms:Sign"],
  resources: [key],
  conditions: { StringEquals: { "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST" } },
});
const rootKey = ({ rootKeyArn }: Deployment): readonly Statement[] =>
  rootKeyArn === undefined ? [] : [{ actions: ["kms:GetPublicKey"], resources: [rootKeyArn] }, signWith(rootKeyArn)];

/** Put, under the task's own name, which IAM fills in; not read, not listed, not deleted. */
const auditing = ({ auditBucketArn, auditKeyArn }: Deployment): readonly Statement[] => [
  ...(auditBucketArn === undefined
    ? []
    : [{ actions: ["s3:PutObject"], resources: [`${auditBucketArn}/segments/\${aws:userid}/*`] }]),
  ...(auditKeyArn === undefined ? [] : [signWith(auditKeyArn)]),
];

/** A task asks through the agent beside it, which calls ECS as this role; IAM can't say "itself" of a task. */
const protecting = ({ taskArn }: Deployment): readonly Statement[] =>
  taskArn === undefined
    ? []
    : [{ actions: ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"], resources: [taskArn] }];

const managedSecrets = (d: Deployment, actions: readonly string[]): Statement => ({
  actions: actions.map((action) => `secretsmanager:${action}`),
  resources: managedServices.map((service) => secretArn(d, `${service}/*`)),
});

const read = ["GetItem", "BatchGetItem", "Query"];

/** What each principal needs whatever the kinds. */
const plane: Readonly<Record<Principal, (deployment: Deployment) => readonly Statement[]>> = {
  api: (d) => [
    items(d, read, "access", "epoch", "config", "login", "database", "token", "key", "proxy", "managed"),
    items(d, ["GetItem"], "trust"),
    items(d, ["PutItem", "UpdateItem", "DeleteItem"], "access", "login", "key"),
    items(d, ["PutItem", "DeleteItem"], "config"),
    items(d, ["PutItem", "UpdateItem"], "token"),
    items(d, ["UpdateItem"], "epoch"),
    items(d, ["PutItem"], "event"),
    items(d, ["GetItem"], "run"),
    ...invoke(d.discoverArn, d.probeArn, d.rotateArn),
  ],
  bootstrap: (d) => [
    items(d, ["GetItem"], "access"),
    items(d, ["PutItem"], "access", "key", "event"),
    items(d, ["UpdateItem"], "epoch", "login"),
  ],
  certify: (d) => [
    items(d, ["GetItem", "PutItem"], "trust"),
    items(d, ["PutItem"], "event"),
    {
      actions: [
        "CreateSecret",
        "TagResource",
        "DescribeSecret",
        "RestoreSecret",
        "GetSecretValue",
        "PutSecretValue",
        "UpdateSecretVersionStage",
      ].map((action) => `secretsmanager:${action}`),
      // an ARN ends in six characters of Secrets Manager's, but for a secret that is not there yet
      resources: ["", "-??????"].map((end) => `${secretArn(d, "proxy/certificate")}${end}`),
    },
    ...rootKey(d),
  ],
  discover: (d) => [
    items(d, ["Query"], "config", "database"),
    items(d, ["GetItem"], "run"),
    items(d, ["PutItem", "DeleteItem"], "database"),
    items(d, ["PutItem"], "run", "event"),
    items(d, ["UpdateItem"], "epoch"),
    ...assume(d),
    ...invoke(d.enableArn),
  ],
  // changing a database's settings is this function's alone: discovery, which asks for it, may not
  enable: (d) => [
    items(d, ["Query"], "config"),
    items(d, ["GetItem", "PutItem"], "run"),
    items(d, ["PutItem"], "event"),
  ],
  // it is handed what it needs
  probe: () => [],
  rotate: (d) => [
    items(d, ["Query"], "config", "database"),
    items(d, ["GetItem", "Query", "PutItem"], "managed"),
    items(d, ["GetItem"], "run"),
    items(d, ["PutItem"], "run", "event"),
    managedSecrets(d, ["CreateSecret", "TagResource", "DescribeSecret", "GetSecretValue"]),
    {
      ...managedSecrets(d, ["RestoreSecret", "PutSecretValue", "UpdateSecretVersionStage", "DeleteSecret"]),
      // somebody else's secret of such a name is looked at, and no more
      conditions: { StringEquals: { [`secretsmanager:ResourceTag/${ownSecretTag.key}`]: ownSecretTag.value } },
    },
    ...(d.managedKeyArn === undefined
      ? []
      : [
          {
            actions: ["kms:GenerateDataKey", "kms:Decrypt"],
            resources: [d.managedKeyArn],
            conditions: { StringEquals: { "kms:ViaService": viaSecrets(d) } },
          },
        ]),
    ...assume(d),
    ...invoke(d.probeArn),
  ],
  sweep: (d) => [
    items(d, ["Query"], "proxy", "session"),
    items(d, ["UpdateItem"], "session", "spend", "limit", "proxy"),
    items(d, ["DeleteItem"], "proxy"),
    items(d, ["PutItem"], "event"),
  ],
  // no Scan, no Delete, nothing on login# or key#: a captured proxy can't mint itself anything
  proxy: (d) => [
    items(d, read, "access", "epoch", "database", "token", "proxy"),
    // whether a user's password is rotated, and in which secret it is
    items(d, ["Query"], "managed"),
    items(d, ["UpdateItem"], "spend", "limit", "session"),
    items(d, ["PutItem"], "session", "proxy", "event"),
    {
      actions: ["secretsmanager:GetSecretValue"],
      resources: [secretArn(d, "proxy/*")],
      // not the key of the next certificate, which waits beside the current one
      conditions: { StringEquals: { "secretsmanager:VersionStage": "AWSCURRENT" } },
    },
    ...auditing(d),
    ...protecting(d),
    ...assume(d),
  ],
};

/** `passwords`: what proxies need beside the databases, and so never in another account: the passwords that are rotated. */
type KindStatements = Partial<
  Readonly<Record<Principal | "passwords", (deployment: Deployment) => readonly Statement[]>>
>;

// rds:Describe* take no resource below the account for a listing
const rdsConnect = ({ partition, account, scope = ["*/*"] }: Deployment): readonly Statement[] => {
  const own = scope.filter((one) => !isCacheScope(one));
  const resources = own.map((one) => `arn:${partition}:rds-db:*:${account}:dbuser:${one}`);
  return resources.length > 0 ? [{ actions: ["rds-db:connect"], resources }] : [];
};

const rdsListing: Statement = {
  actions: ["rds:DescribeDBInstances", "rds:DescribeDBClusters"],
  resources: ["*"],
};
const auroraListing: Statement = {
  actions: ["rds:DescribeDBClusters", "rds:DescribeDBClusterEndpoints", "rds:DescribeDBInstances"],
  resources: ["*"],
};

/** No key of IAM's says which setting is changed: so it is only ever granted on what the deployment names. */
const modify =
  (listing: Statement, changes: Readonly<Record<string, string>>) =>
  ({ enabling = [] }: Deployment): readonly Statement[] => [
    listing,
    ...Object.entries(changes).flatMap(([type, action]): readonly Statement[] => {
      const resources = enabling.filter((arn) => arn.split(":")[5] === type);
      return resources.length > 0 ? [{ actions: [action], resources }] : [];
    }),
  ];

/** The tag by which a role of the account says that Sallyport may log people in to databases as it. */
export const userRoleTag = { key: "sallyport", value: "database-user" } as const;

/** For kinds whose users are roles: those that are tagged for it, each of which must let the proxies in as well. */
const userRoles = ({ partition, account }: Deployment): readonly Statement[] => [
  {
    actions: ["sts:AssumeRole", "sts:SetSourceIdentity"],
    resources: [`arn:${partition}:iam::${account}:role/*`],
    // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_examples_iam-assume-tagged-role.html
    conditions: { StringEquals: { [`iam:ResourceTag/${userRoleTag.key}`]: userRoleTag.value } },
  },
];

/** Workgroups alone are asked for their tags: their endpoints inherit them. */
const redshiftListing = ({ partition, account }: Deployment): readonly Statement[] => [
  { actions: ["redshift-serverless:ListWorkgroups", "redshift-serverless:ListEndpointAccess"], resources: ["*"] },
  {
    actions: ["redshift-serverless:ListTagsForResource"],
    resources: [`arn:${partition}:redshift-serverless:*:${account}:workgroup/*`],
  },
];

/** What a role needs by itself to be a database user of this kind. */
export const userRoleStatements = (
  kind: KindName,
  { partition, account }: Pick<Deployment, "partition" | "account">,
): readonly Statement[] =>
  kind === "redshift-serverless"
    ? [
        {
          actions: ["redshift-serverless:GetCredentials"],
          resources: [`arn:${partition}:redshift-serverless:*:${account}:workgroup/*`],
        },
      ]
    : [];

/** What each kind adds. */
const byKind: Readonly<Record<KindName, KindStatements>> = {
  rds: {
    discover: () => [rdsListing],
    enable: modify(rdsListing, { db: "rds:ModifyDBInstance", cluster: "rds:ModifyDBCluster" }),
    proxy: rdsConnect,
  },
  aurora: {
    discover: () => [auroraListing],
    enable: modify(auroraListing, { cluster: "rds:ModifyDBCluster" }),
    proxy: rdsConnect,
  },
  "redshift-serverless": { discover: redshiftListing, proxy: userRoles },
  documentdb: {
    discover: () => [{ actions: ["rds:DescribeDBClusters"], resources: ["*"] }],
    proxy: userRoles,
  },
  elasticache: {
    discover: cacheListing("elasticache", ["DescribeReplicationGroups", "DescribeCacheClusters"], "replicationgroup"),
    proxy: cacheLogin("elasticache", "replicationgroup"),
    passwords: cachePasswords("elasticache"),
    rotate: cacheChange("elasticache", ["DescribeReplicationGroups", "DescribeServerlessCaches"]),
  },
  "elasticache-serverless": {
    discover: cacheListing("elasticache", ["DescribeServerlessCaches"], "serverlesscache"),
    proxy: cacheLogin("elasticache", "serverlesscache"),
    passwords: cachePasswords("elasticache"),
    rotate: cacheChange("elasticache", ["DescribeReplicationGroups", "DescribeServerlessCaches"]),
  },
  memorydb: {
    discover: cacheListing("memorydb", ["DescribeClusters"], "cluster"),
    proxy: cacheLogin("memorydb", "cluster"),
    passwords: cachePasswords("memorydb"),
    rotate: cacheChange("memorydb", ["DescribeClusters"]),
  },
};

/** Are there users of this kind whose passwords can be rotated? */
export const hasRotation = (kind: KindName): boolean => byKind[kind].rotate !== undefined;

/** What the role in another account needs that a matcher names: what discovery and the proxies do there, and no change of anything, since what it may both of them may. */
export const statementsAbroad = (deployment: Deployment, kinds: readonly KindName[]): readonly Statement[] =>
  distinct(
    kinds.flatMap((kind) =>
      (["discover", "proxy"] as const).flatMap((principal) => byKind[kind][principal]?.(deployment) ?? []),
    ),
  );

const distinct = (all: readonly Statement[]): readonly Statement[] =>
  all.filter((statement, at) => all.findIndex((other) => JSON.stringify(other) === JSON.stringify(statement)) === at);

/** The statements of one principal for these kinds, without repeats. */
export const statementsFor = (
  principal: Principal,
  deployment: Deployment,
  kinds: readonly KindName[],
): readonly Statement[] =>
  distinct([
    ...plane[principal](deployment),
    ...kinds.flatMap((kind) => byKind[kind][principal]?.(deployment) ?? []),
    ...(principal === "proxy" ? kinds.flatMap((kind) => byKind[kind].passwords?.(deployment) ?? []) : []),
  ]);
