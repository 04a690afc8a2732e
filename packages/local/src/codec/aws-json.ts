// The AWS JSON protocols 1.0 and 1.1, server side (Secrets Manager, later KMS). https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
import { JsonCodec2 } from "@aws-sdk/core/protocols";
import type { NormalizedSchema } from "@smithy/core/schema";
import { Refusal } from "../refusal.ts";
import { checkShape } from "./check.ts";
import { type Codec, header } from "./codec.ts";
import type { Model } from "./model.ts";

export function awsJson(model: Model): Codec {
  const json = new JsonCodec2({ timestampFormat: { useTrait: true, default: 7 }, jsonName: false });
  const contentType = `application/x-amz-json-${model.protocol.endsWith("1_0") ? "1.0" : "1.1"}`;

  return {
    operation: (request) => targetOf(model.target, header(request, "x-amz-target")),

    async decode(operation, request) {
      const input = model.operations.get(operation)?.input;
      if (!input || input.isUnitSchema()) return {};
      const value = await readJson(json, input, request.body);
      checkShape(input, value);
      return value;
    },

    encode(operation, output) {
      const schema = model.operations.get(operation)?.output;
      if (!schema || schema.isUnitSchema())
        return { status: 200, headers: { "content-type": contentType }, body: "{}" };
      const writer = json.createSerializer();
      writer.write(schema, output ?? {});
      return { status: 200, headers: { "content-type": contentType }, body: writer.flush() };
    },

    refuse(refusal) {
      const { code, status, body } = jsonError(model, refusal, 400);
      return { status, headers: { "content-type": contentType, "x-amzn-errortype": code }, body };
    },
  };
}

/** The operation in `<target>.<operation>`, when the target is this service's. */
export function targetOf(target: string, value: string): string | undefined {
  return value.startsWith(`${target}.`) ? value.slice(target.length + 1) : undefined;
}

export async function readJson(json: JsonCodec2, schema: NormalizedSchema, body: Uint8Array): Promise<unknown> {
  try {
    return await json.createDeserializer().read(schema, Buffer.from(body).toString("utf8") || "{}");
  } catch {
    throw new Refusal("SerializationException", "The request body is not valid JSON for this operation.", 400);
  }
}

// The front's own refusals have other names in the JSON protocols than in Query.
const jsonNames: Readonly<Record<string, string>> = {
  AccessDenied: "AccessDeniedException",
  ExpiredToken: "ExpiredTokenException",
  IncompleteSignature: "IncompleteSignatureException",
  InvalidClientTokenId: "UnrecognizedClientException",
  MissingAuthenticationToken: "MissingAuthenticationTokenException",
  SignatureDoesNotMatch: "InvalidSignatureException",
  ValidationError: "ValidationException",
  InvalidAction: "UnknownOperationException",
};

/** `denied` is the status of an authorisation refusal: 400 in the JSON protocols, the refusal's own in REST. */
export function jsonError(model: Model | undefined, refusal: Refusal, denied?: number) {
  const modelled = model?.error(refusal.code);
  const code = jsonNames[refusal.code] ?? refusal.code;
  const status = modelled?.status ?? (code === refusal.code ? refusal.status : (denied ?? refusal.status)) ?? 400;
  const member =
    modelled && [...modelled.schema.structIterator()].some(([name]) => name === "Message") ? "Message" : "message";
  return { code, status, body: JSON.stringify({ ...refusal.members, __type: code, [member]: refusal.message }) };
}
