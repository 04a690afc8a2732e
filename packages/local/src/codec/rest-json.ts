// REST-JSON, server side (Lambda). https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
import { JsonCodec2 } from "@aws-sdk/core/protocols";
import { jsonError, readJson } from "./aws-json.ts";
import type { Codec } from "./codec.ts";
import type { Model } from "./model.ts";
import { rest } from "./rest.ts";

const settings = { timestampFormat: { useTrait: true, default: 7 as const }, httpBindings: true, jsonName: true };

export function restJson(model: Model): Codec {
  const json = new JsonCodec2(settings);
  return rest(model, {
    contentType: "application/json",
    times: 7,
    nothing: "{}",
    read: (schema, body) => readJson(json, schema, body),
    write(schema, value) {
      const writer = json.createSerializer();
      writer.write(schema, value);
      return String(writer.flush());
    },
    refuse(refusal) {
      const { code, status, body } = jsonError(model, refusal);
      return { status, headers: { "content-type": "application/json", "x-amzn-errortype": code }, body };
    },
  });
}
