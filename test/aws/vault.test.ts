import { randomUUID } from "node:crypto";
import { CreateSecretCommand, type SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { openVault, readSecret, vaultClient } from "@sallyport/aws/vault";
import { secret } from "@sallyport/core/secret";
import { openSecretsManager } from "@sallyport/local/services/secrets-manager";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeOf } from "../contract/store.ts";
import { describeVault } from "../contract/vault.ts";
import { type Laptop, openLaptop } from "./laptop.ts";

let laptop: Laptop;
let client: SecretsManagerClient;
beforeAll(async () => {
  laptop = await openLaptop([openSecretsManager()]);
  client = vaultClient(laptop.as("vault", [{ actions: ["secretsmanager:*"], resources: ["*"] }]));
});
afterAll(async () => {
  client?.destroy();
  await laptop?.[Symbol.asyncDispose]();
});

describeVault("Secrets Manager", () => ({
  vault: openVault({ client }),
  plant: async (name, value) => void (await client.send(new CreateSecretCommand({ Name: name, SecretString: value }))),
}));

describe("Secrets Manager under faults", () => {
  const lose = (operation: string) => laptop.endpoint.fault.drop({ service: "secretsmanager", operation });

  it("lost answers are asked for again and change nothing twice", async () => {
    const vault = openVault({ client });
    const name = `sallyport/test/${randomUUID()}`;
    lose("CreateSecret");
    await vault.create(name);
    const [first] = (await vault.describe(name)) ?? [];
    const version = randomUUID();
    lose("PutSecretValue");
    await vault.stage(name, version, secret("one"));
    lose("UpdateSecretVersionStage");
    await vault.promote(name, { to: version, from: first?.version ?? "" });
    expect((await vault.describe(name))?.find((found) => found.version === version)?.stages).toEqual(["AWSCURRENT"]);
    lose("DeleteSecret");
    await vault.remove(name, 7);
    expect(await vault.describe(name)).toBeUndefined();
  });

  it("a secret that can't be read is unavailable and says why", async () => {
    const stranger = vaultClient(laptop.as("stranger", []));
    await expect(readSecret(stranger, "sallyport/proxy/cancel-key")).rejects.toMatchObject({
      code: "unavailable",
      hint: expect.stringContaining("lacks a Secrets Manager permission"),
    });
    expect(await codeOf(openVault({ client: stranger }).describe("sallyport/x"))).toBe("unavailable");
    stranger.destroy();
  });

  it("a secret whose key may not be used says that it is the key", async () => {
    const name = `sallyport/test/${randomUUID()}`;
    const KmsKeyId = "arn:aws:kms:eu-west-1:111122223333:key/elsewhere";
    const owner = vaultClient(laptop.as("key-owner", [{ actions: ["secretsmanager:*", "kms:*"], resources: ["*"] }]));
    await owner.send(new CreateSecretCommand({ Name: name, SecretString: "canary", KmsKeyId }));
    await expect(openVault({ client }).read(name, { stage: "AWSCURRENT" })).rejects.toMatchObject({
      code: "unavailable",
      hint: expect.stringContaining("needs kms:Decrypt on the key"),
    });
    owner.destroy();
  });

  it("a secret that was made by hand, tagged as ours and without a value, gets a first version once", async () => {
    const vault = openVault({ client });
    const name = `sallyport/test/${randomUUID()}`;
    await client.send(new CreateSecretCommand({ Name: name, Tags: [{ Key: "sallyport/owner", Value: "sallyport" }] }));
    expect(await vault.describe(name)).toEqual([]);
    await vault.create(name);
    const made = await vault.describe(name);
    expect(made?.map(({ stages }) => stages)).toEqual([["AWSCURRENT"]]);
    expect(await vault.read(name, { stage: "AWSCURRENT" })).toBeUndefined();
    await vault.create(name);
    expect(await vault.describe(name)).toEqual(made);
  });

  it("the proxy's secret is read by its name", async () => {
    const name = "sallyport/proxy/cancel-key";
    expect(await codeOf(readSecret(client, name))).toBe("unavailable");
    await client.send(new CreateSecretCommand({ Name: name, SecretString: "canary" }));
    const read = await readSecret(client, name);
    expect([read.reveal(), String(read)]).toEqual(["canary", "[secret]"]);
  });
});
