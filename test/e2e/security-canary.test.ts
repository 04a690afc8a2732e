import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { type Client, openClient } from "@sallyport/client/client";
import type { Document } from "@sallyport/core/api";
import { secret } from "@sallyport/core/secret";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dialGate, doorOf, enter, eventually, logInOver, makeKey, proofOver, refused, showGate } from "./attack.ts";
import { cancelRaw, openRaw, say, short } from "./clients/raw.ts";
import { openOwnTable, roleOf, type Table } from "./owner.ts";
import { openWorld, plainly, type World } from "./world.ts";

let world: World;
let table: Table;
let ana: Client;
let bob: Client;
beforeAll(async () => {
  world = await openWorld({ proxies: 2 });
  table = openOwnTable(world.laptop);
  await world.put(roleOf("writers", {}));
  ana = await world.person("ana", ["dev"]);
  bob = await world.person("bob", ["dev"]);
});
afterAll(async () => {
  table?.close();
  await world?.close();
});

interface Heard {
  readonly status: number;
  readonly body: string;
}
/** The API as any HTTP client reaches it; the answer as it came. */
const http = async (method: string, path: string, token?: string, body?: unknown): Promise<Heard> => {
  const response = await fetch(`${world.laptop.api}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: await response.text() };
};

describe("S-40 canary secrets", () => {
  it("S-40 are in no log, no audit line, no item, no event, no error and no listing", async () => {
    const canaries = new Map<string, string>();
    const mark = (what: string, value: string): string => {
      canaries.set(what, value);
      return value;
    };
    const heard: Heard[] = [];
    const tell = async (...of: Parameters<typeof http>): Promise<Heard> => {
      const one = await http(...of);
      heard.push(one);
      return one;
    };

    // a life with the API
    const password = mark("a password", "canary-password-ZqX81");
    const invite = mark("an invitation", (await world.admin.call("invite", { user: "cara", roles: ["dev"] })).invite);
    heard.push(await http("POST", "/v1/invites", undefined, { invite, password }));
    await tell("POST", "/v1/invites", undefined, { invite, password });
    await tell("POST", "/v1/login", undefined, {
      user: "cara",
      password: mark("a wrong password", "canary-wrong-Kp92x"),
    });
    await tell("POST", "/v1/login", undefined, {
      user: "cara",
      password: { of: mark("a bad input", "canary-input-88aTq") },
    });
    await tell("POST", "/v1/login", undefined, {
      user: mark("a password typed as a user", "canary-as-user-0lk4"),
      password,
    });
    const login = await http("POST", "/v1/login", undefined, { user: "cara", password });
    const token = mark("a session token", (JSON.parse(login.body) as { token: string }).token);
    const cara = openClient({ api: world.laptop.api, token: secret(token) });
    const bearer = await world.bearer(cara, { user: "writer" });
    mark("a bearer token", bearer.token);
    await tell("GET", `/v1/tokens/${bearer.token}`, token);
    await tell("DELETE", `/v1/tokens/${bearer.token}`, token);
    await tell("GET", "/v1/status", bearer.token);
    await tell("GET", "/v1/databases", token);
    await tell("GET", "/v1/status", token);
    await tell("POST", "/v1/explain", token, { database: "orders", user: "reader" });

    // a session that says secrets, and gets some wrong
    const place = plainly(world.laptop, bearer);
    const raw = await openRaw(place, 0x30002);
    mark("a cancel key", raw.key.toString("hex"));
    mark("a cancel key in base64", raw.key.toString("base64"));
    const ask = async (...pieces: readonly Buffer[]): Promise<void> => {
      raw.send(...pieces);
      await raw.answer();
    };
    for (const [what, text] of [
      ["CREATE USER", "create user x1 password 'canary-ddl-1-aHs7'"],
      ["CREATE ROLE", "create role x2 with login encrypted password 'canary-ddl-2-aHs7'"],
      ["ALTER USER", "ALTER USER reader WITH PASSWORD 'canary-ddl-3-aHs7'"],
      ["ALTER ROLE in dollars", "alter role reader password $q$canary-ddl-4-aHs7$q$"],
      ["E strings", "alter role reader password E'canary-ddl-5-aHs7'"],
      ["comments between", "alter role reader/*x*/password -- now\n 'canary-ddl-6-aHs7'"],
      ["several at once", "select 1; alter user reader password 'canary-ddl-7-aHs7'; select 2"],
      ["user mapping", "create user mapping for reader server s options (user 'u', password 'canary-ddl-8-aHs7')"],
      ["subscription", "create subscription s connection 'host=x password=canary-ddl-9-aHs7' publication p"],
      ["dblink", "select dblink_connect('host=x password=canary-ddl-10-aHs7')"],
    ] as const) {
      mark(what, /canary-ddl-\d+-aHs7/.exec(text)?.[0] ?? "");
      await ask(say("Q", text));
    }
    const parsed = `alter role reader password '${mark("in Parse", "canary-parse-77Wq")}'`;
    await ask(
      say("P", "", parsed, short(0)),
      say("B", "", "", short(0), short(0), short(0)),
      say("E", "", 0),
      say("S"),
    );
    await cancelRaw(place, raw, place.ca);
    await cancelRaw(place, { pid: raw.pid, key: Buffer.alloc(32, 7) });
    raw.close();

    // doors that do not open
    const door = doorOf(world.laptop, bearer);
    heard.push({ status: 0, body: JSON.stringify(await refused({ ...door, database: "payroll" })) });
    const guess = mark("a password at the plain port", "canary-plain-guess-5Tz");
    heard.push({ status: 0, body: JSON.stringify(await refused({ ...door, password: guess })) });
    const key = makeKey();
    const bound = await cara.call("connect", { database: "orders", user: "reader", name: "orders", key: key.spki });
    mark("a bound token", bound.token);
    const gate = await dialGate(world.laptop, bound.gate.ca ?? "");
    const proof = proofOver(gate, bound.token, key.privateKey);
    mark("a proof", proof);
    await showGate(gate, { token: bound.token, key: key.spki, proof });
    const inside = await logInOver(gate, { user: "reader", database: "orders", password: "" });
    if ("code" in inside) throw new Error(inside.message);
    expect(await inside.query("select 1")).toEqual(["1"]);
    inside.close();
    const thief = await dialGate(world.laptop, bound.gate.ca ?? "");
    heard.push({
      status: 0,
      body: JSON.stringify(await showGate(thief, { token: bound.token, key: key.spki, proof })),
    });
    await world.fronts.orders.misbehave({ is: "refusing" });
    heard.push({ status: 0, body: JSON.stringify(await refused(door)) });
    await world.fronts.orders.misbehave();
    await cara.call("revoke", { id: bearer.id });
    await cara.call("logout", {});
    const { invite: reset } = await world.admin.call("reset", { user: "cara" });
    mark("a reset", reset);

    await eventually("all ended", async () => (await table.spent(bearer.id)).live === 0, 10_000);
    await eventually("the audit", async () => (await auditText()).includes("session.end"));

    // everything that was written
    const listed = await Promise.all(
      (["role", "user", "lock", "db", "discovery_config"] as const).map((kind) =>
        world.admin.call("listResources", { kind }),
      ),
    );
    const written: Readonly<Record<string, string>> = {
      "the proxies' logs": world.proxies.map((proxy) => proxy.log()).join(""),
      "the functions' logs": world.laptop.runtime.log(),
      "the audit": await auditText(),
      "the table": JSON.stringify(await table.all()),
      "the answers": JSON.stringify(heard),
      "the listings": JSON.stringify(listed),
      "the calls to AWS": JSON.stringify(world.laptop.aws.calls()),
    };
    for (const [where, text] of Object.entries(written)) {
      expect(text.length, where).toBeGreaterThan(100);
      for (const [what, value] of canaries) expect(text.includes(value), `${what} in ${where}`).toBe(false);
      // what AWS signs with and what it signs
      expect(text, where).not.toMatch(/X-Amz-Signature|X-Amz-Security-Token|secretAccessKey/i);
    }
    // the searching itself finds what is there
    expect(written["the audit"]).toMatch(/create user x1 password/);
    expect(written["the table"]).toContain(bearer.id);
  }, 40_000);

  const auditText = async (): Promise<string> => (await world.laptop.trail()).join("\n");
});

describe("S-10 what is somebody else's", () => {
  it("S-10 can't be revoked, seen or asked about, with its real id", async () => {
    const hers = await world.bearer(ana);
    await expect(bob.call("revoke", { id: hers.id })).rejects.toMatchObject({
      code: "not_found",
      message: "there is no such token",
    });
    const session = await enter(doorOf(world.laptop, hers));
    session.close();
    await expect(
      bob.call("explain", { database: "orders", user: "reader", name: "orders", as: "ana" }),
    ).rejects.toMatchObject({
      code: "denied",
    });
    const { databases } = await bob.call("databases", {});
    expect(databases.map(({ name }) => name)).toEqual([expect.stringMatching(/^orders-/)]);
    const hidden = (await world.admin.call("listResources", { kind: "db" })).resources
      .map(({ metadata }) => metadata.name)
      .find((name) => name.startsWith("payroll"));
    for (const route of ["connect", "explain"] as const)
      await expect(bob.call(route, { database: hidden ?? "", user: "reader", name: "payroll" })).rejects.toMatchObject({
        code: "not_found",
      });
  });

  it("S-10 every route for administrators refuses a person, with real names, and changes nothing", async () => {
    const document: Document = {
      kind: "role",
      version: "v7",
      metadata: { name: "dev", revision: 1 },
      spec: { allow: { db_labels: { "*": "*" }, db_users: ["*"], db_names: ["*"] } },
    };
    const before = await world.admin.call("listResources", { kind: "role" });
    const calls: (() => Promise<unknown>)[] = [
      () => bob.call("invite", { user: "mallory", roles: ["admin"] }),
      () => bob.call("reset", { user: "ana" }),
      () => bob.call("discover", {}),
      ...(["role", "user", "lock", "db", "discovery_config"] as const).map(
        (kind) => () => bob.call("listResources", { kind }),
      ),
      () => bob.call("getResource", { kind: "role", name: "dev" }),
      () => bob.call("getResource", { kind: "user", name: "bob" }),
      () => bob.call("putResource", { kind: "role", name: "dev", document }),
      () =>
        bob.call("putResource", {
          kind: "user",
          name: "bob",
          document: { kind: "user", version: "v1", metadata: { name: "bob" }, spec: { roles: ["admin", "dev"] } },
        }),
      () => bob.call("removeResource", { kind: "user", name: "ana" }),
    ];
    for (const call of calls)
      await expect(call()).rejects.toMatchObject({ code: "denied", message: "only administrators may do this" });
    expect(await world.admin.call("listResources", { kind: "role" })).toEqual(before);
    expect(await bob.call("status", {})).toMatchObject({ admin: false, roles: ["dev"] });
  });

  it("S-10 S-01 a person without any role, or with an empty one, reaches nothing", async () => {
    await world.put({ kind: "role", version: "v7", metadata: { name: "empty" }, spec: {} });
    for (const [name, roles] of [
      ["nora", []],
      ["emma", ["empty"]],
    ] as const) {
      const client = await world.person(name, roles);
      expect(await client.call("databases", {})).toEqual({ databases: [] });
      await expect(world.bearer(client)).rejects.toMatchObject({ code: "not_found" });
    }
    // an administrator without a role neither
    await expect(world.bearer(world.admin)).rejects.toMatchObject({ code: "not_found" });
  });
});

describe("S-12 break-glass", () => {
  const invoke = async (credentials: World["laptop"]["operator"], payload: unknown) => {
    const lambda = new LambdaClient({ endpoint: world.laptop.aws.url, region: world.laptop.region, credentials });
    try {
      const answer = await lambda.send(
        new InvokeCommand({ FunctionName: "bootstrap", Payload: Buffer.from(JSON.stringify(payload)) }),
      );
      return { error: answer.FunctionError, body: Buffer.from(answer.Payload ?? []).toString() };
    } finally {
      lambda.destroy();
    }
  };

  it("S-12 is IAM's to give: nobody else's keys, no route of the API, not the proxy's or the functions' roles", async () => {
    const { account, operator } = world.laptop;
    const { credentials } = account.addUser({ name: "nobody", statements: [] });
    await expect(invoke(credentials, { user: "mallory" })).rejects.toMatchObject({ name: "AccessDeniedException" });
    const forged = { ...operator, secretAccessKey: "A".repeat(40) };
    await expect(invoke(forged, { user: "mallory" })).rejects.toThrow();
    for (const principal of ["proxy", "api", "discover", "sweep"]) {
      const own = account.session(`sallyport-${principal}`, { sessionName: "intruder" }).credentials;
      await expect(invoke(own, { user: "mallory" })).rejects.toMatchObject({ name: "AccessDeniedException" });
    }
    for (const path of ["/v1/bootstrap", "/bootstrap", "/2015-03-31/functions/bootstrap/invocations"])
      expect((await http("POST", path, undefined, { user: "mallory" })).status).toBe(404);
    await expect(world.admin.call("getResource", { kind: "user", name: "mallory" })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  it("S-12 is rate limited, recorded, and logged for the alarm", async () => {
    const outcomes = [];
    for (let at = 0; at < 6; at++) outcomes.push(await invoke(world.laptop.operator, { user: "second" }));
    // the world itself used one of five an hour, which may begin anew meanwhile
    const refusals = outcomes.filter(({ error }) => error !== undefined);
    expect(refusals.length).toBeGreaterThanOrEqual(1);
    for (const { body } of refusals) expect(body).toContain("too many attempts");
    expect(outcomes[0]?.error).toBeUndefined();
    const given = outcomes.filter(({ error }) => error === undefined);
    expect(await table.events("bootstrap.invite")).toHaveLength(given.length + 1);
    const alarms = world.laptop.runtime
      .log()
      .split("\n")
      .filter((line) => line.includes('"message":"bootstrap.invite"'));
    expect(alarms).toHaveLength(given.length + 1);
    for (const line of alarms) expect(JSON.parse(line)).toMatchObject({ level: "WARN" });
    for (const { body } of given) {
      const { invite } = JSON.parse(body) as { invite: string };
      expect(world.laptop.runtime.log()).not.toContain(invite);
    }
  });
});

it("S-13 guesses at one's password end the guesses from there; whoever is logged in is not disturbed", async () => {
  const outcomes: string[] = [];
  for (let at = 0; at < 14; at++)
    outcomes.push(
      await openClient({ api: world.laptop.api })
        .call("login", { user: "bob", password: `a wrong guess ${at}` })
        .then(
          () => "in",
          ({ code }: { code: string }) => code,
        ),
    );
  expect(outcomes.slice(0, 5)).toEqual(Array(5).fill("not_logged_in"));
  expect(outcomes.at(-1)).toBe("too_many");
  expect(await bob.call("status", {})).toMatchObject({ user: "bob" });
  const session = await enter(doorOf(world.laptop, await world.bearer(bob)));
  expect(await session.query("select 1")).toEqual(["1"]);
  session.close();
});
