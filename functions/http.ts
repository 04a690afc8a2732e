// The HTTP edge, and the one file that knows middy: routes of the contract to their verbs, who may call them, failures to
// status codes. An error goes out with a correlation id; what is behind it stays in the log.
import { randomUUID } from "node:crypto";
import middy from "@middy/core";
import httpRouter from "@middy/http-router";
import { type RouteName, routes } from "@sallyport/core/api";
import { Failure, type FailureCode, toFailure } from "@sallyport/core/failure";
import { authenticate } from "@sallyport/core/login";
import type { World } from "./compose.ts";
import { HttpEvent, headerOf, readInput } from "./input.ts";
import { describeFailure, type Log } from "./log.ts";
import type { Call, Verbs } from "./route.ts";

const statuses = {
  invalid: 400,
  too_large: 413,
  not_logged_in: 401,
  bad_token: 401,
  denied: 403,
  not_found: 404,
  conflict: 409,
  too_many: 429,
  tls_required: 426,
  protocol: 400,
  unsupported: 422,
  timeout: 504,
  starting: 503,
  draining: 503,
  ended: 410,
  audit_full: 503,
  unavailable: 503,
  upstream_unreachable: 502,
  upstream_untrusted: 502,
  upstream_refused: 502,
  internal: 500,
} as const satisfies Record<FailureCode, number>;

/** On every answer: nothing here is a page, may be framed, sniffed or kept. */
const securityHeaders = {
  "content-type": "application/json; charset=utf-8",
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "strict-transport-security": "max-age=63072000; includeSubDomains",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
} as const;

export interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}
/** What the Lambda runtime calls. */
export type HttpFunction = (event: unknown, context: unknown) => Promise<HttpAnswer>;
/** A request that was found to be one, with its path parameters. */
type Routed = HttpEvent & { readonly pathParameters?: Readonly<Record<string, string>> };

const correlationOf = (event: unknown): string => {
  const id = HttpEvent.safeParse(event).data?.requestContext.requestId ?? "";
  return /^[\w=.-]{1,128}$/.test(id) ? id : randomUUID();
};

const answerOf = (statusCode: number, id: string, body: unknown, headers: Record<string, string> = {}): HttpAnswer => ({
  statusCode,
  headers: { ...securityHeaders, ...headers, "x-correlation-id": id },
  body: JSON.stringify(body),
});

const wordFailure = (failure: Failure, id: string): HttpAnswer => {
  const { code, message, hint, details } = failure;
  const retryAfter = details?.["retryAfter"];
  return answerOf(
    statuses[code],
    id,
    { error: { code, message, ...(hint === undefined ? {} : { hint }), ...(details ? { details } : {}), id } },
    {
      ...(typeof retryAfter === "number" ? { "retry-after": String(retryAfter) } : {}),
      ...(statuses[code] === 401 ? { "www-authenticate": "Bearer" } : {}),
    },
  );
};

/** Ours stay as they are; middy's early timeout is one of ours too. */
const readThrown = (thrown: unknown): Failure =>
  thrown instanceof Error && thrown.name === "TimeoutError" && !(thrown instanceof Failure)
    ? new Failure("timeout", "this took longer than a request may", { hint: "try again", cause: thrown })
    : toFailure(thrown);

/** Who calls, where the route wants to know. @throws Failure `not_logged_in`, `denied` */
const admitCaller = async (world: World, name: RouteName, event: HttpEvent): Promise<object> => {
  const { access } = routes[name];
  if (access === "public") return {};
  const presented = /^Bearer ([\w-]{1,256})$/i.exec(headerOf(event, "authorization") ?? "")?.[1] ?? "";
  const caller = await authenticate(world, presented);
  if (access === "admin" && !caller.admin)
    throw new Failure("denied", "only administrators may do this", { hint: "ask one of them" });
  return { caller };
};

type AnyVerb = (call: Call, input: unknown) => Promise<unknown>;

const serveRoute = async (
  world: World,
  verbs: Verbs,
  log: Log,
  name: RouteName,
  event: Routed,
): Promise<HttpAnswer> => {
  const id = correlationOf(event);
  const startedAt = world.clock.now();
  const facts = (status: number) => ({ route: name, status, id, lastedFor: world.clock.now() - startedAt });
  try {
    const call = { world, from: event.requestContext.http.sourceIp, ...(await admitCaller(world, name, event)) };
    const input = readInput(event, routes[name], event.pathParameters ?? {});
    // the input has just passed this route's own schema and the caller its own check, which the lookup by name hides
    const output = await (verbs[name] as AnyVerb)(call, input);
    log.info("request", facts(200));
    return answerOf(200, id, routes[name].output.parse(output));
  } catch (thrown) {
    const failure = readThrown(thrown);
    const status = statuses[failure.code];
    const line = { ...facts(status), ...describeFailure(failure) };
    if (status >= 500) log.error("request failed", line);
    // what was refused may quote its input: the code is enough
    else log.info("request", { ...facts(status), code: failure.code });
    return wordFailure(failure, id);
  }
};

/** The API as a Lambda handler. */
export const serve = (world: World, verbs: Verbs, log: Log): HttpFunction => {
  const names = Object.keys(routes) as RouteName[];
  const router = httpRouter({
    routes: names.map((name) => ({
      method: routes[name].method,
      path: routes[name].path,
      handler: (event: unknown) => serveRoute(world, verbs, log, name, event as Routed),
    })),
    notFoundResponse: () => {
      throw new Failure("not_found", "there is nothing here", { hint: "is this client as old as its server?" });
    },
  });
  const handler = middy<unknown, HttpAnswer>(router as never, { timeoutEarlyInMillis: 500 })
    .before((request) => {
      const parsed = HttpEvent.safeParse(request.event);
      if (!parsed.success) throw new Failure("invalid", "this is not a request of an HTTP API");
      // what was not looked at does not go on
      request.event = parsed.data;
    })
    .onError((request) => {
      const failure = readThrown(request.error);
      const id = correlationOf(request.event);
      const status = statuses[failure.code];
      if (status >= 500) log.error("request failed", { status, id, ...describeFailure(failure) });
      request.response = wordFailure(failure, id);
    });
  return handler as unknown as HttpFunction;
};
