import { openVault } from "@sallyport/aws/vault";
import { describeVault } from "../contract/vault.ts";
import { openFakeSecretsManager } from "./secrets-manager.ts";

describeVault("the real adapter on a fake Secrets Manager", () => {
  const fake = openFakeSecretsManager();
  return { vault: openVault({ client: fake.client }), plant: async (name, value) => fake.plant(name, value) };
});
