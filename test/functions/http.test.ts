import { ErrorAnswer, routes } from "@sallyport/core/api";
import { expect, it } from "vitest";
import { reader } from "../core/make.ts";
import { httpEvent, makeUser, openWorld } from "./world.ts";

const json = { "content-type": "application/json" };
const loginBody = JSON.stringify({ user: "ana", password: "wrong horse" });

it("every answer carries security headers and a correlation id, errors too", async () => {
  const { send, call, loginAs } = openWorld();
  const token = await loginAs(makeUser("ana", []));
  for (const answer of [await send({ path: "/nowhere" }), await call("status", {}, token), await call("status", {})]) {
    expect(answer.headers).toMatchObject({
      "content-type": "application/json; charset=utf-8",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "x-correlation-id": "JKJaXmPLvHcESHA=",
    });
    expect(answer.headers["content-security-policy"]).toContain("frame-ancestors 'none'");
    expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
  }
});

it("errors are worded as the contract says, with the id to find them in the log by", async () => {
  const { call } = openWorld();
  const { status, body, headers } = await call("status", {});
  expect(status).toBe(401);
  expect(headers["www-authenticate"]).toBe("Bearer");
  expect(ErrorAnswer.parse(body).error).toEqual({
    code: "not_logged_in",
    message: "you are not logged in",
    hint: "sally login",
    id: "JKJaXmPLvHcESHA=",
  });
});

it("an error of ours tells the log why and the client nothing", async () => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("ana", []));
  await world.put([{ pk: "access#lock", sk: "l" }, { name: 7 }]);
  const { status, body } = await world.call("status", {}, token);
  expect(status).toBe(500);
  expect(body.error.code).toBe("internal");
  expect(world.logged.join()).toContain("ZodError");
  expect(JSON.stringify(body)).not.toContain("ZodError");
});

it("a table that can't be reached denies and says so", async () => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("ana", ["admin"]));
  world.table.fault.break();
  expect((await world.call("databases", {}, token)).status).toBe(503);
  world.table.fault.mend();
  expect((await world.call("databases", {}, token)).status).toBe(200);
});

it("S-14 what is no event of an HTTP API is refused", async () => {
  const { api } = openWorld();
  for (const event of [
    null,
    {},
    [],
    "x",
    { version: "1.0", httpMethod: "GET", path: "/v1/status" },
    { version: "2.0" },
  ])
    expect((await api(event, {})).statusCode).toBe(400);
});

it.each([
  ["S-14 a method override header", { "x-http-method-override": "DELETE" }, ""],
  ["S-14 X-HTTP-Method", { "x-http-method": "DELETE" }, ""],
  ["S-14 X-Method-Override", { "x-method-override": "DELETE" }, ""],
  ["S-14 a method override in the query", {}, "_method=DELETE"],
])("%s changes nothing", async (_, headers, query) => {
  const world = openWorld();
  await world.addRoles(reader);
  const token = await world.loginAs(makeUser("root", ["admin"]));
  const authorization = { authorization: `Bearer ${token}` };
  const path = "/v1/resources/role/orders-read";
  const { status } = await world.send({ method: "GET", path, query, headers: { ...authorization, ...headers } });
  expect(status).toBe(query === "" ? 200 : 400);
  expect((await world.call("getResource", { kind: "role", name: "orders-read" }, token)).status).toBe(200);
});

it("S-14 a repeated authorization header logs nobody in", async () => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("ana", []));
  for (const authorization of [`Bearer ${token},Bearer ${token}`, `Bearer ${token} `, token, `Basic ${token}`])
    expect((await world.send({ path: "/v1/status", headers: { authorization } })).status).toBe(401);
  const twice = { authorization: `Bearer ${token}`, Authorization: `Bearer ${token}` };
  expect((await world.send({ path: "/v1/status", headers: twice })).status).toBe(400);
});

it("S-14 X-Forwarded-For does not move the caller to another address", async () => {
  const world = openWorld();
  for (let at = 0; at < 10; at++)
    await world.send({
      method: "POST",
      path: "/v1/login",
      headers: { ...json, "x-forwarded-for": `198.51.100.${at}`, host: `h${at}` },
      body: loginBody,
    });
  const { status } = await world.send({ method: "POST", path: "/v1/login", headers: json, body: loginBody });
  expect(status).toBe(429);
});

it("S-14 Host, X-Forwarded-* and Forwarded are neither believed nor repeated", async () => {
  const world = openWorld();
  await world.addRoles(reader);
  await world.addDatabases({});
  await world.addProxy();
  const token = await world.loginAs(makeUser("ana", ["orders-read"]));
  const spoof = {
    host: "evil.example",
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "http",
    "x-forwarded-port": "1",
    "x-original-url": "/v1/evil.example",
    "x-rewrite-url": "/v1/evil.example",
    forwarded: "for=192.0.2.1;host=evil.example;proto=http",
  };
  const plain = await world.call("connect", { database: "orders" }, token);
  const spoofed = await world.call("connect", { database: "orders" }, token, { headers: spoof });
  expect([plain.status, spoofed.status]).toEqual([200, 200]);
  expect([spoofed.body.gate, spoofed.body.direct]).toEqual([plain.body.gate, plain.body.direct]);
  const answers = [
    spoofed,
    await world.call("status", {}, token, { headers: spoof }),
    await world.call("status", {}, undefined, { headers: spoof }),
    await world.send({ path: "/nowhere", headers: spoof }),
  ];
  expect(JSON.stringify(answers)).not.toContain("evil.example");
  expect(JSON.stringify(world.events())).not.toContain("evil.example");
});

it("S-14 no origin is allowed anything, in a preflight or in an answer", async () => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("ana", []));
  const asks = { origin: "https://evil.example", "access-control-request-method": "POST" };
  for (const answer of [
    await world.send({ method: "OPTIONS", path: "/v1/login", headers: asks }),
    await world.call("status", {}, token, { headers: asks }),
    await world.call("status", {}, undefined, { headers: asks }),
  ]) {
    expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
    expect(answer.headers["cross-origin-resource-policy"]).toBe("same-origin");
  }
  expect((await world.send({ method: "OPTIONS", path: "/v1/login", headers: asks })).status).toBe(404);
});

it("S-14 a cookie logs nobody in, and none is set: there is nothing to forge a request with", async () => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("ana", []));
  for (const cookie of [`token=${token}`, `authorization=Bearer ${token}`, `session=${token}`])
    expect((await world.send({ path: "/v1/status", headers: { cookie } })).status).toBe(401);
  expect((await world.send({ path: "/v1/status", query: `token=${token}&access_token=${token}` })).status).toBe(401);
  const login = await world.send({ method: "POST", path: "/v1/login", headers: json, body: loginBody });
  expect(Object.keys(login.headers)).not.toContain("set-cookie");
});

it("S-14 a content type twice, in two spellings, is refused before anything is read of it", async () => {
  const { send, logged } = openWorld();
  for (const other of ["text/plain", "application/json"]) {
    const headers = { ...json, "Content-Type": other };
    expect((await send({ method: "POST", path: "/v1/login", headers, body: loginBody })).status).toBe(400);
  }
  expect(logged.join()).not.toContain("text/plain");
});

it.each([
  ["__proto__", 400],
  ["constructor", 400],
  ["prototype", 400],
  // what a role says of other things is left alone, whatever it is called
  ["toString", 200],
  ["__defineGetter__", 200],
  ["hasOwnProperty", 200],
])("S-14 a member called %s pollutes nothing, wherever it comes", async (name, inside) => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("root", ["admin"]));
  const authorization = { authorization: `Bearer ${token}` };
  const headers = { ...json, ...authorization };
  const document = (spec: string): string =>
    `{"document":{"kind":"role","version":"v7","metadata":{"name":"r"},"spec":${spec}}}`;
  const put = { method: "PUT", path: "/v1/resources/role/r", headers };
  const evil = `"${name}":{"polluted":true}`;
  const answers = [
    await world.send({
      method: "POST",
      path: "/v1/login",
      headers: json,
      body: `{"user":"a","password":"b",${evil}}`,
    }),
    await world.send({ ...put, body: document(`{"allow":{},${evil}}`) }),
    await world.send({ ...put, body: document(`{"allow":{${evil}}}`) }),
    await world.send({ path: "/v1/databases", query: `${name}=1`, headers: authorization }),
    await world.send({ path: `/v1/resources/${name}/r`, headers: authorization }),
  ];
  expect(answers.map(({ status }) => status)).toEqual([400, 400, inside, 400, 400]);
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
});

it.each<[string, Record<string, string>, string, number]>([
  ["S-14 a body that says nothing of its type", {}, loginBody, 400],
  ["S-14 a form", { "content-type": "application/x-www-form-urlencoded" }, "user=ana&password=x", 400],
  ["S-14 JSON called text", { "content-type": "text/plain" }, loginBody, 400],
  ["S-14 two content types", { "content-type": "application/json,text/plain" }, loginBody, 400],
  ["S-14 another charset", { "content-type": "application/json; charset=utf-16" }, loginBody, 400],
  ["S-14 JSON with a charset", { "content-type": 'application/json; charset="UTF-8"' }, loginBody, 401],
  ["S-14 JSON with a type before it", { "content-type": "text/html, application/json" }, loginBody, 400],
  ["S-14 a type that only begins like JSON", { "content-type": "application/jsonp" }, loginBody, 400],
  ["S-14 several parts", { "content-type": "multipart/form-data; boundary=application/json" }, loginBody, 400],
  ["S-14 a body that says it is compressed", { ...json, "content-encoding": "gzip" }, "\u001f\u008b\u0008", 400],
  ["S-14 the same member twice", json, '{"user":"root","user":"ana","password":"x"}', 401],
  ["S-14 an array", json, "[]", 400],
  ["S-14 null", json, "null", 400],
  ["S-14 no JSON", json, "{", 400],
  ["S-14 an unknown member", json, '{"user":"ana","password":"x","admin":true}', 400],
  ["S-14 __proto__", json, '{"user":"ana","password":"x","__proto__":{"admin":true}}', 400],
  ["S-14 a constructor deep inside", json, '{"user":"ana","password":{"a":[{"constructor":1}]}}', 400],
  ["S-14 deep nesting", json, `{"user":${"[".repeat(5000)}${"]".repeat(5000)}}`, 400],
  ["S-14 a body over 64 KiB", json, JSON.stringify({ user: "ana", password: "x".repeat(65_536) }), 413],
])("%s is answered as it should", async (_, headers, body, expected) => {
  const { send } = openWorld();
  const answer = await send({ method: "POST", path: "/v1/login", headers, body });
  expect(answer.status).toBe(expected);
  expect(Object.hasOwn(Object.prototype, "admin")).toBe(false);
});

it("S-14 a body in base64 is the same body, and bad UTF-8 is none", async () => {
  const { send } = openWorld();
  const login = { method: "POST", path: "/v1/login", headers: json, base64: true };
  expect((await send({ ...login, body: Buffer.from(loginBody).toString("base64") })).status).toBe(401);
  expect((await send({ ...login, body: Buffer.from([0x7b, 0xff, 0x7d]).toString("base64") })).status).toBe(400);
});

it("S-14 input comes from one place: a query on a POST, a body on a GET, a path member in the body are refused", async () => {
  const world = openWorld();
  await world.addRoles(reader);
  const token = await world.loginAs(makeUser("root", ["admin"]));
  const authorization = { authorization: `Bearer ${token}` };
  const at = "/v1/resources/role/orders-read";
  const asked = [
    { method: "POST", path: "/v1/login", query: "user=ana", headers: json, body: loginBody },
    { method: "GET", path: at, headers: { ...json, ...authorization }, body: "{}" },
    { method: "GET", path: at, query: "name=other", headers: authorization },
    { method: "GET", path: at, query: "x=1", headers: authorization },
    { method: "PUT", path: at, headers: { ...json, ...authorization }, body: '{"name":"other","document":{}}' },
  ];
  for (const http of asked) expect((await world.send(http)).status).toBe(400);
});

it.each(["/v1/Status", "//v1/status", "/v1//status", "/v1/status/x", "/v1/%73tatus", "/v1/../v1/status", "/V1/status"])(
  "S-14 %s is no route",
  async (path) => {
    const { send, loginAs } = openWorld();
    const authorization = `Bearer ${await loginAs(makeUser("ana", []))}`;
    expect((await send({ path, headers: { authorization } })).status).toBe(404);
  },
);

it.each(["HEAD", "OPTIONS", "PATCH", "TRACE", "get"])("S-14 %s is answered nowhere", async (method) => {
  const { send } = openWorld();
  expect((await send({ method, path: "/v1/status" })).status).toBe(404);
});

it.each(["a%2fb", "a%00", "%zz", "..", "a%20", "%61%25%32%66", "a%23b", "%EF%BD%81na", "__proto__", "constructor"])(
  "S-06 %s names no resource",
  async (name) => {
    const { send, loginAs } = openWorld();
    const authorization = `Bearer ${await loginAs(makeUser("root", ["admin"]))}`;
    const { status } = await send({ path: `/v1/resources/user/${name}`, headers: { authorization } });
    expect(status).toBe(400);
  },
);

it("S-10 every route but the public ones wants a login, whatever else is sent", async () => {
  const { send } = openWorld();
  for (const [name, route] of Object.entries(routes)) {
    const path = route.path.replace("{kind}", "role").replace(/\{\w+\}/g, "x");
    const { status } = await send({ method: route.method, path, headers: json });
    expect([name, status]).toEqual([name, route.access === "public" ? (name === "trust" ? 200 : 400) : 401]);
  }
});

it("S-10 no route for administrators serves anybody else", async () => {
  const world = openWorld();
  await world.addRoles(reader);
  const token = await world.loginAs(makeUser("ana", ["orders-read"]));
  const before = world.table.items().length;
  for (const [name, route] of Object.entries(routes).filter(([, { access }]) => access === "admin")) {
    const path = route.path.replace("{kind}", "user").replace(/\{\w+\}/g, "ana");
    const { status } = await world.send({
      method: route.method,
      path,
      headers: { ...json, authorization: `Bearer ${token}` },
    });
    expect([name, status]).toEqual([name, 403]);
  }
  expect(world.table.items().length).toBe(before);
});

it("an early timeout is an answer", async () => {
  const world = openWorld();
  const held = Promise.withResolvers<void>();
  world.table.fault.hold(held.promise);
  const authorization = `Bearer sly_s_${"A".repeat(43)}`;
  const event = httpEvent({ path: "/v1/status", headers: { authorization } });
  const answer = await world.api(event, { getRemainingTimeInMillis: () => 501 });
  held.resolve();
  expect(answer.statusCode).toBe(504);
});
