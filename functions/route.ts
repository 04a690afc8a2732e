// What a route's verb is given and gives, from the contract in core/api.ts: input that has been checked, a caller where the
// route wants one, and the world.
import type { Output, RouteName, routes } from "@sallyport/core/api";
import type { Caller } from "@sallyport/core/login";
import type * as z from "zod";
import type { World } from "./compose.ts";

export interface Call {
  readonly world: World;
  /** The address that API Gateway saw; no header is asked. */
  readonly from: string;
}
export interface CallerCall extends Call {
  readonly caller: Caller;
}
type CallOf<R extends RouteName> = (typeof routes)[R]["access"] extends "public" ? Call : CallerCall;
export type Verb<R extends RouteName> = (
  call: CallOf<R>,
  input: z.output<(typeof routes)[R]["input"]>,
) => Promise<Output<R>>;
export type Verbs<R extends RouteName = RouteName> = { readonly [K in R]: Verb<K> };
