import { CreateKeyCommand, DisableKeyCommand, type KMSClient } from "@aws-sdk/client-kms";
import { openSigner, signerClient } from "@sallyport/aws/signer";
import { openKms } from "@sallyport/local/services/kms";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeSigner } from "../contract/signer.ts";
import { type Laptop, openLaptop } from "./laptop.ts";

let laptop: Laptop;
let client: KMSClient;
beforeAll(async () => {
  laptop = await openLaptop([openKms()]);
  client = signerClient(laptop.as("keeper", [{ actions: ["kms:*"], resources: ["*"] }]));
});
afterAll(async () => {
  client?.destroy();
  await laptop?.[Symbol.asyncDispose]();
});

const makeKey = async (): Promise<string> => {
  const made = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }));
  return made.KeyMetadata?.Arn ?? "";
};

describeSigner("KMS", async () => {
  const key = await makeKey();
  return {
    signer: openSigner({ key, client }),
    other: openSigner({ key: await makeKey(), client }),
    break: async () => void (await client.send(new DisableKeyCommand({ KeyId: key }))),
  };
});

describe("KMS under faults", () => {
  it.each(["ThrottlingException", "KMSInternalException", "DependencyTimeoutException"])(
    "%s is tried again",
    async (code) => {
      const signer = openSigner({ key: await makeKey(), client });
      const status = code === "ThrottlingException" ? 400 : 500;
      laptop.endpoint.fault.fail({ service: "kms", operation: "Sign", code, status });
      expect((await signer.sign(Buffer.from("x"))).length).toBeGreaterThan(60);
    },
  );

  it.each<[string, string]>([
    ["NotFoundException", "exists in this account and region"],
    ["DisabledException", "enable the key"],
    ["KMSInvalidStateException", "waiting for its deletion"],
    ["AccessDeniedException", "lacks a KMS permission"],
  ])("%s is unavailable and says what to do", async (code, hint) => {
    const signer = openSigner({ key: await makeKey(), client });
    laptop.endpoint.fault.fail({ service: "kms", operation: "Sign", code, status: 400 });
    await expect(signer.sign(Buffer.from("x"))).rejects.toMatchObject({
      code: "unavailable",
      hint: expect.stringContaining(hint),
    });
  });
});
