// Signing by hand: AWS's published example, and whatever is signed verifies where everything signed is verified.
import { openSigner } from "@sallyport/aws/sigv4";
import { openAccount } from "@sallyport/local/account";
import { verifyRequest } from "@sallyport/local/signature";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const now = Date.UTC(2015, 7, 30, 12, 36);
const example = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };

describe("a signature", () => {
  it("is that of AWS's example post-vanilla", () => {
    const sign = openSigner({ region: "us-east-1", service: "service" });
    const signed = sign({ path: "/", headers: { host: "example.amazonaws.com" }, body: "" }, example, now);
    expect(signed["authorization"]).toBe(
      "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    );
  });

  it("verifies for any body, with keys of a user or a session, on any day", () => {
    const region = "eu-west-1";
    const account = openAccount({ region });
    const { credentials: lasting } = account.addUser({ name: "dev" });
    account.addRole({ name: "proxy" });
    const { credentials: passing } = account.session("proxy", { sessionName: "task" });
    const sign = openSigner({ region, service: "dynamodb" });
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.boolean(), fc.nat(3), (body, isSession, days) => {
        const at = Date.now() - days * 86_400_000;
        const keys = isSession ? passing : lasting;
        const headers = { host: "dynamodb.eu-west-1.amazonaws.com", "x-amz-target": "DynamoDB_20120810.GetItem" };
        const signed = sign({ path: "/", headers, body }, keys, at);
        const request = {
          method: "POST",
          target: "/",
          headers: Object.fromEntries(Object.entries(signed).map(([name, value]) => [name, [value]])),
          body: Buffer.from(body),
        };
        const verify = (what: typeof request) =>
          verifyRequest({ request: what, service: "dynamodb", credentials: account.key, now: at });
        expect(verify(request).accessKeyId).toBe(keys.accessKeyId);
        expect(() => verify({ ...request, body: Buffer.from(`${body}.`) })).toThrow(/does not match/);
      }),
    );
  });
});
