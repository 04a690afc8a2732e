// S-45: events that somebody made by hand. The jobs' own are beside each job; here are the API, which wants nothing but requests of
// an HTTP API and believes nothing in them but a token, and bootstrap, which wants a name and no more.
import { expect, it } from "vitest";
import { context, httpEvent, makeUser, openWorld } from "./world.ts";

const scheduled = { version: "0", id: "1", source: "aws.scheduler", "detail-type": "Scheduled Event", detail: "{}" };

it.each<[string, unknown]>([
  ["the schedule's event", scheduled],
  ["bootstrap's event", { user: "root" }],
  ["the probe's event", { protocol: "postgres", endpoint: { host: "db", port: 5432 }, user: "a", password: "b" }],
  ["a rotation's event", { SecretId: "x", ClientRequestToken: "y", Step: "createSecret" }],
  ["a queue's event", { Records: [{ body: JSON.stringify(httpEvent({ path: "/v1/status" })) }] }],
  ["an application load balancer's event", { requestContext: { elb: {} }, httpMethod: "GET", path: "/v1/status" }],
  ["a request of a REST API", { version: "1.0", resource: "/", httpMethod: "GET", path: "/v1/status" }],
  ["a request without its context", { ...httpEvent({ path: "/v1/status" }), requestContext: undefined }],
  ["a request inside a list", [httpEvent({ path: "/v1/status" })]],
])("S-45 the API, invoked by hand with %s, refuses it and touches nothing", async (_, event) => {
  const world = openWorld();
  const reads = world.reads();
  const answer = await world.api(event, context);
  expect(answer.statusCode).toBe(400);
  expect([world.reads(), world.table.items()]).toEqual([reads, []]);
});

it.each<[string, object]>([
  ["an authorizer's word", { authorizer: { lambda: { admin: true, user: "root" }, jwt: { claims: { sub: "root" } } } }],
  ["an IAM caller", { authorizer: { iam: { accountId: "111122223333", userArn: "arn:aws:iam::111122223333:root" } } }],
  ["a client certificate", { authentication: { clientCert: { subjectDN: "CN=root" } } }],
  ["an identity", { identity: { user: "root", sourceIp: "127.0.0.1" } }],
])("S-45 the API, invoked by hand as if %s had come with it, wants a token all the same", async (_, forged) => {
  const world = openWorld();
  await world.loginAs(makeUser("root", ["admin"]));
  const event = httpEvent({ path: "/v1/resources/user" });
  const given = { ...event, ...forged, requestContext: { ...event.requestContext, ...forged } };
  for (const one of [given, { ...given, caller: { user: { name: "root" }, admin: true } }])
    expect((await world.api(one, context)).statusCode).toBe(401);
});

it("S-45 the API takes its path from what was asked, not from members that say what it was", async () => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("ana", []));
  const event = httpEvent({ path: "/v1/status", headers: { authorization: `Bearer ${token}` } });
  const forged = { ...event, routeKey: "DELETE /v1/users/{name}", pathParameters: { name: "root" }, path: "/v1/users" };
  const answer = await world.api(forged, context);
  expect(answer.statusCode).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({ user: "ana" });
});

it.each<[string, unknown]>([
  ["the schedule's event", scheduled],
  ["a request of the API", httpEvent({ method: "POST", path: "/v1/login", body: '{"user":"root"}' })],
  ["nothing", undefined],
  ["a name beside more", { user: "root", roles: ["admin"] }],
  ["a role", { user: "root", admin: true }],
  ["a list of names", { user: ["root"] }],
  ["a name of another shape", { user: "root\nx" }],
  ["text", '{"user":"root"}'],
])("S-45 bootstrap, invoked with %s, invites nobody", async (_, event) => {
  const world = openWorld();
  await expect(world.bootstrap(event, context)).rejects.toMatchObject({ code: "invalid" });
  expect(world.table.items()).toEqual([]);
});
