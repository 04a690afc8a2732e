// The registry of protocols: which codec speaks for a service.
import { awsJson } from "./aws-json.ts";
import { awsQuery } from "./aws-query.ts";
import type { Codec } from "./codec.ts";
import type { Model } from "./model.ts";
import { restJson } from "./rest-json.ts";
import { restXml } from "./rest-xml.ts";

const codecs: Readonly<Record<string, (model: Model) => Codec>> = {
  "aws.protocols#awsJson1_0": awsJson,
  "aws.protocols#awsJson1_1": awsJson,
  "aws.protocols#awsQuery": awsQuery,
  "aws.protocols#restJson1": restJson,
  "aws.protocols#restXml": restXml,
};

export function codecOf(model: Model): Codec {
  const open = codecs[model.protocol];
  if (!open) throw new Error(`no codec for ${model.protocol}`);
  return open(model);
}
