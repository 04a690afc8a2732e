// Segments on S3: the key says what is under it, a put done again is no error, another's bytes under a name are never taken for ours,
// and what goes wrong says what to do.
import { createHash } from "node:crypto";
import { STSClient } from "@aws-sdk/client-sts";
import { openSegments, segmentClient, segmentKey, whoAmI } from "@sallyport/aws/sink";
import { openAccount } from "@sallyport/local/account";
import { openEndpoint } from "@sallyport/local/endpoint";
import { openS3 } from "@sallyport/local/services/s3";
import { openSts } from "@sallyport/local/services/sts";
import { afterEach, expect, it } from "vitest";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const open = async () => {
  const account = openAccount();
  const s3 = openS3();
  s3.addBucket({ name: "audit", accountId: account.id, retainFor: 1_000 });
  const resources = ["arn:aws:s3:::audit/segments/${aws:userid}/*"];
  account.addRole({ name: "proxy", statements: [{ actions: ["s3:PutObject"], resources }] });
  const endpoint = await openEndpoint({ accounts: [account], services: [s3.api, openSts([account])] });
  closing.push(() => endpoint.close());
  const { credentials, identity } = account.session("proxy", { sessionName: "task" });
  const connection = { region: account.region, endpoint: endpoint.url };
  const client = segmentClient({ ...connection, keys: async () => credentials });
  const sts = new STSClient({ ...connection, credentials });
  closing.push(async () => client.destroy());
  closing.push(async () => sts.destroy());
  return { s3, endpoint, client, sts, userId: identity.userId };
};
const bytes = Buffer.from('{"session":"a"}\n');
const digest = createHash("sha256").update(bytes).digest("hex");

it("learns from STS under whose name IAM lets it put", async () => {
  const { sts, userId, client, s3 } = await open();
  expect(await whoAmI(sts)).toBe(userId);
  await openSegments({ bucket: "audit", userId: await whoAmI(sts), client }).put("one", bytes);
  expect(s3.objects("audit").map(({ key }) => key)).toEqual([segmentKey(userId, "one", digest)]);
  expect(segmentKey(userId, "one", digest)).toBe(`segments/${userId}/one_${digest}.jsonl`);
});

it("S-43 a put done again leaves what is there, and the same name with other bytes is another object", async () => {
  const { userId, client, s3, endpoint } = await open();
  const segments = openSegments({ bucket: "audit", userId, client });
  await segments.put("one", bytes);
  // once more, as after an answer that was lost; and lost indeed, on the way
  endpoint.fault.drop({ service: "s3" });
  await segments.put("one", bytes);
  expect(endpoint.calls().filter(({ error }) => error === "PreconditionFailed").length).toBeGreaterThan(0);
  await segments.put("one", Buffer.from("other\n"));
  expect(s3.objects("audit").map(({ body }) => body.toString())).toEqual([bytes.toString(), "other\n"]);
});

it("says what to do when it may not, or when there is no bucket", async () => {
  const { userId, client } = await open();
  await expect(openSegments({ bucket: "audit", userId: `${userId}2`, client }).put("x", bytes)).rejects.toMatchObject({
    code: "unavailable",
    hint: expect.stringContaining("s3:PutObject under its own prefix"),
  });
  const broken = openAccount();
  const { credentials } = broken.addUser({ name: "u", statements: [{ actions: ["s3:*"], resources: ["*"] }] });
  const endpoint = await openEndpoint({ accounts: [broken], services: [openS3().api] });
  closing.push(() => endpoint.close());
  const other = segmentClient({ region: "eu-west-1", endpoint: endpoint.url, keys: async () => credentials });
  closing.push(async () => other.destroy());
  await expect(openSegments({ bucket: "none", userId, client: other }).put("x", bytes)).rejects.toMatchObject({
    code: "unavailable",
    hint: "look whether the bucket exists in this account",
  });
});
