// AWS Lambda: the Invoke API, in front of whatever runs the functions on this machine.
// Rule: a function's own error is a successful Invoke that carries X-Amz-Function-Error, as on AWS.
import * as lambda from "@aws-sdk/client-lambda";
import type { Identity } from "../account.ts";
import { type Api, type Call, operation, sdkApi, unused } from "../api.ts";
import { Refusal } from "../refusal.ts";

export interface Invocation {
  readonly functionName: string;
  readonly qualifier: string | undefined;
  readonly payload: unknown;
  readonly identity: Identity;
  readonly region: string;
  readonly requestId: string;
}

/** Runs functions: `has` says whether one exists; what `invoke` throws is the function's error. */
export interface Functions {
  has(functionName: string, where: { accountId: string; region: string }): boolean;
  invoke(invocation: Invocation): Promise<unknown>;
}

export interface Lambda {
  readonly api: Api;
  /** Settles when every invocation of type Event has ended, well or not. */
  settled(): Promise<void>;
}

const payloadLimit = 6 * 1024 * 1024;

export function openLambda(functions: Functions): Lambda {
  const events = new Set<Promise<void>>();

  async function invoke(input: lambda.InvocationRequest, call: Call) {
    const { name, qualifier } = functionOf(input, call);
    if (!functions.has(name, call)) {
      throw new Refusal("ResourceNotFoundException", `Function not found: ${arnOf(input, call)}`, 404, {
        Type: "User",
      });
    }
    const payload = payloadOf(input.Payload);
    const run = () =>
      functions.invoke({
        functionName: name,
        qualifier,
        payload,
        identity: call.identity,
        region: call.region,
        requestId: call.requestId,
      });
    switch (input.InvocationType ?? "RequestResponse") {
      case "DryRun":
        return { StatusCode: 204 };
      case "Event": {
        const event: Promise<void> = run()
          .catch(() => undefined)
          .then(() => void events.delete(event));
        events.add(event);
        return { StatusCode: 202, Payload: new Uint8Array() };
      }
      case "RequestResponse":
        return { StatusCode: 200, ExecutedVersion: qualifier ?? "$LATEST", ...(await outcome(run)) };
      default:
        throw new Refusal(
          "InvalidParameterValueException",
          "The InvocationType is not one of Event, RequestResponse, DryRun.",
          400,
          { Type: "User" },
        );
    }
  }

  const api = sdkApi({
    name: "lambda",
    client: new lambda.LambdaClient(unused),
    module: lambda,
    throttle: { code: "TooManyRequestsException", message: "Rate Exceeded.", status: 429 },
    operations: {
      Invoke: operation<lambda.InvocationRequest>({
        needs: (input, call) => [{ action: "lambda:InvokeFunction", resource: arnOf(input, call) }],
        run: invoke,
      }),
    },
  });
  return {
    api,
    async settled() {
      while (events.size > 0) await Promise.all(events);
    },
  };
}

async function outcome(run: () => Promise<unknown>) {
  try {
    const result = await run();
    return { Payload: bytes(result === undefined ? null : result) };
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const trace = error.stack?.split("\n") ?? [];
    return {
      FunctionError: "Unhandled",
      Payload: bytes({ errorType: error.name, errorMessage: error.message, trace }),
    };
  }
}

const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

function payloadOf(payload: Uint8Array | undefined): unknown {
  if (payload === undefined || payload.length === 0) return {};
  if (payload.length > payloadLimit)
    throw new Refusal(
      "RequestTooLargeException",
      `Request must be smaller than ${payloadLimit} bytes for the InvokeFunction operation`,
      413,
      { Type: "User" },
    );
  try {
    return JSON.parse(Buffer.from(payload).toString("utf8"));
  } catch {
    throw new Refusal("InvalidRequestContentException", "Could not parse request body into json", 400, {
      Type: "User",
    });
  }
}

/** A name, `account:function:name` or a whole ARN, each with an optional `:qualifier`. */
function functionOf(input: lambda.InvocationRequest, call: Call) {
  const given = input.FunctionName ?? "";
  const parts = /^(?:(?:arn:aws:lambda:([a-z0-9-]+):)?(\d{12}):function:)?([\w-]{1,64})(?::([\w$-]{1,128}))?$/.exec(
    given,
  );
  if (!parts)
    throw new Refusal("ValidationException", `Value '${given}' at 'functionName' is not a function name or ARN`, 400);
  const [, region = call.region, accountId = call.accountId, name = "", alias] = parts;
  if (region !== call.region)
    throw new Refusal(
      "ResourceNotFoundException",
      `Functions from '${region}' are not reachable in this region ('${call.region}')`,
      404,
      { Type: "User" },
    );
  return { region, accountId, name, qualifier: input.Qualifier ?? alias };
}

function arnOf(input: lambda.InvocationRequest, call: Call): string {
  const { region, accountId, name, qualifier } = functionOf(input, call);
  return `arn:aws:lambda:${region}:${accountId}:function:${name}${qualifier === undefined ? "" : `:${qualifier}`}`;
}
