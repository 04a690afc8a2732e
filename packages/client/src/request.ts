// A call of the route table as an HTTP request: path parameters escaped, the rest in the query (GET, DELETE) or as JSON.
// The input is checked here too, so that a mistake is told before anything leaves this machine.
import { type Input, type RouteName, routes } from "@sallyport/core/api";
import { Failure } from "@sallyport/core/failure";
import { describeIssues } from "@sallyport/core/issue";

export interface Request {
  readonly method: string;
  readonly url: string;
  readonly body: string | undefined;
}

/** The API's address without a slash at its end. @throws Failure `invalid` for anything that would carry a password in clear over a network */
export const checkServer = (text: string): string => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:"))
    throw new Failure("invalid", `${JSON.stringify(text)} is not the address of a server`, {
      hint: "give it as https://host",
    });
  if (url.username || url.password || url.search || url.hash)
    throw new Failure("invalid", "a server address has no user, query or fragment", {
      hint: "give it as https://host",
    });
  const loopback = ["localhost", "[::1]"].includes(url.hostname) || /^127(\.\d+){3}$/.test(url.hostname);
  if (url.protocol === "http:" && !loopback)
    throw new Failure("invalid", `${url.origin} would carry passwords unencrypted`, { hint: "use https://" });
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
};

/** @throws Failure `invalid` naming the member that is wrong */
export const makeRequest = <R extends RouteName>(api: string, name: R, input: Input<R>): Request => {
  const route = routes[name];
  const checked = route.input.safeParse(input);
  if (!checked.success) throw new Failure("invalid", describeIssues(checked.error.issues));
  const rest: Record<string, unknown> = { ...input };
  const path = route.path.replace(/\{(\w+)\}/g, (_, key: string) => {
    const value = String(rest[key]);
    delete rest[key];
    return encodeURIComponent(value);
  });
  if (route.method === "POST" || route.method === "PUT")
    return { method: route.method, url: `${api}${path}`, body: JSON.stringify(rest) };
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(rest)) if (value !== undefined) query.set(key, String(value));
  return { method: route.method, url: `${api}${path}${query.size > 0 ? `?${query}` : ""}`, body: undefined };
};
