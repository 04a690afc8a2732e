// The HTTP contract as an OpenAPI 3.1 document, made from the route table alone. Pure.
// https://spec.openapis.org/oas/v3.1.1.html
import { ErrorAnswer, type RouteAccess, type RouteName, routes } from "@sallyport/core/api";
import * as z from "zod";

/** A JSON schema of the kind that zod writes, as far as anybody here looks into it. */
export interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly propertyNames?: Schema;
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly [keyword: string]: unknown;
}

interface Parameter {
  readonly name: string;
  readonly in: "path" | "query";
  readonly required: boolean;
  readonly schema: Schema;
}
interface Content {
  readonly "application/json": { readonly schema: Schema };
}
export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly required: true; readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: Content }>>;
}
export interface OpenApi {
  readonly openapi: "3.1.1";
  readonly info: Readonly<Record<string, unknown>>;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: Readonly<Record<string, unknown>>;
}

const schemaOf = (schema: z.ZodType, io: "input" | "output"): Schema => {
  const { $schema, ...rest } = z.toJSONSchema(schema, {
    io,
    reused: "inline",
    unrepresentable: "any",
    // answers may grow: nobody may rely on there being no more in one
    override: ({ jsonSchema }) => {
      if (io === "output" && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
  return rest as Schema;
};

const access: Readonly<Record<RouteAccess, string>> = {
  public: "Open to anybody",
  user: "For any active login",
  admin: "For administrators",
};
const json = (schema: Schema): Content => ({ "application/json": { schema } });
const error = (description: string) => ({ description, content: json({ $ref: "#/components/schemas/Error" }) });

/** `getResource` → `Get resource` */
const titleOf = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).replace(/^./, (letter) => letter.toUpperCase());

const operationOf = (name: RouteName): Operation => {
  const route = routes[name];
  const { properties = {}, required = [], ...whole } = schemaOf(route.input, "input");
  const inPath = new Set([...route.path.matchAll(/\{(\w+)\}/g)].map(([, parameter = ""]) => parameter));
  const inBody = route.method === "POST" || route.method === "PUT";
  const rest = Object.entries(properties).filter(([key]) => !inPath.has(key));
  const parameter = (key: string, where: Parameter["in"]): Parameter => ({
    name: key,
    in: where,
    required: required.includes(key),
    schema: properties[key] ?? {},
  });
  const parameters = [
    ...[...inPath].map((key) => parameter(key, "path")),
    ...(inBody ? [] : rest.map(([key]) => parameter(key, "query"))),
  ];
  const body = { ...whole, properties: Object.fromEntries(rest), required: required.filter((key) => !inPath.has(key)) };
  return {
    operationId: name,
    summary: `${titleOf(name)}. ${access[route.access]}.`,
    security: route.access === "public" ? [] : [{ session: [] }],
    ...(parameters.length > 0 && { parameters }),
    ...(inBody && rest.length > 0 && { requestBody: { required: true, content: json(body) } }),
    responses: {
      "200": { description: "done", content: json(schemaOf(route.output, "output")) },
      "400": error("the input is wrong"),
      ...(route.access !== "public" && { "401": error("no login, or one that is over") }),
      ...(route.access === "admin" && { "403": error("administrators only") }),
      default: error("anything else that went wrong"),
    },
  };
};

/** The whole API. */
export const makeOpenApi = (): OpenApi => {
  const paths: Record<string, Record<string, Operation>> = {};
  for (const name of Object.keys(routes) as RouteName[]) {
    const { path, method } = routes[name];
    paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(name) };
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Sallyport",
      version: "1",
      description:
        "Short-lived, role-checked, audited access to databases. Input is strict: an unknown member is refused.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
    components: {
      securitySchemes: {
        session: { type: "http", scheme: "bearer", description: "The session token that POST /v1/login answers with" },
      },
      schemas: { Error: schemaOf(ErrorAnswer, "output") },
    },
  };
};
