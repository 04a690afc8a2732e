// The Segments port on S3: every segment is put once, under this task's own name, by a key that ends in the SHA-256 of its bytes.
// Rule: a key says what is under it, so a put whose answer was lost can be done again, and "there already" means these very bytes.
import { webcrypto } from "node:crypto";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { Failure } from "@sallyport/core/failure";
import type { Segments } from "@sallyport/core/ports";
import { type Connection, clientOptions, errorName, isAccessDenied } from "./client.ts";

const patience = { requestFor: 10_000, attempts: 3 };

export const segmentClient = (connection: Connection = {}): S3Client =>
  new S3Client(clientOptions(connection, patience));

/** `aws:userid` as IAM will see it: the prefix that the policy allows is made of it. @throws Failure `unavailable` */
export const whoAmI = async (client: STSClient = new STSClient(clientOptions({}))): Promise<string> => {
  try {
    const { UserId } = await client.send(new GetCallerIdentityCommand({}));
    if (UserId) return UserId;
    throw new Failure("unavailable", "STS does not say who this task is");
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    throw new Failure("unavailable", `STS can't be asked who this task is (${errorName(thrown) || "unknown error"})`, {
      hint: "look whether the task has credentials and a way to STS",
      cause: thrown,
    });
  }
};

/** `segments/<aws:userid>/<name>_<sha256>.jsonl` */
export const segmentKey = (userId: string, name: string, sha256: string): string =>
  `segments/${userId}/${name}_${sha256}.jsonl`;

export const openSegments = (of: {
  readonly bucket: string;
  readonly userId: string;
  readonly client?: S3Client;
}): Segments => {
  const { bucket, userId, client = segmentClient() } = of;
  return {
    async put(name, bytes) {
      // in a thread of its own: megabytes take milliseconds, in which no relay would move
      const digest = Buffer.from(await webcrypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
      const command = new PutObjectCommand({
        Bucket: bucket,
        Key: segmentKey(userId, name, digest.toString("hex")),
        Body: bytes,
        ContentType: "application/x-ndjson",
        IfNoneMatch: "*",
        ChecksumSHA256: digest.toString("base64"),
      });
      // the signer takes the body's hash from here, rather than make it once more
      const hashed = { "x-amz-content-sha256": digest.toString("hex") };
      command.middlewareStack.add(
        (next) => (args) => {
          Object.assign((args.request as { headers: object }).headers, hashed);
          return next(args);
        },
        { step: "build" },
      );
      try {
        await client.send(command);
      } catch (thrown) {
        if (errorName(thrown) !== "PreconditionFailed") throw worded(thrown, bucket);
      }
    },
  };
};

const worded = (thrown: unknown, bucket: string): Failure => {
  const name = errorName(thrown);
  return new Failure("unavailable", `the audit can't be put into ${bucket} (${name || "unknown error"})`, {
    hint: isAccessDenied(thrown)
      ? "the task's role needs s3:PutObject under its own prefix: compare it with the printed policy"
      : name === "NoSuchBucket"
        ? "look whether the bucket exists in this account"
        : "it is tried again; look at S3 and the way to it",
    cause: thrown,
  });
};
