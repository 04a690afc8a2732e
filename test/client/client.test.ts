// The typed client against a real HTTP server: what it sends, what it makes of every kind of answer.
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { type Client, openClient } from "@sallyport/client/client";
import { checkServer, makeRequest } from "@sallyport/client/request";
import { Failure, toFailure } from "@sallyport/core/failure";
import { secret } from "@sallyport/core/secret";
import { afterEach, describe, expect, it } from "vitest";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const serve = async (listener: RequestListener): Promise<string> => {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const failureOf = async (work: Promise<unknown>): Promise<Failure> => {
  const thrown = await work.then(
    () => expect.unreachable("it succeeded"),
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(Failure);
  return toFailure(thrown);
};

const me = { user: "ana", roles: [], traits: {}, expiresAt: 1, admin: false };
const token = secret("sly_s_canary");
const answering = (status: number, body: string, headers = {}): Promise<string> =>
  serve((_, response) => response.writeHead(status, headers).end(body));
const open = async (url: Promise<string>, over: Partial<Parameters<typeof openClient>[0]> = {}): Promise<Client> =>
  openClient({ api: await url, token, ...over });

describe("a request", () => {
  it("puts path parameters escaped into the path and the rest into the body", () => {
    const document = { kind: "role", version: "v7", metadata: { name: "a" }, spec: {} } as const;
    expect(makeRequest("https://x", "putResource", { kind: "role", name: "a+b@c", document })).toEqual({
      method: "PUT",
      url: "https://x/v1/resources/role/a%2Bb%40c",
      body: JSON.stringify({ document }),
    });
  });
  it("has no body on GET and an empty object on a POST without input", () => {
    expect(makeRequest("https://x/stage", "status", {})).toEqual({
      method: "GET",
      url: "https://x/stage/v1/status",
      body: undefined,
    });
    expect(makeRequest("https://x", "logout", {}).body).toBe("{}");
  });
  it("is refused before it is sent when the contract does not allow it", () => {
    expect(() => makeRequest("https://x", "revoke", { id: "../users" })).toThrow(/^id: /);
    expect(() => makeRequest("https://x", "reset", { user: "a/b" })).toThrow(/^user: /);
  });
});

describe("a server's address", () => {
  it.each([
    "https://sally.example.com",
    "https://x/stage",
    "http://127.0.0.1:80",
    "http://localhost:1",
    "http://[::1]:1",
  ])("may be %s", (url) => expect(checkServer(`${url}/`)).toBe(checkServer(url)));
  it.each([
    "http://sally.example.com",
    "http://127.0.0.1.evil.com",
    "http://localhost.evil.com",
    "ftp://x",
    "x",
    "",
    "https://a:b@x",
    "https://x/?q",
    "https://x/#f",
  ])("may not be %j", (url) => expect(() => checkServer(url)).toThrow(Failure));
});

describe("a call", () => {
  it("answers what the route says and sends the login's token", async () => {
    let seen: IncomingMessage["headers"] = {};
    const url = serve((request, response) => {
      seen = request.headers;
      response.end(JSON.stringify(me));
    });
    expect(await (await open(url)).call("status", {})).toEqual(me);
    expect(seen.authorization).toBe("Bearer sly_s_canary");
  });
  it("sends no token to a public route", async () => {
    let seen: IncomingMessage["headers"] = {};
    const url = serve((request, response) => {
      seen = request.headers;
      response.end(JSON.stringify({ token: "t", expiresAt: 1, user: "ana", roles: [] }));
    });
    await (await open(url)).call("login", { user: "ana", password: "x" });
    expect(seen.authorization).toBeUndefined();
    expect(seen["content-type"]).toBe("application/json");
  });
  it("fails with the API's own code, message and hint", async () => {
    const error = { code: "denied", message: "no", hint: "ask", details: { role: "r" }, id: "i-1" };
    const failure = await failureOf((await open(answering(403, JSON.stringify({ error })))).call("status", {}));
    expect(failure).toMatchObject({ code: "denied", message: "no", hint: "ask", details: { role: "r", id: "i-1" } });
  });
  it("makes a code it does not know internal, and gives the id to ask about", async () => {
    const body = (code: string) => JSON.stringify({ error: { code, message: "no", id: "i-1" } });
    expect((await failureOf((await open(answering(400, body("newer")))).call("status", {}))).code).toBe("internal");
    const failure = await failureOf((await open(answering(500, body("internal")))).call("status", {}));
    expect(failure.hint).toContain("i-1");
  });
  it.each([
    [502, "<html>", "unavailable"],
    [403, '{"message":"Forbidden"}', "unavailable"],
    [401, "", "not_logged_in"],
    [429, "{}", "too_many"],
    [404, "nothing here", "not_found"],
    [200, "<html>", "unavailable"],
    [200, '{"user":"ana"}', "unavailable"],
  ] as const)("makes a foreign answer %i %j %s", async (status, body, code) => {
    const failure = await failureOf((await open(answering(status, body))).call("status", {}));
    expect(failure.code).toBe(code);
    expect(failure.hint).toBeTruthy();
  });
  it("is unavailable, with a hint, when nobody listens", async () => {
    const url = await answering(200, "");
    await closing.pop()?.();
    const failure = await failureOf(openClient({ api: url }).call("status", {}));
    expect(failure).toMatchObject({ code: "unavailable", hint: expect.stringContaining("network") });
    expect(failure.message).toContain("ECONNREFUSED");
  });
  it("times out on a server that does not answer", async () => {
    const failure = await failureOf(
      (
        await open(
          serve(() => {}),
          { timeoutMs: 50 },
        )
      ).call("status", {}),
    );
    expect(failure.code).toBe("timeout");
  });
  it("times out on an answer that does not end", async () => {
    const url = serve((_, response) => void response.write('{"user":'));
    expect((await failureOf((await open(url, { timeoutMs: 50 })).call("status", {}))).code).toBe("timeout");
  });
  it("ends when its caller is interrupted", async () => {
    const stop = new AbortController();
    const url = serve(() => stop.abort());
    expect((await failureOf((await open(url, { signal: stop.signal })).call("status", {}))).code).toBe("ended");
  });
  it("does not read an answer without end", async () => {
    const url = serve((_, response) => {
      const pour = (): void => {
        while (response.write(Buffer.alloc(1 << 20)));
        response.once("drain", pour);
      };
      pour();
    });
    expect((await failureOf((await open(url)).call("status", {}))).code).toBe("too_large");
  });
  it("S-40 does not carry its token along a redirect", async () => {
    const reached: string[] = [];
    const elsewhere = await serve((request, response) => {
      reached.push(String(request.headers.authorization));
      response.end(JSON.stringify(me));
    });
    const url = answering(302, "", { location: `${elsewhere}/v1/status` });
    expect((await failureOf((await open(url)).call("status", {}))).code).toBe("unavailable");
    expect(reached).toEqual([]);
  });
});
