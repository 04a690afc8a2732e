import { describeVault } from "../contract/vault.ts";
import { openFakeVault } from "./vault.ts";

describeVault("the fake", () => {
  const vault = openFakeVault();
  return { vault, plant: vault.plant };
});
