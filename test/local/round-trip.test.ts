// Every operation of the SDK modules, there and back, with random values of its own schemas: SDK request → our decoder,
// our encoder → SDK response. The schema classes are not a promise of the SDK's; this is the gate an upgrade must pass.
import * as elasticache from "@aws-sdk/client-elasticache";
import * as lambda from "@aws-sdk/client-lambda";
import * as memorydb from "@aws-sdk/client-memorydb";
import * as rds from "@aws-sdk/client-rds";
import * as redshift from "@aws-sdk/client-redshift-serverless";
import * as s3 from "@aws-sdk/client-s3";
import * as sm from "@aws-sdk/client-secrets-manager";
import * as sts from "@aws-sdk/client-sts";
import { openAccount } from "@sallyport/local/account";
import { type Api, unused } from "@sallyport/local/api";
import { codecOf } from "@sallyport/local/codec/codecs";
import { modelOf, requiredMembers, type SdkClient } from "@sallyport/local/codec/model";
import { openEndpoint } from "@sallyport/local/endpoint";
import { expect, test } from "vitest";

type Schema =
  ReturnType<typeof modelOf>["operations"] extends ReadonlyMap<string, infer Operation>
    ? Operation extends { input: infer Input }
      ? Input
      : never
    : never;
type Random = () => number;
interface Sender extends SdkClient {
  send(command: unknown): Promise<object>;
  destroy(): void;
}
type Client = new (config: object) => Sender;
type Command = new (input: unknown) => unknown;

const rounds = 4;
const strings = ["x", "a<b>&\"c'", "é ü 漢 😀", "a=b&c+d %20", "line\nbreak", "trail "];

interface Tested {
  readonly Client: unknown;
  readonly module: Readonly<Record<string, unknown>>;
  /** How many operations there are at least. */
  readonly least: number;
  readonly skip: readonly string[];
  readonly only?: readonly string[];
  /** Members that the SDK reads or writes by itself. */
  readonly omit?: RegExp;
}

const modules: Readonly<Record<string, Tested>> = {
  rds: { Client: rds.RDSClient, module: rds, least: 160, skip: [] },
  // These two are called without a signature.
  sts: { Client: sts.STSClient, module: sts, least: 8, skip: ["AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"] },
  "redshift-serverless": { Client: redshift.RedshiftServerlessClient, module: redshift, least: 60, skip: [] },
  elasticache: { Client: elasticache.ElastiCacheClient, module: elasticache, least: 70, skip: [] },
  memorydb: { Client: memorydb.MemoryDBClient, module: memorydb, least: 40, skip: [] },
  secretsmanager: { Client: sm.SecretsManagerClient, module: sm, least: 20, skip: [] },
  // Event streams are not ours; the deprecated asynchronous invocation streams its body.
  lambda: { Client: lambda.LambdaClient, module: lambda, least: 60, skip: ["InvokeWithResponseStream", "InvokeAsync"] },
  // What the audit uses. Checksums, lengths and keys for encryption are computed and checked on the way.
  s3: {
    ...{ Client: s3.S3Client, module: s3, least: 4, skip: [] },
    only: ["PutObject", "GetObject", "ListObjectsV2", "DeleteObject"],
    omit: /^(?:Checksum.*|Content(?:MD5|Length|Encoding|Type)|SSECustomer.*|Expires.*|EncodingType|OptionalObjectAttributes)$/,
  },
};

test.each(Object.entries(modules))(
  "every operation of %s survives both ways",
  async (name, { Client, module, least, skip, only, omit }) => {
    const random = seeded(7);
    const account = openAccount();
    const { credentials } = account.addUser({ name: "tester", statements: [{ actions: ["*"], resources: ["*"] }] });
    const model = modelOf(new (Client as unknown as Client)(unused), module);
    let [seen, wanted]: unknown[] = [];
    const echo = {
      needs: () => [],
      run(input: unknown) {
        seen = input;
        return wanted;
      },
    };
    const api: Api = {
      name,
      codec: codecOf(model),
      operations: new Map([...model.operations.keys()].map((operation) => [operation, echo])),
      throttle: { code: "Throttling", message: "", status: 400 },
    };
    const endpoint = await openEndpoint({ accounts: [account], services: [api] });
    const client = new (Client as unknown as Client)({
      endpoint: endpoint.url,
      region: "eu-west-1",
      credentials,
      maxAttempts: 1,
      disableHostPrefix: true,
    });
    let trips = 0;
    try {
      for (const [operation, { input, output, http }] of model.operations) {
        const SdkCommand = (module as unknown as Record<string, Command | undefined>)[`${operation}Command`];
        if (!SdkCommand || skip.includes(operation)) continue;
        if (only && !only.includes(operation)) continue;
        trips++;
        for (let round = 0; round < rounds; round++) {
          const make = (schema: Schema): unknown => without(randomValue(schema, random, 0, http !== undefined), omit);
          const sent = input.isUnitSchema() ? {} : make(input);
          wanted = output.isUnitSchema() ? undefined : make(output);
          const { $metadata, ...answer } = (await client.send(new SdkCommand(sent)).catch((error: unknown) => {
            throw new Error(`${operation}: ${JSON.stringify(sent)}`, { cause: error });
          })) as { $metadata: object };
          // The SDK fills idempotency tokens and presigned URLs in by itself.
          const added = Object.fromEntries(
            Object.entries((seen ?? {}) as object).filter(
              ([key]) => /Token$|PreSignedUrl/i.test(key) && !(key in (sent as object)),
            ),
          );
          expect(tidy(without(seen, omit)), `${operation} input`).toEqual(tidy({ ...added, ...(sent as object) }));
          expect(tidy(without(await received(answer), omit)), `${operation} output`).toEqual(tidy(wanted ?? {}));
        }
      }
    } finally {
      client.destroy();
      await endpoint.close();
    }
    expect(trips).toBeGreaterThanOrEqual(least);
  },
  60_000,
);

function without(value: unknown, omit: RegExp | undefined): unknown {
  if (!omit || typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([key]) => !omit.test(key)));
}

/** With a body that came as a stream read to its end; an empty one is none. */
async function received(answer: object): Promise<object> {
  const { Body: body, ...rest } = answer as { Body?: { transformToByteArray?(): Promise<Uint8Array> } };
  const bytes = await body?.transformToByteArray?.();
  return bytes === undefined ? answer : { ...rest, ...(bytes.length > 0 && { Body: bytes }) };
}

function randomValue(schema: Schema, random: Random, depth: number, rest: boolean): unknown {
  if (schema.isStructSchema()) return structure(schema, random, depth, rest);
  if (schema.isListSchema()) {
    const items = Array.from({ length: 1 + Math.floor(random() * 2) }, () =>
      randomValue(schema.getValueSchema(), random, depth + 1, rest),
    );
    return items.filter((item) => item !== undefined && !isEmpty(item));
  }
  if (schema.isMapSchema()) {
    const pairs = ["a b", "k&2"].map(
      (key) => [key, randomValue(schema.getValueSchema(), random, depth + 1, rest)] as const,
    );
    return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
  }
  if (schema.isBlobSchema()) return new Uint8Array([1, 255, 0]);
  if (schema.isBooleanSchema()) return random() < 0.5;
  if (schema.isTimestampSchema()) return new Date(1_767_225_600_000 + Math.floor(random() * 1e6) * 1000);
  if (schema.isBigIntegerSchema()) return 5n;
  if (schema.isNumericSchema()) return Math.floor(random() * 1000);
  const { httpHeader, httpLabel } = schema.getMergedTraits();
  // A header or a path segment carries less than a body does.
  if (schema.isStringSchema()) return pick(httpHeader || httpLabel ? ["x", "a-b.c:1"] : strings, random);
  return undefined;
}

function structure(schema: Schema, random: Random, depth: number, rest: boolean): object {
  const members = [...schema.structIterator()];
  const union = schema.isUnionSchema();
  const required = requiredMembers(schema);
  const value: Record<string, unknown> = {};
  for (const [name, member] of union ? [pick(members, random)] : members) {
    const deep = depth > 3 && (member.isStructSchema() || member.isListSchema() || member.isMapSchema());
    // An empty structure cannot be told from an absent one in a form.
    const first = depth > 0 && name === members[0]?.[0];
    const { httpLabel, httpResponseCode } = member.getMergedTraits();
    const needed = union || required.includes(name) || httpLabel || httpResponseCode || first;
    if (!needed && (deep || random() < 0.3)) continue;
    // An operation's status code is the operation's to say.
    if (rest && httpResponseCode) {
      value[name] = 200;
      continue;
    }
    // a map in headers has their names and carries no more than they do
    const made = member.getMergedTraits().httpPrefixHeaders
      ? { one: "x", "a-b": "y:1" }
      : randomValue(member, random, depth + 1, rest);
    if (made !== undefined) value[name] = made;
  }
  return value;
}

/** Bytes and dates as plain data, and without what no protocol can tell from absent. */
function tidy(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: [...value] };
  if (value instanceof Date) return { at: value.getTime() };
  if (value instanceof String) return String(value);
  if (Array.isArray(value)) return value.map(tidy);
  if (typeof value !== "object" || value === null) return value;
  const pairs = Object.entries(value).map(([key, member]) => [key, tidy(member)] as const);
  return Object.fromEntries(pairs.filter(([, member]) => member !== undefined && member !== null && !isEmpty(member)));
}

const isEmpty = (value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  !(value instanceof Uint8Array) &&
  !(value instanceof Date) &&
  Object.keys(value).length === 0;

function pick<Item>(items: readonly Item[], random: Random): Item {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error("nothing to pick from");
  return item;
}

function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}
