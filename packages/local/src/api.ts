// What one AWS API is to the endpoint: its codec, its operations, and for each the permissions a call needs.
// Rule: an operation that is not in the table does not exist, and one without `needs` does not compile.
import type { Identity } from "./account.ts";
import type { Codec } from "./codec/codec.ts";
import { codecOf } from "./codec/codecs.ts";
import { modelOf, type SdkClient } from "./codec/model.ts";
import type { Need } from "./iam.ts";
import { Refusal } from "./refusal.ts";

/** What an operation knows about the call, after the signature was verified. */
export interface Call {
  readonly identity: Identity;
  /** The account and region the call is for: the caller's, and the one the signature is scoped to. */
  readonly accountId: string;
  readonly region: string;
  readonly at: number;
  readonly requestId: string;
}

export interface Operation<Input> {
  /** The permissions this call needs, all of them; none only where AWS asks for none. May throw a Refusal. */
  needs(input: Input, call: Call): readonly Need[];
  run(input: Input, call: Call): unknown;
}

export interface Throttle {
  readonly code: string;
  readonly message: string;
  readonly status: number;
}

export interface Api {
  /** The signing name: `rds`, `sts`, `secretsmanager`, … */
  readonly name: string;
  readonly codec: Codec;
  readonly operations: ReadonlyMap<string, Operation<unknown>>;
  /** How this service words "too fast". */
  readonly throttle: Throttle;
}

/** Only types the input: an operation's table is then `{DescribeThings: operation<DescribeThingsRequest>({…})}`. */
export const operation = <Input>(of: Operation<Input>): Operation<unknown> => of as Operation<unknown>;

/** An API of the SDK: the client gives protocol and version, its module the schemas. */
export function sdkApi(of: {
  readonly name: string;
  readonly client: SdkClient & { destroy(): void };
  readonly module: Readonly<Record<string, unknown>>;
  readonly operations: Readonly<Record<string, Operation<unknown>>>;
  readonly throttle?: Throttle;
}): Api {
  const model = modelOf(of.client, of.module);
  of.client.destroy();
  for (const name of Object.keys(of.operations)) {
    if (!model.operations.has(name)) throw new Error(`${of.name} has no operation ${name}`);
  }
  return {
    name: of.name,
    codec: codecOf(model),
    operations: new Map(Object.entries(of.operations)),
    throttle: of.throttle ?? { code: "Throttling", message: "Rate exceeded", status: 400 },
  };
}

/** A client is only made to be read: it signs and sends nothing. */
export const unused = {
  region: "us-east-1",
  credentials: { accessKeyId: "unused", secretAccessKey: "unused" },
} as const;

/** State per account and region, made when first asked for. */
export function perRegion<State>(make: () => State): (of: { accountId: string; region: string }) => State {
  const states = new Map<string, State>();
  return ({ accountId, region }) => {
    const key = `${accountId}/${region}`;
    const state = states.get(key) ?? make();
    states.set(key, state);
    return state;
  };
}

/** AWS's sentence for a missing permission. */
export const notAuthorized = (identity: Identity, { action, resource }: Need, because = ""): Refusal =>
  new Refusal(
    "AccessDenied",
    `User: ${identity.arn} is not authorized to perform: ${action} on resource: ${resource}${because}`,
    403,
  );
