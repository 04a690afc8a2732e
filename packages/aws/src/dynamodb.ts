// DynamoDB's operations as JSON, signed and sent without the SDK's pipeline, which costs a login more than everything else in
// it. What may differ from one deployment to the next stays the SDK's: its client says region, endpoint, credentials, timeouts
// and how often to try again. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
import { setTimeout as wait } from "node:timers/promises";
import { type DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import { openSigner } from "./sigv4.ts";

export type Json = Readonly<Record<string, unknown>>;
/** One operation. @throws Error with AWS's name for it, and its members */
export type Call = (operation: string, input: Json) => Promise<Json>;

interface Endpoint {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
}
type Handle = DynamoDBClient["config"]["requestHandler"]["handle"];
type Request = Parameters<Handle>[0];
type Response = Awaited<ReturnType<Handle>>["response"];

const version = "DynamoDB_20120810";
const contentType = "application/x-amz-json-1.0";
const success = 200;
/** Further off than this the clock is wrong, not the way long: AWS refuses signatures five minutes away. */
const skewed = 240_000;

/** Where the SDK would send a request: asked of its own pipeline, which is stopped before it sends one. */
const findEndpoint = async (client: DynamoDBClient): Promise<Endpoint> => {
  const command = new ListTablesCommand({});
  let found: Endpoint | undefined;
  command.middlewareStack.add(
    () => async (args) => {
      found = args.request as Endpoint;
      return { response: undefined, output: { $metadata: {} } };
    },
    { step: "build", name: "findEndpoint" },
  );
  await client.send(command);
  if (!found) throw new Error("the SDK names no endpoint");
  const { protocol, hostname, port, path } = found;
  return { protocol, hostname, path, ...(port === undefined ? {} : { port }) };
};

/** Where to, and signed how. */
const findWay = async (client: DynamoDBClient) => {
  const [where, region] = await Promise.all([findEndpoint(client), client.config.region()]);
  const host = where.port === undefined ? where.hostname : `${where.hostname}:${where.port}`;
  return { where, host, sign: openSigner({ region, service: "dynamodb" }) };
};
type Way = Awaited<ReturnType<typeof findWay>>;

const textOf = (response: Response): Promise<string> =>
  new Promise((resolve, reject) => {
    const body = response.body as NodeJS.ReadableStream;
    const chunks: Buffer[] = [];
    body.on("data", (chunk: Buffer) => chunks.push(chunk));
    body.once("end", () => resolve(Buffer.concat(chunks).toString()));
    body.once("error", reject);
  });

/** Of an error that somebody between us and AWS worded, the status is all there is. */
const bodyOf = (text: string): Json => {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return {};
  }
};

/** The error in an answer, with AWS's name for it. */
const errorOf = ({ statusCode, headers }: Response, text: string): Error => {
  const body = bodyOf(text);
  const type = body["__type"] ?? headers["x-amzn-errortype"] ?? `Status${statusCode}`;
  const name = String(type).replace(/^.*#/, "").replace(/:.*$/, "");
  const error = new Error(String(body["message"] ?? body["Message"] ?? name));
  return Object.assign(error, body, { name, status: statusCode });
};

const isThrottled = (name: string): boolean =>
  /Throttl|ThroughputExceeded|RequestLimitExceeded|LimitExceeded$/.test(name);
const isSkew = (name: string): boolean =>
  ["RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch"].includes(name);

export const openDynamodb = (client: DynamoDBClient): Call => {
  const { config } = client;
  let way: Promise<Way> | undefined;
  /** How far their clock is from ours. */
  let offset = 0;

  /** Found once; looked for again when it was not. */
  const openWay = (): Promise<Way> => {
    way ??= findWay(client).catch((thrown: unknown) => {
      way = undefined;
      throw thrown;
    });
    return way;
  };

  const send = async (operation: string, body: string): Promise<Json> => {
    const [{ where, host, sign }, keys] = await Promise.all([openWay(), config.credentials()]);
    const headers = { host, "content-type": contentType, "x-amz-target": `${version}.${operation}` };
    const signed = sign({ path: where.path, headers, body }, keys, Date.now() + offset);
    signed["content-length"] = String(Buffer.byteLength(body));
    const request = { ...where, method: "POST", query: {}, headers: signed, body } as Request;
    const { response } = await config.requestHandler.handle(request);
    const answer = await textOf(response);
    // what is no JSON is no answer: an empty one would say that there is no such item
    if (response.statusCode === success) return JSON.parse(answer) as Json;
    const error = errorOf(response, answer);
    const skew = Date.parse(response.headers["date"] ?? "") - Date.now();
    if (isSkew(error.name) && Math.abs(skew - offset) > skewed) {
      offset = skew;
      throw Object.assign(error, { passing: true });
    }
    throw error;
  };

  return async (operation, input) => {
    const body = JSON.stringify(input);
    const strategy = await config.retryStrategy();
    if (!("acquireInitialRetryToken" in strategy)) throw new Error("this SDK can't say when to try again");
    let token = await strategy.acquireInitialRetryToken("dynamodb");
    for (let attempts = 1; ; attempts++)
      try {
        const answer = await send(operation, body);
        strategy.recordSuccess(token);
        return answer;
      } catch (thrown) {
        const error = Object.assign(thrown instanceof Error ? thrown : new Error(String(thrown)), {
          $metadata: { attempts },
        });
        const errorType = kindOf(error);
        if (errorType === "CLIENT_ERROR") throw error;
        try {
          token = await strategy.refreshRetryTokenForRetry(token, { errorType, error: error as never });
        } catch {
          throw error;
        }
        await wait(token.getRetryDelay());
      }
  };
};

/** What the SDK's strategy wants to know of an error: an answer that is no answer may come the next time. */
const kindOf = (error: Error & { status?: number; passing?: boolean }) => {
  if (isThrottled(error.name)) return "THROTTLING";
  if (error.status === undefined || error.passing) return "TRANSIENT";
  return error.status >= 500 ? "SERVER_ERROR" : "CLIENT_ERROR";
};
