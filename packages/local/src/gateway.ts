// API Gateway's HTTP API in front of one Lambda function: real HTTP in, a payload-format-2.0 event to the function, its answer
// out. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { collect } from "./body.ts";

export interface Gateway {
  readonly url: string;
  close(): Promise<void>;
}

/** What a function may answer: this, or anything else, which is then the JSON body of a 200. */
interface Structured {
  readonly statusCode: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cookies?: readonly string[];
  readonly body?: string;
  readonly isBase64Encoded?: boolean;
}

/** API Gateway's own limit is 10 MB. */
const bodyLimit = 10 * 1024 * 1024;
const isText = (type: string): boolean =>
  /^(text\/|application\/(json|xml|x-www-form-urlencoded|javascript))/.test(type);

/** Values of one name joined by commas, as the gateway does with headers and query parameters alike. */
const joined = (pairs: Iterable<readonly [string, string]>): Record<string, string> => {
  const out = new Map<string, string>();
  for (const [name, value] of pairs) out.set(name, out.has(name) ? `${out.get(name)},${value}` : value);
  return Object.fromEntries(out);
};

const eventOf = (incoming: IncomingMessage, body: Buffer, at: number, requestId: string) => {
  const url = new URL(incoming.url ?? "/", "http://gateway");
  const { cookie, ...headers } = incoming.headersDistinct;
  const binary = body.length > 0 && !isText(incoming.headers["content-type"] ?? "");
  const method = incoming.method ?? "GET";
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: url.pathname,
    rawQueryString: url.search.slice(1),
    ...(cookie && { cookies: cookie.join("; ").split("; ") }),
    headers: joined(
      Object.entries(headers).flatMap(([name, values]) => (values ?? []).map((value) => [name, value] as const)),
    ),
    ...(url.search && { queryStringParameters: joined(url.searchParams) }),
    requestContext: {
      accountId: "111122223333",
      apiId: "laptop",
      domainName: incoming.headers.host ?? "laptop",
      domainPrefix: "laptop",
      http: {
        method,
        path: url.pathname,
        protocol: "HTTP/1.1",
        sourceIp: incoming.socket.remoteAddress ?? "",
        userAgent: incoming.headers["user-agent"] ?? "",
      },
      requestId,
      routeKey: "$default",
      stage: "$default",
      time: new Date(at).toUTCString(),
      timeEpoch: at,
    },
    ...(body.length > 0 && { body: body.toString(binary ? "base64" : "utf8") }),
    isBase64Encoded: binary,
  };
};

const isStructured = (answer: unknown): answer is Structured =>
  typeof answer === "object" && answer !== null && "statusCode" in answer;

/** Serves on loopback until closed. `invoke` runs the function; what it throws is a 500 without a word of why, as on AWS. */
export const openGateway = async (options: {
  readonly invoke: (event: unknown, requestId: string) => Promise<unknown>;
  readonly port?: number;
  readonly now?: () => number;
}): Promise<Gateway> => {
  const { invoke, port = 0, now = Date.now } = options;
  const server = createServer((incoming, response) => {
    const requestId = randomUUID();
    const send = (
      status: number,
      headers: Readonly<Record<string, string | string[]>>,
      body: string | Buffer,
    ): void => {
      response.writeHead(status, { "apigw-requestid": requestId, ...headers }).end(body);
    };
    const serve = async (): Promise<void> => {
      const body = await collect(incoming, bodyLimit);
      if (!body)
        return send(
          413,
          { connection: "close", "content-type": "application/json" },
          '{"message":"Request Entity Too Large"}',
        );
      const answer = await invoke(eventOf(incoming, body, now(), requestId), requestId);
      if (!isStructured(answer))
        return send(200, { "content-type": "application/json" }, JSON.stringify(answer ?? null));
      const content = Buffer.from(answer.body ?? "", answer.isBase64Encoded ? "base64" : "utf8");
      send(
        answer.statusCode,
        { ...answer.headers, ...(answer.cookies?.length && { "set-cookie": [...answer.cookies] }) },
        content,
      );
    };
    serve().catch(() => send(500, { "content-type": "application/json" }, '{"message":"Internal Server Error"}'));
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
};
