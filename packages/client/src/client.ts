// The API as typed calls: `client.call("connect", {...})` takes and gives what the route table says. Answers are checked
// against it, redirects are not followed (the login token goes to one server only), and every way it can fail is a Failure.
import { ErrorAnswer, type Input, type Output, type RouteName, routes } from "@sallyport/core/api";
import { Failure, type FailureCode, type FailureParts, failureCodes } from "@sallyport/core/failure";
import { describeIssues } from "@sallyport/core/issue";
import type { Secret } from "@sallyport/core/secret";
import { checkServer, makeRequest } from "./request.ts";

export interface ClientOptions {
  /** The server's address, https:// (http:// only on loopback). */
  readonly api: string;
  /** A session token; without one only public routes answer. */
  readonly token?: Secret;
  readonly fetch?: typeof fetch;
  /** How long one call may take. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface Client {
  /** @throws Failure: the API's own, or `unavailable`, `timeout`, `internal` when there was no proper answer */
  call<R extends RouteName>(route: R, input: Input<R>): Promise<Output<R>>;
}

const defaultTimeoutMs = 30_000;
/** More than API Gateway can send. */
const maxAnswer = 16 << 20;

const isCode = (code: string): code is FailureCode => failureCodes.some((known) => known === code);

/** What an answer that is not ours most likely means; everything else is `unavailable`. */
const foreign: Readonly<Record<number, FailureCode>> = { 401: "not_logged_in", 404: "not_found", 429: "too_many" };

const toFailure = (api: string, status: number, body: unknown): Failure => {
  const parsed = ErrorAnswer.safeParse(body);
  if (!parsed.success)
    return new Failure(foreign[status] ?? "unavailable", `${api} answered ${status} without a reason`, {
      hint: status >= 500 ? "try again in a moment" : "is this the address of a Sallyport server?",
    });
  const { code, message, hint, details, id } = parsed.data.error;
  const parts: FailureParts = {
    details: { ...details, id },
    // without a hint of its own the id is what an administrator needs
    ...(hint === undefined ? (code === "internal" ? { hint: `tell an administrator this id: ${id}` } : {}) : { hint }),
  };
  return new Failure(isCode(code) ? code : "internal", message, parts);
};

const readBody = async (response: Response): Promise<unknown> => {
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (response.body)
    for await (const chunk of response.body) {
      size += chunk.byteLength;
      if (size > maxAnswer) throw new Failure("too_large", "the answer is larger than any answer of this API");
      chunks.push(chunk);
    }
  const text = new TextDecoder().decode(Buffer.concat(chunks));
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** Why fetch rejected; the reason sits in a cause, sometimes one of several. */
const causeOf = (thrown: unknown): string => {
  for (let at = thrown; at instanceof Error; at = at.cause) {
    const [first] = at instanceof AggregateError ? at.errors : [];
    const code: unknown = Reflect.get(first ?? at, "code");
    if (typeof code === "string") return code;
  }
  return thrown instanceof Error ? thrown.message : String(thrown);
};

export const openClient = (options: ClientOptions): Client => {
  const api = checkServer(options.api);
  const send = options.fetch ?? fetch;
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;

  const exchange = async (name: RouteName, request: ReturnType<typeof makeRequest>) => {
    const expired = AbortSignal.timeout(timeoutMs);
    const signal = options.signal ? AbortSignal.any([options.signal, expired]) : expired;
    try {
      const response = await send(request.url, {
        method: request.method,
        redirect: "error",
        signal,
        headers: {
          accept: "application/json",
          ...(request.body === undefined ? {} : { "content-type": "application/json" }),
          ...(options.token && routes[name].access !== "public"
            ? { authorization: `Bearer ${options.token.reveal()}` }
            : {}),
        },
        ...(request.body === undefined ? {} : { body: request.body }),
      });
      return { ok: response.ok, status: response.status, body: await readBody(response) };
    } catch (thrown) {
      if (thrown instanceof Failure) throw thrown;
      if (options.signal?.aborted) throw new Failure("ended", "interrupted", { cause: thrown });
      if (expired.aborted)
        throw new Failure("timeout", `${api} did not answer within ${timeoutMs / 1000} s`, {
          hint: "try again, or check the network",
          cause: thrown,
        });
      throw new Failure("unavailable", `can't reach ${api} (${causeOf(thrown)})`, {
        hint: "check the address and the network",
        cause: thrown,
      });
    }
  };

  return {
    call: async <R extends RouteName>(name: R, input: Input<R>): Promise<Output<R>> => {
      const { ok, status, body } = await exchange(name, makeRequest(api, name, input));
      if (!ok) throw toFailure(api, status, body);
      const output = routes[name].output.safeParse(body);
      if (!output.success)
        throw new Failure("unavailable", `${api} answered something else than expected`, {
          hint: "is it a Sallyport server of this version?",
          cause: describeIssues(output.error.issues),
        });
      // the schema just parsed is this route's own: the compiler can't follow the lookup by a type parameter
      return output.data as Output<R>;
    },
  };
};
