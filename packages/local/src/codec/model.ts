// A service's model as the SDK carries it: its operations, their shapes and its errors, read from the generated schemas.
// The schema classes are exported by the SDK but not promised: versions are pinned and a round-trip test is the upgrade gate.
import { NormalizedSchema, type TypeRegistry } from "@smithy/core/schema";

/** The part of an SDK client that describes its service. */
export interface SdkClient {
  readonly config: {
    readonly protocol: { getShapeId(): string };
    readonly protocolSettings: { readonly [setting: string]: unknown };
  };
}

export interface OperationModel {
  readonly name: string;
  /** REST binding: method, path template, status of success. */
  readonly http: readonly [string, string, number] | undefined;
  readonly input: NormalizedSchema;
  readonly output: NormalizedSchema;
}

export interface Model {
  /** aws.protocols#awsQuery, #awsJson1_0, #awsJson1_1, #restJson1 or #restXml */
  readonly protocol: string;
  readonly version: string;
  readonly target: string;
  readonly xmlNamespace: string;
  readonly operations: ReadonlyMap<string, OperationModel>;
  /** The modelled error of that name, with the code and status it has on the wire. */
  error(
    name: string,
  ): { readonly schema: NormalizedSchema; readonly code: string; readonly status: number } | undefined;
}

type SchemaRef = Parameters<typeof NormalizedSchema.of>[0];
type OperationSchema = readonly [
  tag: number,
  namespace: string,
  name: string,
  traits: SchemaRef,
  input: SchemaRef,
  output: SchemaRef,
];

const operationTag = 9;
const isOperation = (value: unknown): value is OperationSchema =>
  Array.isArray(value) && value[0] === operationTag && value.length >= 6;

export function modelOf(client: SdkClient, module: Readonly<Record<string, unknown>>): Model {
  const settings = client.config.protocolSettings;
  const registries = (settings["errorTypeRegistries"] ?? []) as readonly TypeRegistry[];
  const operations = Object.values(module)
    .filter(isOperation)
    .map(([, , name, traits, input, output]) => ({
      name,
      http: typeof traits === "object" ? (traits as { http?: [string, string, number] }).http : undefined,
      input: NormalizedSchema.of(input),
      output: NormalizedSchema.of(output),
    }));
  return {
    protocol: client.config.protocol.getShapeId(),
    version: String(settings["version"]),
    target: String(settings["serviceTarget"]),
    xmlNamespace: String(settings["xmlNamespace"] ?? ""),
    operations: new Map(operations.map((operation) => [operation.name, operation])),
    error(name) {
      const found = registries.map((registry) => lookUp(registry, name)).find((schema) => schema !== undefined);
      if (!found) return undefined;
      const schema = NormalizedSchema.of(found);
      const { awsQueryError, httpError, error } = schema.getMergedTraits();
      const [code, status] = Array.isArray(awsQueryError) ? awsQueryError : [name, undefined];
      return { schema, code: String(code), status: Number(status ?? httpError ?? (error === "server" ? 500 : 400)) };
    },
  };
}

function lookUp(registry: TypeRegistry, name: string) {
  try {
    return registry.getSchema(name);
  } catch {
    return undefined; // getSchema throws for a name it does not hold
  }
}

/** The members a structure requires: generated schemas list those first and give their number. */
export function requiredMembers(schema: NormalizedSchema): readonly string[] {
  const raw = schema.getSchema();
  if (!Array.isArray(raw)) return [];
  const [, , , , names, , count] = raw as readonly unknown[];
  return Array.isArray(names) && typeof count === "number" ? names.slice(0, count).map(String) : [];
}
