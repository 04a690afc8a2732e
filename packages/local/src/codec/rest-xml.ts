// REST-XML, server side (S3), with a bucket named in the path as clients do where the host is an address. S3's paths would take
// any request for theirs: a request is S3's when its signature is. https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html
import { XmlShapeSerializer } from "@aws-sdk/core/protocols";
import { Refusal } from "../refusal.ts";
import { type SignedRequest, unsignedTrailer } from "../signature.ts";
import { unchunk } from "./aws-chunked.ts";
import { escapeXml, xmlReply } from "./aws-query.ts";
import { type Codec, header } from "./codec.ts";
import type { Model } from "./model.ts";
import { rest } from "./rest.ts";

const settings = {
  timestampFormat: { useTrait: true, default: 5 as const },
  httpBindings: false,
  serviceNamespace: "",
};

/** `/bucket/key?query` as the templates have it: `/key?query`. */
const splitBucket = (request: SignedRequest): readonly [bucket: string, request: SignedRequest] => {
  const [, bucket = "", rest = ""] = /^\/([^/?]*)(.*)$/s.exec(request.target) ?? [];
  return [decodeURIComponent(bucket), { ...request, target: rest.startsWith("/") ? rest : `/${rest}` }];
};

export function restXml(model: Model): Codec {
  const writer = new XmlShapeSerializer({ ...settings, xmlNamespace: model.xmlNamespace });
  const codec = rest(model, {
    contentType: "application/xml",
    times: 5,
    nothing: "",
    read: async () => {
      throw new Refusal("NotImplemented", "No operation here reads XML.", 501);
    },
    write(schema, value) {
      writer.write(schema, value);
      return String(writer.flush());
    },
    refuse(refusal, requestId) {
      const words = `<Code>${escapeXml(refusal.code)}</Code><Message>${escapeXml(refusal.message)}</Message>`;
      return xmlReply(refusal.status ?? 400, `<Error>${words}<RequestId>${requestId}</RequestId></Error>`);
    },
  });
  return {
    ...codec,
    operation: (request) =>
      /Credential=[^,]*\/s3\/aws4_request/.test(header(request, "authorization"))
        ? (codec.operation(splitBucket(request)[1]) ?? "unknown")
        : undefined,
    async decode(operation, request) {
      const [bucket, rest] = splitBucket(request);
      const asked = header(rest, "x-amz-content-sha256") === unsignedTrailer ? unchunk(rest) : rest;
      const members = (await codec.decode(operation, asked)) as Readonly<Record<string, unknown>>;
      return { ...members, Bucket: bucket };
    },
  };
}
