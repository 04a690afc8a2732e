// What deploying Sallyport leaves in an AWS account, done to the laptop's: a role for each principal with exactly its statements,
// the table, the proxies' shared secret. And the keys with which functions and tasks then run.
import { randomBytes, randomUUID } from "node:crypto";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { CreateAliasCommand, CreateKeyCommand, KMSClient } from "@aws-sdk/client-kms";
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { kindNames } from "@sallyport/core/database";
import { type Deployment, type Principal, principals, statementsFor } from "@sallyport/core/permission";
import type { Account, Credentials } from "./account.ts";
import type { S3 } from "./services/s3.ts";

export const table = "sallyport";
/** What the names of its secrets begin with. */
export const prefix = "sallyport";
export const cancelSecret = `${prefix}/proxy/cancel-key`;
export const certSecret = `${prefix}/proxy/certificate`;
export const rootKey = "alias/sallyport-root";
export const auditKey = "alias/sallyport-audit";
export const auditBucket = "sallyport-audit";

/** What an AWS client needs to reach the account. */
interface ClientSettings {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: Credentials;
}

const cluster = "sallyport-proxies";
/** A task of the proxies' service. */
export const taskArn = (account: Account, id: string): string =>
  `arn:aws:ecs:${account.region}:${account.id}:task/${cluster}/${id}`;

/** The role in another account that the laptop's deployment may assume; whether it is there and lets anybody in is that account's matter. */
export const roleAbroad = ({ id }: Account): string => `arn:aws:iam::${id}:role/sallyport-reach`;

const deploymentOf = (
  account: Account,
  others: readonly Account[],
  rootKeyArn: string,
  auditKeyArn: string,
): Deployment => ({
  partition: "aws",
  account: account.id,
  region: account.region,
  tableArn: `arn:aws:dynamodb:${account.region}:${account.id}:table/${table}`,
  discoverArn: `arn:aws:lambda:${account.region}:${account.id}:function:discover`,
  probeArn: `arn:aws:lambda:${account.region}:${account.id}:function:probe`,
  rotateArn: `arn:aws:lambda:${account.region}:${account.id}:function:rotate`,
  enableArn: `arn:aws:lambda:${account.region}:${account.id}:function:enable`,
  enabling: ["db", "cluster"].map((type) => `arn:aws:rds:*:${account.id}:${type}:*`),
  taskArn: taskArn(account, "*"),
  secretPrefix: prefix,
  rootKeyArn,
  auditKeyArn,
  auditBucketArn: `arn:aws:s3:::${auditBucket}`,
  assumable: others.map(roleAbroad),
});

/** A signing key that never leaves KMS; answers its ARN. */
const makeKey = async (settings: ClientSettings, alias: string): Promise<string> => {
  const client = new KMSClient(settings);
  try {
    const made = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }));
    const { KeyId: TargetKeyId, Arn: arn = "" } = made.KeyMetadata ?? {};
    await client.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId }));
    return arn;
  } finally {
    client.destroy();
  }
};

/** The bucket of the audit: put once, kept, and nothing taken out. */
export const addAuditBucket = (s3: S3, account: Account): void =>
  s3.addBucket({
    name: auditBucket,
    accountId: account.id,
    retainFor: 86_400_000,
    denied: [
      {
        actions: ["s3:PutObject"],
        resources: [`arn:aws:s3:::${auditBucket}/*`],
        conditions: { Null: { "s3:if-none-match": "true" }, Bool: { "s3:ObjectCreationOperation": "true" } },
      },
      { actions: ["s3:DeleteObject", "s3:DeleteObjectVersion"], resources: [`arn:aws:s3:::${auditBucket}/*`] },
    ],
  });

/** Answers the keys of the operator, who may invoke bootstrap and nothing else. */
export const deploy = async (
  account: Account,
  env: (credentials: Credentials) => ClientSettings,
  others: readonly Account[] = [],
): Promise<Credentials> => {
  const { credentials } = account.addUser({
    name: "deployer",
    statements: [
      {
        actions: ["dynamodb:CreateTable", "secretsmanager:CreateSecret", "kms:CreateKey", "kms:CreateAlias"],
        resources: ["*"],
      },
    ],
  });
  const settings = env(credentials);
  const deployment = deploymentOf(account, others, await makeKey(settings, rootKey), await makeKey(settings, auditKey));
  for (const principal of principals)
    account.addRole({ name: `sallyport-${principal}`, statements: statementsFor(principal, deployment, kindNames) });
  const dynamodb = new DynamoDBClient(env(credentials));
  await dynamodb.send(
    new CreateTableCommand({
      TableName: table,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: ["pk", "sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
      KeySchema: [
        { AttributeName: "pk", KeyType: "HASH" },
        { AttributeName: "sk", KeyType: "RANGE" },
      ],
    }),
  );
  dynamodb.destroy();
  const secrets = new SecretsManagerClient(env(credentials));
  await secrets.send(new CreateSecretCommand({ Name: cancelSecret, SecretString: randomBytes(32).toString("hex") }));
  secrets.destroy();
  const invoke = {
    actions: ["lambda:InvokeFunction"],
    resources: [`arn:aws:lambda:${account.region}:${account.id}:function:bootstrap`],
  };
  return account.addUser({ name: "operator", statements: [invoke] }).credentials;
};

/** An instance here is never replaced by a younger one, as Lambda's and ECS's are long before their keys end. */
const lifetimeMs = 30 * 86_400_000;

/** A name for one instance of a principal: who it is for as long as it lives, however often its keys are renewed. */
export const instanceName = (principal: Principal): string => `${principal}-${randomUUID().slice(0, 8)}`;

/** Temporary keys of the principal's role. */
export const sessionOf = (
  account: Account,
  principal: Principal,
  sessionName: string = instanceName(principal),
): Credentials => account.session(`sallyport-${principal}`, { sessionName, lifetimeMs }).credentials;

/** Keys as the environment carries them. */
export const keysEnv = (credentials: Credentials): Readonly<Record<string, string>> => ({
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  ...(credentials.sessionToken !== undefined && { AWS_SESSION_TOKEN: credentials.sessionToken }),
});
