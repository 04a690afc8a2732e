// Canaries: everything secret that passes through the API is marked, and looked for wherever it must not be.
import { generateKeyPairSync } from "node:crypto";
import { resourceKinds } from "@sallyport/core/api";
import { openLog } from "@sallyport/functions/log";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { makeRole } from "../core/make.ts";
import { type Answer, context, makeUser, openWorld } from "./world.ts";

const password = "canary-password-1234567";
const wrong = "canary-wrong-password-7654321";
const key = generateKeyPairSync("ed25519").publicKey.export({ format: "der", type: "spki" }).toString("base64");

const walked = async () => {
  const world = openWorld();
  const answers: Answer[] = [];
  const issued: string[] = [];
  /** Remembers an answer that issues nothing. */
  const keep = async (asked: Promise<Answer>) => {
    const answer = await asked;
    answers.push(answer);
    return answer;
  };
  /** Remembers what an answer issues. */
  const issue = async (asked: Promise<Answer>) => {
    const answer = await asked;
    issued.push(answer.body.invite ?? answer.body.token);
    return answer;
  };
  await world.addRoles(makeRole("r", { allow: { db_labels: { "*": "*" }, db_users: ["u"], db_names: ["n"] } }));
  await world.addDatabases({});
  const boot = (await world.bootstrap({ user: "root" }, context)) as { invite: string };
  issued.push(boot.invite);
  await keep(world.call("acceptInvite", { invite: boot.invite, password }));
  await keep(world.call("acceptInvite", { invite: boot.invite, password }));
  await keep(world.call("acceptInvite", { invite: boot.invite, password: `${wrong}${"x".repeat(256)}` }));
  const root = (await issue(world.call("login", { user: "root", password }))).body.token;
  await keep(world.call("login", { user: "root", password: wrong }));
  await keep(world.call("login", { user: wrong, password }));
  await keep(
    world.send({
      method: "POST",
      path: "/v1/login",
      headers: { "content-type": "application/json" },
      body: `{"user":"root","password":"${wrong}`,
    }),
  );
  await keep(
    world.send({
      method: "POST",
      path: "/v1/login",
      headers: { "content-type": "application/json" },
      body: `{"user":"root","password":["${wrong}"]}`,
    }),
  );
  await issue(world.call("invite", { user: "ana", roles: ["r"] }, root));
  const { invite } = (await issue(world.call("reset", { user: "ana" }, root))).body;
  await keep(world.call("acceptInvite", { invite, password }));
  const ana = (await issue(world.call("login", { user: "ana", password }))).body.token;
  const bearer = await issue(world.call("connect", { database: "orders" }, ana));
  await issue(world.call("connect", { database: "orders", key }, ana));
  await keep(world.call("status", {}, ana));
  await keep(world.call("databases", {}, ana));
  await keep(world.call("explain", { database: "orders" }, ana));
  await keep(
    world.send({
      path: `/v1/tokens/${bearer.body.token}`,
      method: "DELETE",
      headers: { authorization: `Bearer ${ana}` },
    }),
  );
  await keep(
    world.send({ path: `/v1/${bearer.body.token}`, headers: { authorization: `Bearer ${bearer.body.token}` } }),
  );
  for (const kind of resourceKinds) {
    await keep(world.call("listResources", { kind }, root));
    await keep(world.call("getResource", { kind, name: "ana" }, root));
  }
  await keep(world.call("revoke", { id: bearer.body.id }, ana));
  await keep(world.call("logout", {}, ana));
  await keep(world.call("removeResource", { kind: "user", name: "ana" }, root));
  world.table.fault.break();
  await keep(world.call("login", { user: "root", password }));
  await keep(world.call("status", {}, root));
  world.table.fault.mend();
  return { world, answers, issued, secrets: [...issued, password, wrong] };
};

describe("S-40 canary secrets", () => {
  let walk: Awaited<ReturnType<typeof walked>>;
  beforeAll(async () => {
    walk = await walked();
  });
  const found = (text: string): string[] => walk.secrets.filter((secret) => text.includes(secret));

  it("S-40 were issued: nothing here is looked for in vain", () => {
    expect(walk.issued).toHaveLength(7);
    expect(new Set(walk.issued).size).toBe(7);
    expect(walk.answers.filter(({ status }) => status === 200).length).toBeGreaterThan(8);
    expect(walk.world.events("token.issue")).toHaveLength(2);
  });
  it("S-40 are in no answer but the one that issues them", () => {
    for (const { text, headers } of walk.answers) expect(found(text + JSON.stringify(headers))).toEqual([]);
  });
  it("S-40 are in no log line", () => {
    expect(walk.world.logged.length).toBeGreaterThan(20);
    expect(found(walk.world.logged.join("\n"))).toEqual([]);
  });
  it("S-40 are not in the table, nor in any event", () => {
    expect(found(JSON.stringify(walk.world.table.items()))).toEqual([]);
  });
});

it("S-40 the log prints a secret as [secret], and JSON on one line", async () => {
  const lines: string[] = [];
  const spy = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    lines.push(String(text));
    return true;
  });
  const { secret } = await import("@sallyport/core/secret");
  try {
    openLog("test").info("token", { token: secret("canary"), text: "a\r\nb\u001b[31m" });
  } finally {
    spy.mockRestore();
  }
  const written = lines.join("");
  expect(written).not.toContain("canary");
  expect(written.trimEnd().split("\n")).toHaveLength(1);
  expect(JSON.parse(written)).toMatchObject({
    level: "INFO",
    message: "token",
    token: "[secret]",
    service: "sallyport-test",
  });
});

it("S-40 a failure behind a failure is logged with its stack, the answer has only its id", async () => {
  const world = openWorld();
  const token = await world.loginAs(makeUser("ana", []));
  world.table.fault.breakWhen(() => {
    throw new TypeError("deep inside");
  });
  const { body } = await world.call("status", {}, token);
  expect(body.error).toEqual({ code: "internal", message: "something went wrong on our side", id: "JKJaXmPLvHcESHA=" });
  expect(world.logged.join()).toContain("TypeError: deep inside");
});
