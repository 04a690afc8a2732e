// From an API Gateway event (payload format 2.0) to a route's input: path parameters, then a query (GET, DELETE) or a JSON
// body (POST, PUT). Whatever could be read in two ways is refused: a body of another type, a name given twice, keys that
// mean something to JavaScript. Method overrides and X-Forwarded headers are never looked at.
import { Buffer } from "node:buffer";
import { Failure } from "@sallyport/core/failure";
import * as z from "zod";

export const HttpEvent = z.object({
  version: z.literal("2.0"),
  rawQueryString: z.string().default(""),
  headers: z.record(z.string(), z.string().optional()).default({}),
  requestContext: z.object({
    requestId: z.string().default(""),
    http: z.object({ method: z.string(), path: z.string().startsWith("/"), sourceIp: z.string() }),
  }),
  body: z.string().nullish(),
  isBase64Encoded: z.boolean().default(false),
});
export type HttpEvent = z.infer<typeof HttpEvent>;

const bodyLimit = 64 * 1024;
const mostDepth = 32;
const refused = new Set(["__proto__", "constructor", "prototype"]);
const invalid = (message: string, hint?: string): Failure =>
  new Failure("invalid", message, hint === undefined ? {} : { hint });

/** A header's value; API Gateway joins repeated ones with commas. @throws Failure `invalid` when it is there in two spellings */
export const headerOf = ({ headers }: HttpEvent, name: string): string | undefined => {
  const found = Object.entries(headers).filter(([key, value]) => key.toLowerCase() === name && value !== undefined);
  if (found.length > 1) throw invalid(`header ${name} is given twice`);
  return found[0]?.[1];
};

const checkKeys = (value: unknown, depth: number): void => {
  if (typeof value !== "object" || value === null) return;
  if (depth > mostDepth) throw invalid(`the body is nested deeper than ${mostDepth} levels`);
  for (const [key, member] of Object.entries(value)) {
    if (refused.has(key)) throw invalid(`${key} is no name of anything here`);
    checkKeys(member, depth + 1);
  }
};

const readText = ({ body, isBase64Encoded }: HttpEvent): string => {
  const bytes = Buffer.from(body ?? "", isBase64Encoded ? "base64" : "utf8");
  if (bytes.length > bodyLimit)
    throw new Failure("too_large", `a body has at most ${bodyLimit} bytes`, { hint: "split the document" });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw invalid("the body is not UTF-8");
  }
};

const readBody = (event: HttpEvent): Readonly<Record<string, unknown>> => {
  const text = readText(event);
  if (text === "") return {};
  const type = headerOf(event, "content-type") ?? "";
  if (!/^application\/json(?:\s*;\s*charset="?utf-8"?)?$/i.test(type.trim()))
    throw invalid("the body's type is not application/json", "send content-type: application/json");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // the parser's own message quotes the body
    throw invalid("the body is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("the body is not an object");
  checkKeys(value, 1);
  return { ...value };
};

const readQuery = (event: HttpEvent): Readonly<Record<string, unknown>> => {
  const pairs = [...new URLSearchParams(event.rawQueryString)];
  const names = new Set(pairs.map(([name]) => name));
  if (names.size < pairs.length) throw invalid("a query parameter is given twice");
  if (pairs.some(([name]) => refused.has(name))) throw invalid("the query has a name of nothing here");
  return Object.fromEntries(pairs);
};

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid("the path is not properly encoded");
  }
};

/** The input of a route, checked. @throws Failure `invalid`, `too_large` */
export const readInput = (
  event: HttpEvent,
  route: { readonly method: string; readonly input: z.ZodType },
  params: Readonly<Record<string, string>>,
): unknown => {
  const path = Object.fromEntries(Object.entries(params).map(([name, value]) => [name, decode(value)]));
  const inBody = route.method === "POST" || route.method === "PUT";
  if (inBody && event.rawQueryString !== "") throw invalid("this route takes no query");
  if (!inBody && (event.body ?? "") !== "") throw invalid("this route takes no body");
  const rest = inBody ? readBody(event) : readQuery(event);
  const twice = Object.keys(path).find((name) => Object.hasOwn(rest, name));
  if (twice !== undefined) throw invalid(`${twice} is in the path already`);
  const parsed = route.input.safeParse({ ...rest, ...path });
  if (parsed.success) return parsed.data;
  throw invalid(
    parsed.error.issues
      .slice(0, 5)
      .map(({ path: at, message }) => (at.length > 0 ? `${at.map(String).join(".")}: ${message}` : message))
      .join("; "),
  );
};
