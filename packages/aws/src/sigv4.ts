// AWS Signature Version 4 for a POST to one service with its body at hand and no query: what is sent thousands of times. All
// headers given are signed. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
import { createHmac, createSecretKey, hash, type KeyObject } from "node:crypto";
import type { Keys } from "./client.ts";

type Headers = Readonly<Record<string, string>>;
export interface Signed {
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Headers;
  readonly body: string;
}

const algorithm = "AWS4-HMAC-SHA256";
const hmac = (key: string | Buffer | KeyObject, data: string): Buffer =>
  createHmac("sha256", key).update(data).digest();

export const openSigner = ({ region, service }: { readonly region: string; readonly service: string }) => {
  // derived from the keys and the day by four hashes, and the same until either changes
  let derived: { readonly secret: string; readonly day: string; readonly key: KeyObject } | undefined;
  const keyFor = (secret: string, day: string): KeyObject => {
    if (derived?.secret === secret && derived.day === day) return derived.key;
    const key = createSecretKey([region, service, "aws4_request"].reduce<Buffer>(hmac, hmac(`AWS4${secret}`, day)));
    derived = { secret, day, key };
    return key;
  };

  /** The headers with the signature's own beside them. */
  return ({ path, headers, body }: Signed, keys: Keys, now: number): Record<string, string> => {
    const time = new Date(now).toISOString().replace(/[:-]|\.\d+/g, "");
    const day = time.slice(0, 8);
    const all: Record<string, string> = { ...headers, "x-amz-date": time };
    if (keys.sessionToken !== undefined) all["x-amz-security-token"] = keys.sessionToken;
    const names = Object.keys(all).sort();
    const canonical = names.map((name) => `${name}:${all[name]}\n`).join("");
    const signed = names.join(";");
    const request = `POST\n${path}\n\n${canonical}\n${signed}\n${hash("sha256", body)}`;
    const scope = `${day}/${region}/${service}/aws4_request`;
    const toSign = `${algorithm}\n${time}\n${scope}\n${hash("sha256", request)}`;
    const signature = hmac(keyFor(keys.secretAccessKey, day), toSign).toString("hex");
    const credential = `${keys.accessKeyId}/${scope}`;
    all["authorization"] = `${algorithm} Credential=${credential}, SignedHeaders=${signed}, Signature=${signature}`;
    return all;
  };
};
