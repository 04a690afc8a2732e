// The table of the proxy that is measured: a real DynamoDB API with one user, one role, the database and a token for it.
import { createHash, randomBytes } from "node:crypto";
import { CreateTableCommand } from "@aws-sdk/client-dynamodb";
import { openTable, tableClient } from "@sallyport/aws/table";
import type { Database, ProtocolName } from "@sallyport/core/database";
import { changeAccess } from "@sallyport/core/epoch";
import { keys, toItem } from "@sallyport/core/family";
import { type Caller, type Desk, keyChanges } from "@sallyport/core/login";
import { type ConnectToken, makeToken } from "@sallyport/core/token";
import type { User } from "@sallyport/core/user";
import { startDynoxide } from "@sallyport/local/dynoxide";
import { makeDatabase, makeRole } from "../core/make.ts";
import { account, awsName, type Bench } from "./server.ts";

const name = "sallyport";
const region = "eu-west-1";
const hour = 3_600_000;
const mostLogins = 1_000_000;
const logins = 200;

export interface Table {
  /** What the API's functions work with. */
  readonly desk: Desk;
  /** A login of the one user that has not issued all the tokens it may. */
  login(): Caller;
  readonly env: Readonly<Record<string, string>>;
  readonly token: string;
  close(): Promise<void>;
}

const fill = async ({ store, digest, random }: Desk, bench: Pick<Bench, "port">, protocol: ProtocolName) => {
  const now = Date.now();
  const database: Database = makeDatabase({
    name: account.database,
    protocol,
    endpoint: { host: awsName, port: bench.port, verifyName: awsName, roots: "rds" },
  });
  const role = makeRole("bench", {
    allow: { db_labels: { "*": "*" }, db_users: [account.user], db_names: [account.database] },
    options: { bearer_logins: 10_000 },
  });
  const user: User = {
    name: "ana",
    roles: ["bench"],
    traits: {},
    state: "active",
    createdAt: now,
    createdBy: "root",
    revision: 1,
  };
  const { token, id } = makeToken("connect", random, digest);
  const connect: ConnectToken = {
    ...{ id, user: user.name, database: database.name, protocol },
    ...{ dbUser: account.user, dbName: account.database, session: "s".repeat(64), loginExpiresAt: now + 12 * hour },
    // one token for the whole run, where a person would ask for several
    ...{ issuedAt: now, expiresAt: now + 2 * hour, way: { bearer: mostLogins } },
  };
  await changeAccess(
    store,
    { put: toItem(keys.user(user.name), user) },
    { put: toItem(keys.role(role.name), role) },
    { put: toItem(keys.database(database.name), database) },
    { put: toItem(keys.connectToken(id), connect) },
  );
  const expiresAt = now + 12 * hour;
  const opened = Array.from({ length: logins }, () =>
    keyChanges({ random, digest }, { kind: "session", user: user.name, issuedAt: now, expiresAt }),
  );
  for (const { changes } of opened) await store.transact(changes);
  const callers: readonly Caller[] = opened.map((one) => ({
    user,
    login: one.id,
    loginExpiresAt: expiresAt,
    admin: false,
  }));
  return { token: token.reveal(), callers };
};

export const openBenchTable = async (
  bench: Pick<Bench, "port">,
  protocol: ProtocolName = "postgres",
): Promise<Table> => {
  const dynoxide = await startDynoxide();
  const endpoint = `http://${dynoxide.host}:${dynoxide.port}`;
  const client = tableClient({
    region,
    endpoint,
    keys: async () => ({ accessKeyId: "AKIABENCH", secretAccessKey: "bench" }),
  });
  try {
    await client.send(
      new CreateTableCommand({
        TableName: name,
        BillingMode: "PAY_PER_REQUEST",
        AttributeDefinitions: ["pk", "sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "sk", KeyType: "RANGE" },
        ],
      }),
    );
    const desk: Desk = {
      store: openTable({ name, client }),
      clock: { now: Date.now },
      random: { bytes: (count) => randomBytes(count) },
      digest: { sha256: (text) => createHash("sha256").update(text).digest("hex") },
    };
    const { token, callers } = await fill(desk, bench, protocol);
    let turn = 0;
    const login = (): Caller => {
      const caller = callers[turn++ % callers.length];
      if (!caller) throw new Error("nobody is logged in");
      return caller;
    };
    const env = {
      ...{ AWS_REGION: region, AWS_ENDPOINT_URL: endpoint, AWS_ACCESS_KEY_ID: "AKIABENCH" },
      ...{ AWS_SECRET_ACCESS_KEY: "bench", SALLYPORT_TABLE: name },
    };
    return {
      ...{ desk, login, env, token },
      close: async () => {
        client.destroy();
        await dynoxide.close();
      },
    };
  } catch (thrown) {
    client.destroy();
    await dynoxide.close();
    throw thrown;
  }
};
