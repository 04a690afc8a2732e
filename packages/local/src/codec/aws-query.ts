// The AWS Query protocol, server side: form fields in, XML out (RDS, STS). https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
import { XmlShapeDeserializer, XmlShapeSerializer } from "@aws-sdk/core/protocols";
import { Refusal } from "../refusal.ts";
import type { SignedRequest } from "../signature.ts";
import { checkShape } from "./check.ts";
import { type Codec, header, type Reply } from "./codec.ts";
import type { Model } from "./model.ts";

const depthLimit = 24;

export function awsQuery(model: Model): Codec {
  const settings = {
    timestampFormat: { useTrait: true, default: 5 as const },
    httpBindings: false,
    xmlNamespace: model.xmlNamespace,
    serviceNamespace: "",
  };
  const reader = new XmlShapeDeserializer(settings);
  const writer = new XmlShapeSerializer(settings);

  return {
    operation(request) {
      if (request.method !== "POST" || !header(request, "content-type").startsWith("application/x-www-form-urlencoded"))
        return undefined;
      const form = formOf(request);
      return form.get("Version") === model.version ? (form.get("Action") ?? undefined) : undefined;
    },

    decode(operation, request) {
      const input = model.operations.get(operation)?.input;
      if (!input || input.isUnitSchema()) return {};
      const value: unknown = reader.readSchema(input, unflatten(formOf(request))) ?? {};
      checkShape(input, value);
      return value;
    },

    encode(operation, output, requestId) {
      const schema = model.operations.get(operation)?.output;
      let result = "";
      if (schema && !schema.isUnitSchema()) {
        writer.write(schema, output ?? {});
        // The serializer names the root after the shape; the protocol wants <Operation>Result.
        result = String(writer.flush())
          .replace(/^<([\w.-]+)/, `<${operation}Result`)
          .replace(/<\/[\w.-]+>$/, `</${operation}Result>`);
      }
      const body = `<${operation}Response xmlns="${model.xmlNamespace}">${result}<ResponseMetadata><RequestId>${requestId}</RequestId></ResponseMetadata></${operation}Response>`;
      return xmlReply(200, body);
    },

    refuse(thrown, requestId) {
      const modelled = model.error(thrown.code);
      const status = modelled?.status ?? thrown.status ?? 400;
      const code = modelled?.code ?? thrown.code;
      const error = `<Error><Type>${status < 500 ? "Sender" : "Receiver"}</Type><Code>${escapeXml(code)}</Code><Message>${escapeXml(thrown.message)}</Message></Error>`;
      return xmlReply(
        status,
        `<ErrorResponse xmlns="${model.xmlNamespace}">${error}<RequestId>${requestId}</RequestId></ErrorResponse>`,
      );
    },
  };
}

export const xmlReply = (status: number, body: string): Reply => ({
  status,
  headers: { "content-type": "text/xml" },
  body,
});
export const escapeXml = (text: string): string => text.replace(/[<>&"']/g, (char) => `&#${char.charCodeAt(0)};`);
const formOf = (request: SignedRequest): URLSearchParams =>
  new URLSearchParams(Buffer.from(request.body).toString("utf8"));

interface Node {
  [name: string]: Node | string;
}

/** Filters.Filter.1.Name=x → {Filters: {Filter: [{Name: "x"}]}}: the tree an XML parser would give, so the SDK's XML reader decodes it. */
export function unflatten(form: URLSearchParams): unknown {
  const root = empty();
  for (const [field, value] of form) {
    const path = field.split(".");
    const last = path.pop() ?? "";
    if (path.length > depthLimit) throw malformed(field);
    let node = root;
    for (const name of path) {
      node[name] ??= empty();
      const next = node[name];
      if (typeof next === "string") throw malformed(field);
      node = next;
    }
    if (node[last] !== undefined) throw malformed(field);
    node[last] = value;
  }
  return plain(root);
}

/** Numbered children become a list, in order; the rest stay named. */
function plain(node: Node | string): unknown {
  if (typeof node === "string") return node;
  const names = Object.keys(node);
  if (names.length > 0 && names.every((name) => /^\d+$/.test(name))) {
    return names.sort((a, b) => Number(a) - Number(b)).map((name) => plain(node[name] ?? ""));
  }
  return Object.fromEntries(names.map((name) => [name, plain(node[name] ?? "")]));
}

const empty = (): Node => Object.create(null) as Node;
const malformed = (field: string): Refusal =>
  new Refusal("MalformedQueryString", `The field ${field.slice(0, 100)} appears twice or contradicts another.`, 400);
