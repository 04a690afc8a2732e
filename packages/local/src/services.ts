// The services of the laptop account, opened together: a new service is one file in services/ and one line here.
import type { Account } from "./account.ts";
import { openCacheUsers } from "./cache-users.ts";
import { openDynamodb } from "./services/dynamodb.ts";
import { openElasticache } from "./services/elasticache.ts";
import { openKms } from "./services/kms.ts";
import { type Functions, openLambda } from "./services/lambda.ts";
import { openMemorydb } from "./services/memorydb.ts";
import { openRds } from "./services/rds.ts";
import { openRedshiftServerless } from "./services/redshift-serverless.ts";
import { openS3 } from "./services/s3.ts";
import { openSecretsManager } from "./services/secrets-manager.ts";
import { openSts } from "./services/sts.ts";

/** `accounts[0]` is home: DynamoDB's tables live in its region. `functions` runs the Lambda functions. */
export async function openServices(options: {
  readonly accounts: readonly [Account, ...Account[]];
  readonly functions: Functions;
  readonly now?: () => number;
  readonly tableFile?: string;
}) {
  const { accounts, functions, now = Date.now, tableFile } = options;
  const [{ id: accountId, region }] = accounts;
  const rds = openRds(now);
  const sts = openSts(accounts);
  const redshift = openRedshiftServerless(now);
  const cacheUsers = openCacheUsers({ now });
  const elasticache = openElasticache(cacheUsers, now);
  const memorydb = openMemorydb(cacheUsers, now);
  const lambda = openLambda(functions);
  const s3 = openS3();
  const dynamodb = await openDynamodb({ accountId, region, ...(tableFile !== undefined && { file: tableFile }) });
  return {
    rds,
    redshift,
    cacheUsers,
    elasticache,
    memorydb,
    sts,
    lambda,
    s3,
    apis: [
      ...[rds.api, redshift.api, elasticache.api, memorydb.api, sts, openSecretsManager(), openKms()],
      ...[lambda.api, dynamodb.api, s3.api],
    ],
    async close() {
      await lambda.settled();
      await dynamodb.close();
    },
  };
}
