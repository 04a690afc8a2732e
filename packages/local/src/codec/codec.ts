// What every protocol offers the endpoint: recognise a request, decode it, word the answer or the refusal.
import type { Refusal } from "../refusal.ts";
import type { SignedRequest } from "../signature.ts";

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

export interface Codec {
  /** The operation this request names, or undefined when the request is not for this service. Looks at nothing that costs. */
  operation(request: SignedRequest): string | undefined;
  /** The operation's input, or a promise of it. Throws a Refusal for what does not fit the operation's model. */
  decode(operation: string, request: SignedRequest): unknown;
  encode(operation: string, output: unknown, requestId: string): Reply;
  refuse(refusal: Refusal, requestId: string): Reply;
}

export const header = (request: SignedRequest, name: string): string => request.headers[name]?.[0] ?? "";
