// An API that answers from the route table: input and output are checked by the contract's own schemas, what it says is canned.
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { type Input, type Output, type RouteName, routes } from "@sallyport/core/api";
import { Failure, toFailure } from "@sallyport/core/failure";

interface Call {
  readonly route: RouteName;
  readonly input: unknown;
  readonly token: string | undefined;
}
export type Answers = {
  [R in RouteName]?: (input: Input<R>, token: string | undefined) => Output<R> | Promise<Output<R>>;
};

export interface Api {
  readonly url: string;
  /** What is answered; a test may change it as it goes. */
  readonly answers: Answers;
  readonly calls: readonly Call[];
  close(): Promise<void>;
}

const statuses: Readonly<Record<string, number>> = { not_logged_in: 401, denied: 403, not_found: 404, conflict: 409 };

const bodyOf = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text === "" ? {} : JSON.parse(text);
};

const find = (method: string | undefined, path: string): { name: RouteName; parameters: Record<string, string> } => {
  for (const [name, route] of Object.entries(routes)) {
    const pattern = new RegExp(`^${route.path.replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`);
    const found = method === route.method ? pattern.exec(path) : undefined;
    if (found) {
      const groups = Object.entries(found.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]);
      return { name: name as RouteName, parameters: Object.fromEntries(groups) };
    }
  }
  throw new Failure("not_found", `no route ${method} ${path}`);
};

export const serveApi = async (answers: Answers): Promise<Api> => {
  const calls: Call[] = [];
  const answer = async (request: IncomingMessage): Promise<unknown> => {
    const url = new URL(request.url ?? "/", "http://x");
    const { name, parameters } = find(request.method, url.pathname);
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const input = { ...(await bodyOf(request)), ...Object.fromEntries(url.searchParams), ...parameters };
    calls.push({ route: name, input, token });
    if (routes[name].access !== "public" && token === undefined) throw new Failure("not_logged_in", "no token");
    const checked = routes[name].input.safeParse(input);
    if (!checked.success) throw new Failure("invalid", checked.error.message);
    const say = answers[name] as ((input: unknown, token: string | undefined) => unknown) | undefined;
    if (!say) throw new Failure("unsupported", `the test has no answer for ${name}`);
    return routes[name].output.parse(await say(input, token));
  };
  const server = createServer((request, response) => {
    answer(request).then(
      (output) => response.setHeader("content-type", "application/json").end(JSON.stringify(output)),
      (thrown: unknown) => {
        const { code, message, hint } = toFailure(thrown);
        response.writeHead(statuses[code] ?? 400, { "content-type": "application/json" });
        response.end(JSON.stringify({ error: { code, message, ...(hint ? { hint } : {}), id: "id-1" } }));
      },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answers,
    calls,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
