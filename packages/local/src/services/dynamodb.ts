// Amazon DynamoDB: a front before a real server. It verifies and authorises each request, then passes it on, and the answer back.
// Rule: what was checked is what is sent, so a request that two parsers could read differently cannot slip through.
import { Agent, request as send } from "node:http";
import { type Api, type Call, operation } from "../api.ts";
import { jsonError, targetOf } from "../codec/aws-json.ts";
import { type Codec, header, type Reply } from "../codec/codec.ts";
import { type Dynoxide, startDynoxide } from "../dynoxide.ts";
import type { Context, Need } from "../iam.ts";
import { partitionKey, type Touch, touches } from "../leading-keys.ts";
import { Refusal } from "../refusal.ts";
import type { SignedRequest } from "../signature.ts";

type Input = Readonly<Record<string, unknown>>;

export interface Dynamodb {
  readonly api: Api;
  close(): Promise<void>;
}

const target = "DynamoDB_20120810";
const contentType = "application/x-amz-json-1.0";

/** Starts the server. Its tables belong to one account and region; every other sees none. */
export async function openDynamodb(home: {
  readonly accountId: string;
  readonly region: string;
  readonly file?: string;
}): Promise<Dynamodb> {
  const server = await startDynoxide(home);
  const agent = new Agent({ keepAlive: true });
  const entries = Object.entries(touches).map(([name, touch]) => {
    const of = operation<Input>({
      needs: (input, call) => needed(input, call, touch(input)),
      run(input, call) {
        if (call.accountId !== home.accountId || call.region !== home.region) {
          throw new Refusal("ResourceNotFoundException", "Requested resource not found", 400);
        }
        if (name === "CreateTable") requireKey(input);
        return forward(server, agent, name, input);
      },
    });
    return [name, of] as const;
  });
  const throttle = {
    code: "ThrottlingException",
    message: "Rate of requests exceeds the allowed throughput.",
    status: 400,
  };
  return {
    api: { name: "dynamodb", codec, operations: new Map(entries), throttle },
    async close() {
      agent.destroy();
      await server.close();
    },
  };
}

const codec: Codec = {
  operation: (request) => targetOf(target, header(request, "x-amz-target")),
  decode: (name, request) => parse(name, request),
  encode: (_, output) => output as Reply,
  refuse(refusal) {
    const { code, status, body } = jsonError(undefined, refusal, 400);
    return { status, headers: { "content-type": contentType, "x-amzn-errortype": code }, body };
  },
};

/** Parsed, and looked through once, so that a malformed request is refused before it is authorised. */
function parse(name: string, request: SignedRequest): Input {
  try {
    const input: unknown = JSON.parse(Buffer.from(request.body).toString("utf8"));
    if (typeof input !== "object" || input === null || Array.isArray(input)) throw new TypeError("not an object");
    const touch = Object.hasOwn(touches, name) ? touches[name] : undefined;
    touch?.(input as Input);
    return input as Input;
  } catch {
    throw new Refusal("SerializationException", "The request is not a well-formed DynamoDB request.", 400);
  }
}

function needed(input: Input, call: Call, touched: readonly Touch[]): readonly Need[] {
  if (touched.length === 0) throw new Refusal("ValidationError", "The request names no table.", 400);
  const text = (name: string) => (typeof input[name] === "string" ? input[name] : undefined);
  const shared: Context = { "dynamodb:Select": text("Select"), "dynamodb:ReturnValues": text("ReturnValues") };
  return touched.map(({ action, table, index, keys }) => ({
    action: `dynamodb:${action}`,
    resource: tableArn(table, call) + (index === undefined ? "" : `/index/${index}`),
    context: { ...shared, "dynamodb:LeadingKeys": keys },
  }));
}

/** A table with another partition key would be judged by an attribute that is not its key. */
function requireKey(input: Input): void {
  const schema = Array.isArray(input["KeySchema"]) ? (input["KeySchema"] as readonly unknown[]) : [];
  const hashes = schema
    .map((key) => key as { AttributeName?: unknown; KeyType?: unknown } | null)
    .filter((key) => key?.KeyType === "HASH");
  if (hashes.length !== 1 || hashes[0]?.AttributeName !== partitionKey) {
    throw new Refusal(
      "ValidationError",
      `The laptop account's tables have the partition key ${partitionKey}, of type S.`,
      400,
    );
  }
}

/** TableName may be a whole ARN. */
const tableArn = (table: string, { region, accountId }: Call): string =>
  table.startsWith("arn:") ? table : `arn:aws:dynamodb:${region}:${accountId}:table/${table}`;

function forward(server: Dynoxide, agent: Agent, name: string, input: Input): Promise<Reply> {
  const body = JSON.stringify(input);
  const headers = {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
    "x-amz-target": `${target}.${name}`,
    // The server wants the shape of a signature and does not look at it; the real one stays here.
    authorization:
      "AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
    "x-amz-date": "20260101T000000Z",
  };
  return new Promise((resolve, reject) => {
    const outgoing = send(
      { host: server.host, port: server.port, method: "POST", path: "/", headers, agent },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("error", reject);
        answer.on("end", () => {
          const passed = ["content-type", "x-amz-crc32"].flatMap((header) => {
            const value = answer.headers[header];
            return typeof value === "string" ? [[header, value] as const] : [];
          });
          resolve({
            status: answer.statusCode ?? 500,
            headers: Object.fromEntries(passed),
            body: Buffer.concat(chunks),
          });
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
