// One HTTP server for every service of every account, reached by AWS_ENDPOINT_URL. Each request walks the same way:
// route → signature → authorisation → faults → work → answer. Rule: nothing of a request is decoded before its signature holds.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Account, accountOf, keysOf } from "./account.ts";
import { type Api, type Call, notAuthorized, type Operation } from "./api.ts";
import { collect } from "./body.ts";
import type { Reply } from "./codec/codec.ts";
import { type Faults, openFaults } from "./fault.ts";
import type { Need } from "./iam.ts";
import { Refusal, refusalOf } from "./refusal.ts";
import { type Signed, type SignedRequest, verifyRequest } from "./signature.ts";

/** One call, as CloudTrail would tell it. Never an argument, an answer or a secret. */
export interface CallRecord {
  readonly at: number;
  readonly requestId: string;
  readonly service: string;
  readonly operation: string;
  readonly region?: string;
  /** Who; absent while the signature has not been verified. */
  readonly arn?: string;
  readonly accessKeyId?: string;
  /** What it was allowed to do it by. */
  readonly actions?: readonly string[];
  readonly error?: string;
}

export interface Endpoint {
  readonly url: string;
  readonly fault: Faults;
  /** The newest calls, oldest first. */
  calls(): readonly CallRecord[];
  close(): Promise<void>;
}

const bodyLimit = 16 * 1024 * 1024;
const recordLimit = 10_000;

type Seen = { -readonly [Field in keyof CallRecord]: CallRecord[Field] };
interface Answer extends Reply {
  readonly drop?: boolean;
}

export async function openEndpoint(options: {
  readonly accounts: readonly Account[];
  readonly services: readonly Api[];
  readonly now?: () => number;
  readonly port?: number;
}): Promise<Endpoint> {
  const { accounts, services, now = Date.now, port = 0 } = options;
  const credentials = keysOf(accounts);
  const { fault, strike } = openFaults(now);
  const records: CallRecord[] = [];

  function authorise(signed: Signed, operation: Operation<unknown>, input: unknown, call: Call): readonly string[] {
    const { identity } = signed;
    const account = accounts.find(({ id }) => id === identity.accountId);
    const context = { "aws:RequestedRegion": call.region };
    const needs = operation.needs(input, call);
    for (const need of needs) {
      if (!need.trusted && accountOf(need.resource, identity.accountId) !== identity.accountId) {
        throw notAuthorized(identity, need, ` because no resource-based policy allows the ${need.action} action`);
      }
      const whole: Need = { ...need, context: { ...context, ...need.context } };
      if (!account?.permits(identity, whole)) {
        throw notAuthorized(identity, need, ` because no identity-based policy allows the ${need.action} action`);
      }
    }
    return needs.map((need) => need.action);
  }

  async function answer(request: SignedRequest, seen: Seen): Promise<Answer> {
    const [api, name] = route(services, request);
    if (!api) return unrouted(seen);
    [seen.service, seen.operation] = [api.name, name];
    try {
      const signed = verifyRequest({ request, service: api.name, credentials, now: now() });
      [seen.arn, seen.accessKeyId, seen.region] = [signed.arn, signed.accessKeyId, signed.region];
      const operation = api.operations.get(name);
      if (!operation) throw new Refusal("InvalidAction", `The action ${name} is not valid for this endpoint.`, 400);
      const { identity, region } = signed;
      const call: Call = { identity, accountId: identity.accountId, region, at: now(), requestId: seen.requestId };
      const input = await api.codec.decode(name, request);
      seen.actions = authorise(signed, operation, input, call);
      const { drop, fail } = await strike(api, name, `${call.accountId}/${region}`);
      const output = await operation.run(input, call);
      if (fail) throw fail;
      return { ...api.codec.encode(name, output, seen.requestId), drop };
    } catch (thrown) {
      const refusal = refusalOf(thrown);
      seen.error = refusal.code;
      // Our own mistakes must not hide behind a polite answer.
      if (refusal !== thrown) process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
      return api.codec.refuse(refusal, seen.requestId);
    }
  }

  const server = createServer((incoming, response) => {
    const seen: Seen = { at: now(), requestId: randomUUID(), service: "unknown", operation: "unknown" };
    const finish = async () => {
      const body = await collect(incoming, bodyLimit);
      const reply = body ? await answer(requestOf(incoming, body), seen) : tooLarge(seen);
      records.push(seen);
      if (records.length > recordLimit) records.shift();
      send(response, reply, seen.requestId, now());
    };
    finish().catch(() => incoming.destroy());
  });
  // Longer than any pause of a client that would reuse the connection just as we close it.
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  const { port: listening } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${listening}`,
    fault,
    calls: () => [...records],
    async close() {
      fault.clear();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function route(services: readonly Api[], request: SignedRequest): readonly [Api | undefined, string] {
  for (const api of services) {
    const name = api.codec.operation(request);
    if (name !== undefined) return [api, name];
  }
  return [undefined, "unknown"];
}

const requestOf = (incoming: IncomingMessage, body: Uint8Array): SignedRequest => ({
  method: incoming.method ?? "",
  target: incoming.url ?? "",
  headers: incoming.headersDistinct,
  body,
});

function send(response: ServerResponse, reply: Answer, requestId: string, at: number): void {
  if (reply.drop) {
    response.destroy();
    return;
  }
  // The account's own time: SDK clients follow it when they sign, so a test may move the clock.
  const headers = { ...reply.headers, "x-amzn-requestid": requestId, date: new Date(at).toUTCString() };
  response.writeHead(reply.status, headers);
  response.end(reply.body);
}

const plain = (status: number, seen: Seen, code: string, message: string): Answer => {
  seen.error = code;
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify({ __type: code, message }) };
};
const tooLarge = (seen: Seen): Answer => {
  const answer = plain(413, seen, "RequestEntityTooLarge", "The request is too large.");
  return { ...answer, headers: { ...answer.headers, connection: "close" } };
};
const unrouted = (seen: Seen): Answer =>
  plain(404, seen, "UnknownService", "No service of the laptop account answers this request.");
