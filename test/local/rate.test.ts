// The rates that AWS lets through, with real requests against the laptop's Secrets Manager. ElastiCache's and MemoryDB's are shown beside them.
import { CreateSecretCommand, DescribeSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { openAccount } from "@sallyport/local/account";
import { openEndpoint } from "@sallyport/local/endpoint";
import { awsRates } from "@sallyport/local/rate";
import { openSecretsManager } from "@sallyport/local/services/secrets-manager";
import { expect, test } from "vitest";

test("Secrets Manager lets fifty calls a second through, whichever they are", async () => {
  const clock = { now: Date.now() };
  const now = () => clock.now;
  const account = openAccount({ now });
  const { credentials } = account.addUser({ name: "ann", statements: [{ actions: ["*"], resources: ["*"] }] });
  const endpoint = await openEndpoint({ accounts: [account], services: [openSecretsManager()], now });
  const client = new SecretsManagerClient({ endpoint: endpoint.url, region: "eu-west-1", credentials, maxAttempts: 1 });
  try {
    for (const rate of awsRates) endpoint.fault.throttle(rate);
    const describe = () => client.send(new DescribeSecretCommand({ SecretId: "a" }));
    await client.send(new CreateSecretCommand({ Name: "a", SecretString: "one" }));
    for (let at = 0; at < 49; at++) await describe();
    await expect(describe()).rejects.toMatchObject({ name: "ThrottlingException" });
    clock.now += 1000;
    const answers = await Promise.allSettled(Array.from({ length: 60 }, describe));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(50);
  } finally {
    client.destroy();
    await endpoint.close();
  }
});
