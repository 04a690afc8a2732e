// Amazon S3 as far as the audit goes: objects that are put and read, conditional and checked writes, versions, Object Lock, and a
// bucket's own policy of denials. Rule: what is locked is neither overwritten nor deleted, whoever asks.
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import * as s3 from "@aws-sdk/client-s3";
import type { Statement } from "@sallyport/core/permission";
import { type Api, type Call, operation, sdkApi, unused } from "../api.ts";
import { allows, type Context, type Need } from "../iam.ts";
import { Refusal } from "../refusal.ts";

export interface BucketOptions {
  readonly name: string;
  readonly accountId: string;
  /** Object Lock with a default retention: every object is kept so long, in milliseconds. */
  readonly retainFor?: number;
  /** What the bucket's policy denies to everybody. */
  readonly denied?: readonly Statement[];
}
export interface StoredObject {
  readonly key: string;
  readonly version: string;
  readonly body: Buffer;
  readonly etag: string;
  readonly at: number;
  readonly retainUntil: number;
}
export interface S3 {
  readonly api: Api;
  addBucket(bucket: BucketOptions): void;
  /** The current objects of a bucket by key, as its owner sees them. */
  objects(bucket: string): readonly StoredObject[];
}

interface Bucket extends BucketOptions {
  /** Versions by key, the newest last; an undefined one marks that it was deleted. */
  readonly versions: Map<string, (StoredObject | undefined)[]>;
}

const mostKeys = 1000;
const deny = (why: string): Refusal => new Refusal("AccessDenied", why, 403);
const digest = (algorithm: string, body: Buffer): string => createHash(algorithm).update(body).digest("base64");
const crc = (body: Buffer): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return bytes.toString("base64");
};

/** Every checksum that came must be right; with Object Lock one must have come. */
const check = (input: s3.PutObjectRequest, body: Buffer, locked: boolean): void => {
  const given: readonly (readonly [string | undefined, () => string, string])[] = [
    [input.ContentMD5, () => digest("md5", body), "Content-MD5"],
    [input.ChecksumSHA256, () => digest("sha256", body), "x-amz-checksum-sha256"],
    [input.ChecksumSHA1, () => digest("sha1", body), "x-amz-checksum-sha1"],
    [input.ChecksumCRC32, () => crc(body), "x-amz-checksum-crc32"],
  ];
  for (const [value, right, name] of given)
    if (value !== undefined && value !== right())
      throw new Refusal("BadDigest", `The ${name} you specified did not match what we received.`, 400);
  if (input.ChecksumCRC32C ?? input.ChecksumCRC64NVME)
    throw new Refusal("NotImplemented", "This checksum is not known here.", 501);
  if (locked && given.every(([value]) => value === undefined))
    throw new Refusal(
      "InvalidRequest",
      "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
      400,
    );
};

export function openS3(): S3 {
  const buckets = new Map<string, Bucket>();
  let count = 0;

  const known = (name: string | undefined): Bucket => {
    const bucket = buckets.get(name ?? "");
    if (!bucket) throw new Refusal("NoSuchBucket", "The specified bucket does not exist", 404);
    return bucket;
  };
  const current = (bucket: Bucket, key: string): StoredObject | undefined => bucket.versions.get(key)?.at(-1);
  const arnOf = (bucket: string | undefined, key?: string): string =>
    `arn:aws:s3:::${bucket ?? ""}${key === undefined ? "" : `/${key}`}`;

  /** The caller's policy is the endpoint's to ask; the bucket's denials are asked here. */
  const need = (
    action: string,
    resource: string,
    bucket: string | undefined,
    context: Context = {},
  ): readonly Need[] => {
    const one: Need = { action: `s3:${action}`, resource, context };
    if (allows(buckets.get(bucket ?? "")?.denied ?? [], one))
      throw deny(
        `not authorized to perform: ${one.action} on resource: ${resource} with an explicit deny in a resource-based policy`,
      );
    return [one];
  };

  function put(input: s3.PutObjectRequest, call: Call) {
    const bucket = known(input.Bucket);
    const key = input.Key ?? "";
    const body = Buffer.from((input.Body as Uint8Array | undefined) ?? []);
    if (Buffer.byteLength(key) > 1024) throw new Refusal("KeyTooLongError", "Your key is too long", 400);
    check(input, body, bucket.retainFor !== undefined);
    if (input.IfNoneMatch !== undefined && input.IfNoneMatch !== "*")
      throw new Refusal("NotImplemented", "A header you provided implies functionality that is not implemented.", 501);
    if (input.IfNoneMatch === "*" && current(bucket, key))
      throw new Refusal("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412);
    const etag = `"${createHash("md5").update(body).digest("hex")}"`;
    const version = `v${++count}`;
    const kept = { key, version, body, etag, at: call.at, retainUntil: call.at + (bucket.retainFor ?? 0) };
    bucket.versions.set(key, [...(bucket.versions.get(key) ?? []), kept]);
    return { ETag: etag, VersionId: version, ChecksumSHA256: input.ChecksumSHA256, ChecksumCRC32: input.ChecksumCRC32 };
  }

  function get(input: s3.GetObjectRequest) {
    const found = current(known(input.Bucket), input.Key ?? "");
    if (!found) throw new Refusal("NoSuchKey", "The specified key does not exist.", 404);
    const { body, etag, version, at } = found;
    return { Body: body, ContentLength: body.length, ETag: etag, VersionId: version, LastModified: new Date(at) };
  }

  function list(input: s3.ListObjectsV2Request) {
    const bucket = known(input.Bucket);
    const after = input.ContinuationToken ?? input.StartAfter ?? "";
    const keys = [...bucket.versions.keys()]
      .filter((key) => key > after && key.startsWith(input.Prefix ?? "") && current(bucket, key))
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const page = keys.slice(0, Math.min(mostKeys, input.MaxKeys ?? mostKeys));
    const more = page.length < keys.length;
    return {
      Name: bucket.name,
      Prefix: input.Prefix ?? "",
      KeyCount: page.length,
      IsTruncated: more,
      ...(more ? { NextContinuationToken: page.at(-1) } : {}),
      Contents: page.map((key) => {
        const { etag, body, at } = current(bucket, key) as StoredObject;
        return { Key: key, ETag: etag, Size: body.length, LastModified: new Date(at), StorageClass: "STANDARD" };
      }),
    };
  }

  function remove(input: s3.DeleteObjectRequest, call: Call) {
    const bucket = known(input.Bucket);
    const versions = bucket.versions.get(input.Key ?? "") ?? [];
    // without a version it is only marked as gone: what is locked stays
    if (input.VersionId === undefined) bucket.versions.set(input.Key ?? "", [...versions, undefined]);
    else {
      const found = versions.find((one) => one?.version === input.VersionId);
      if (found && found.retainUntil > call.at) throw deny("Access Denied because object protected by object lock.");
      bucket.versions.set(
        input.Key ?? "",
        versions.filter((one) => one !== found),
      );
    }
    return {};
  }

  const api = sdkApi({
    name: "s3",
    client: new s3.S3Client(unused),
    module: s3,
    throttle: { code: "SlowDown", message: "Please reduce your request rate.", status: 503 },
    operations: {
      PutObject: operation<s3.PutObjectRequest>({
        needs: (input) =>
          need("PutObject", arnOf(input.Bucket, input.Key), input.Bucket, {
            "s3:if-none-match": input.IfNoneMatch,
            "s3:ObjectCreationOperation": "true",
          }),
        run: put,
      }),
      GetObject: operation<s3.GetObjectRequest>({
        needs: (input) => need("GetObject", arnOf(input.Bucket, input.Key), input.Bucket),
        run: get,
      }),
      ListObjectsV2: operation<s3.ListObjectsV2Request>({
        needs: (input) => need("ListBucket", arnOf(input.Bucket), input.Bucket, { "s3:prefix": input.Prefix }),
        run: list,
      }),
      DeleteObject: operation<s3.DeleteObjectRequest>({
        needs: (input) =>
          need(
            input.VersionId === undefined ? "DeleteObject" : "DeleteObjectVersion",
            arnOf(input.Bucket, input.Key),
            input.Bucket,
          ),
        run: remove,
      }),
    },
  });
  return {
    api,
    addBucket: (bucket) => void buckets.set(bucket.name, { ...bucket, versions: new Map() }),
    objects: (name) => [...known(name).versions.values()].flatMap((versions) => versions.at(-1) ?? []),
  };
}
