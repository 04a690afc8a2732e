// S3 as the audit needs it, spoken to by the SDK's own client: conditional and checked writes, a task's own prefix, Object Lock,
// and what it says when it has had enough.
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
} from "@aws-sdk/client-s3";
import { openAccount } from "@sallyport/local/account";
import { openEndpoint } from "@sallyport/local/endpoint";
import { openS3 } from "@sallyport/local/services/s3";
import { afterEach, describe, expect, it } from "vitest";

const bucket = "audit";
const day = 86_400_000;
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const open = async () => {
  let now = Date.now();
  const account = openAccount({ now: () => now });
  const s3 = openS3();
  s3.addBucket({
    name: bucket,
    accountId: account.id,
    retainFor: day,
    denied: [
      {
        actions: ["s3:PutObject"],
        resources: [`arn:aws:s3:::${bucket}/*`],
        conditions: { Null: { "s3:if-none-match": "true" }, Bool: { "s3:ObjectCreationOperation": "true" } },
      },
    ],
  });
  s3.addBucket({ name: "plain", accountId: account.id });
  account.addRole({
    name: "proxy",
    statements: [{ actions: ["s3:PutObject"], resources: [`arn:aws:s3:::${bucket}/segments/\${aws:userid}/*`] }],
  });
  const clients: S3Client[] = [];
  const endpoint = await openEndpoint({ accounts: [account], services: [s3.api], now: () => now });
  const clientOf = (credentials: { accessKeyId: string; secretAccessKey: string }): S3Client => {
    const client = new S3Client({ region: account.region, endpoint: endpoint.url, credentials, maxAttempts: 1 });
    closing.push(async () => client.destroy());
    clients.push(client);
    return client;
  };
  closing.push(() => endpoint.close());
  const owner = clientOf(
    account.addUser({ name: "owner", statements: [{ actions: ["s3:*"], resources: ["*"] }] }).credentials,
  );
  const task = (name: string) => {
    const { credentials, identity } = account.session("proxy", { sessionName: name });
    return { client: clientOf(credentials), prefix: `segments/${identity.userId}` };
  };
  const pass = (ms: number): void => {
    now += ms;
    for (const { config } of clients) config.systemClockOffset += ms;
  };
  return { s3, owner, task, endpoint, pass };
};
const put = (client: S3Client, input: Partial<PutObjectCommandInput>) =>
  client.send(new PutObjectCommand({ Bucket: bucket, Key: "k", Body: "x", IfNoneMatch: "*", ...input }));
const code = (thrown: unknown): unknown => [
  (thrown as Error).name,
  (thrown as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode,
];
const refusal = (work: Promise<unknown>): Promise<unknown> => work.then(() => "allowed", code);

describe("a put", () => {
  it("comes back as it went, in its place in the list, with its checksums proven", async () => {
    const { owner } = await open();
    const body = Buffer.from("é\0\r\n漢", "utf8");
    const sha256 = createHash("sha256").update(body).digest("base64");
    const key = "segments/AROA1:task/2026 é+&=.jsonl";
    expect(await put(owner, { Key: key, Body: body, ChecksumSHA256: sha256 })).toMatchObject({
      ChecksumSHA256: sha256,
    });
    const got = await owner.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
    expect(Buffer.from((await got.Body?.transformToByteArray()) ?? [])).toEqual(body);
    await put(owner, { Key: "segments/AROA1:task/a", Body: "" });
    await put(owner, { Key: "segments/AROA2" });
    const first = await owner.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: "segments/AROA1:", MaxKeys: 1 }));
    expect(first).toMatchObject({ KeyCount: 1, IsTruncated: true, Contents: [{ Key: key, Size: body.length }] });
    const rest = await owner.send(
      new ListObjectsV2Command({
        Bucket: bucket,
        Prefix: "segments/AROA1:",
        ContinuationToken: first.NextContinuationToken ?? "",
      }),
    );
    expect(rest.Contents).toMatchObject([{ Key: "segments/AROA1:task/a", Size: 0 }]);
    expect(await refusal(owner.send(new GetObjectCommand({ Bucket: bucket, Key: "none" })))).toEqual([
      "NoSuchKey",
      404,
    ]);
  });

  it("may come as a stream, whose checksum follows it", async () => {
    const { owner, s3 } = await open();
    const body = Buffer.alloc(200_000, "abc");
    await put(owner, {
      Body: Readable.from([body.subarray(0, 70_000), body.subarray(70_000)]),
      ContentLength: body.length,
    });
    expect(s3.objects(bucket)[0]?.body.equals(body)).toBe(true);
  });

  it("is refused when a checksum is wrong, or missing where the lock asks for one", async () => {
    const { owner, s3 } = await open();
    const wrong = createHash("sha256").update("other").digest("base64");
    expect(await refusal(put(owner, { ChecksumSHA256: wrong }))).toEqual(["BadDigest", 400]);
    expect(await refusal(put(owner, { ContentMD5: createHash("md5").update("other").digest("base64") }))).toEqual([
      "BadDigest",
      400,
    ]);
    expect(s3.objects(bucket)).toEqual([]);
  });

  it("S-43 is refused over what is there, and by the bucket when it does not say that it would not", async () => {
    const { owner, s3 } = await open();
    await put(owner, {});
    expect(await refusal(put(owner, { Body: "y" }))).toEqual(["PreconditionFailed", 412]);
    const { IfNoneMatch: _, ...bare } = { Bucket: bucket, Key: "k", Body: "y", IfNoneMatch: "*" };
    expect(await refusal(owner.send(new PutObjectCommand(bare)))).toEqual(["AccessDenied", 403]);
    expect(s3.objects(bucket).map(({ body }) => body.toString())).toEqual(["x"]);
  });

  it("is told to slow down", async () => {
    const { owner, endpoint } = await open();
    endpoint.fault.throttle({ service: "s3", operation: "PutObject", rate: 0, burst: 1 });
    await put(owner, { Key: "a" });
    expect(await refusal(put(owner, { Key: "b" }))).toEqual(["SlowDown", 503]);
  });
});

describe("a task", () => {
  it("S-43 puts under its own name and does nothing else: not beside it, not under another's, no reading, listing or deleting", async () => {
    const { owner, task, s3 } = await open();
    const [one, two] = [task("one"), task("two")];
    await put(one.client, { Key: `${one.prefix}/a` });
    const keys = [`${two.prefix}/a`, "a", "segments/a", `${one.prefix}`, `${one.prefix}x/a`, `segments/*/a`];
    for (const Key of keys)
      expect([Key, await refusal(put(one.client, { Key }))]).toEqual([Key, ["AccessDenied", 403]]);
    const Key = `${one.prefix}/a`;
    for (const command of [
      () => one.client.send(new GetObjectCommand({ Bucket: bucket, Key })),
      () => one.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: one.prefix })),
      () => one.client.send(new DeleteObjectCommand({ Bucket: bucket, Key })),
      () => one.client.send(new DeleteObjectCommand({ Bucket: bucket, Key, VersionId: "v1" })),
    ])
      expect(await refusal(command())).toEqual(["AccessDenied", 403]);
    expect(await refusal(put(one.client, { Key, Body: "changed" }))).toEqual(["PreconditionFailed", 412]);
    expect(s3.objects(bucket).map(({ key, body }) => [key, body.toString()])).toEqual([[Key, "x"]]);
    // and nobody else either, before its time
    expect(await refusal(owner.send(new DeleteObjectCommand({ Bucket: bucket, Key, VersionId: "v1" })))).toEqual([
      "AccessDenied",
      403,
    ]);
  });

  it("S-43 what is locked goes when its time has come, not before", async () => {
    const { owner, s3, pass } = await open();
    const { VersionId = "" } = await put(owner, {});
    pass(day - 60_000);
    expect(await refusal(owner.send(new DeleteObjectCommand({ Bucket: bucket, Key: "k", VersionId })))).toEqual([
      "AccessDenied",
      403,
    ]);
    // without a version it is only marked: its version stays
    await owner.send(new DeleteObjectCommand({ Bucket: bucket, Key: "k" }));
    expect(s3.objects(bucket)).toEqual([]);
    pass(120_000);
    expect(await refusal(owner.send(new DeleteObjectCommand({ Bucket: bucket, Key: "k", VersionId })))).toBe("allowed");
  });
});
