// What the REST protocols share, server side: method and path name the operation; members travel in path, query, headers and
// body. What the body is written in, and how an error is worded, is the protocol's own.
// https://smithy.io/2.0/spec/http-bindings.html
import { FromStringShapeDeserializer, ToStringShapeSerializer } from "@smithy/core/protocols";
import type { NormalizedSchema } from "@smithy/core/schema";
import { Refusal } from "../refusal.ts";
import type { SignedRequest } from "../signature.ts";
import { checkShape } from "./check.ts";
import type { Codec, Reply } from "./codec.ts";
import type { Model, OperationModel } from "./model.ts";

/** A protocol's own words. */
export interface RestWords {
  readonly contentType: string;
  /** How times are written where nothing else is said: 7 epoch seconds, 5 ISO 8601. */
  readonly times: 5 | 7;
  /** A body without members. */
  readonly nothing: string;
  read(schema: NormalizedSchema, body: Uint8Array): Promise<unknown>;
  write(schema: NormalizedSchema, value: unknown): string;
  refuse(refusal: Refusal, requestId: string): Reply;
}

interface Route {
  readonly operation: OperationModel;
  readonly method: string;
  readonly path: RegExp;
  /** Query pairs the template itself demands: `/layers?find=LayerVersion`. */
  readonly query: readonly string[];
  readonly literals: number;
}

export function rest(model: Model, words: RestWords): Codec {
  const settings = { timestampFormat: { useTrait: true, default: words.times }, httpBindings: true };
  const fromText = new FromStringShapeDeserializer(settings);
  const toText = new ToStringShapeSerializer(settings);
  const routes = routesOf(model);
  const routeOf = (request: SignedRequest) => {
    const [path = "", search = ""] = request.target.split("?", 2);
    const pairs = search.split("&");
    return routes.find(
      (route) =>
        route.method === request.method && route.path.test(path) && route.query.every((pair) => pairs.includes(pair)),
    );
  };
  const written = (schema: NormalizedSchema, value: unknown) => {
    toText.write(schema, value);
    return String(toText.flush());
  };

  return {
    operation: (request) => routeOf(request)?.operation.name,

    async decode(operation, request) {
      const route = routes.find((candidate) => candidate.operation.name === operation);
      if (!route || route.operation.input.isUnitSchema()) return {};
      const { input } = route.operation;
      const [path = "", search = ""] = request.target.split("?", 2);
      const labels = route.path.exec(path)?.groups ?? {};
      const query = queryOf(search);
      const members: Record<string, unknown> = {};
      const inBody: string[] = [];
      for (const [name, schema] of input.structIterator()) {
        const { httpLabel, httpQuery, httpHeader, httpPrefixHeaders, httpPayload } = schema.getMergedTraits();
        if (httpLabel) members[name] = fromText.read(schema, decoded(labels[name] ?? ""));
        else if (httpHeader) {
          const value = request.headers[httpHeader.toLowerCase()]?.[0];
          if (value !== undefined) members[name] = fromText.read(schema, value);
        } else if (httpQuery) {
          const values = query.get(httpQuery);
          if (values && schema.isListSchema())
            members[name] = values.map((value) => fromText.read(schema.getValueSchema(), value));
          else if (values?.[0] !== undefined) members[name] = fromText.read(schema, values[0]);
        } else if (httpPrefixHeaders) {
          const own = Object.entries(request.headers).filter(([header]) => header.startsWith(httpPrefixHeaders));
          members[name] = Object.fromEntries(
            own.map(([header, values]) => [header.slice(httpPrefixHeaders.length), values?.[0] ?? ""]),
          );
        } else if (!httpPayload) inBody.push(name);
        else if (request.body.length === 0) continue;
        else if (schema.isBlobSchema()) members[name] = request.body;
        else members[name] = await words.read(schema, request.body);
      }
      if (inBody.length > 0 && request.body.length > 0) {
        const body = (await words.read(input, request.body)) as Readonly<Record<string, unknown>>;
        for (const name of inBody) if (Object.hasOwn(body, name)) members[name] = body[name];
      }
      checkShape(input, members);
      return members;
    },

    encode(operation, output) {
      const { output: schema, http } = model.operations.get(operation) ?? {};
      const headers: Record<string, string> = { "content-type": words.contentType };
      let [status, body]: [number, string | Uint8Array] = [http?.[2] ?? 200, words.nothing];
      if (!schema || schema.isUnitSchema()) return { status, headers, body: "" };
      const values = (output ?? {}) as Readonly<Record<string, unknown>>;
      const inBody: Record<string, unknown> = {};
      let payload = false;
      let bodied = words.nothing !== "";
      for (const [name, member] of schema.structIterator()) {
        const value = values[name];
        const { httpHeader, httpPrefixHeaders, httpResponseCode, httpPayload } = member.getMergedTraits();
        if (httpPayload) payload = true;
        if (httpPayload) body = value === undefined ? "" : payloadOf(words, member, value);
        else if (value === undefined || value === null) continue;
        else if (httpResponseCode) status = Number(value);
        else if (httpHeader) headers[httpHeader.toLowerCase()] = written(member, value);
        else if (httpPrefixHeaders)
          for (const [key, one] of Object.entries(value))
            headers[`${httpPrefixHeaders}${key}`.toLowerCase()] = String(one);
        else {
          inBody[name] = value;
          bodied = true;
        }
      }
      if (!payload && bodied) body = words.write(schema, inBody);
      return { status, headers, body: status === 204 ? "" : body };
    },

    refuse: (refusal, requestId) => words.refuse(refusal, requestId),
  };
}

function payloadOf(words: RestWords, schema: NormalizedSchema, value: unknown): string | Uint8Array {
  return value instanceof Uint8Array || typeof value === "string" ? value : words.write(schema, value);
}

/** Path templates as expressions; the one with the most literal segments is tried first. */
function routesOf(model: Model): readonly Route[] {
  const routes = [...model.operations.values()].flatMap((operation): Route[] => {
    if (!operation.http) return [];
    const [method, template] = operation.http;
    const [pathTemplate = "", query] = template.split("?", 2);
    const path = pathTemplate
      .split("/")
      .map((part) =>
        part
          .replace(/[.*+?^$()|[\]\\]/g, "\\$&")
          .replace(
            /^\{(\w+)(\\\+)?\}$/,
            (_, name: string, greedy?: string) => `(?<${name}>${greedy ? ".+" : "[^/]+"})`,
          ),
      )
      .join("/");
    const literals = pathTemplate.split("/").filter((part) => part && !part.startsWith("{")).length;
    return [{ operation, method, path: new RegExp(`^${path}/?$`), query: query?.split("&") ?? [], literals }];
  });
  return routes.sort((a, b) => b.literals + b.query.length - (a.literals + a.query.length));
}

function queryOf(search: string): ReadonlyMap<string, readonly string[]> {
  const query = new Map<string, string[]>();
  for (const pair of search === "" ? [] : search.split("&")) {
    const [name = "", value = ""] = pair.split("=", 2).map(decoded);
    query.set(name, [...(query.get(name) ?? []), value]);
  }
  return query;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal("ValidationError", "The request path or query is not properly encoded.", 400);
  }
}
