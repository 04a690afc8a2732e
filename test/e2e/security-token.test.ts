// Connect tokens at the doors of real proxies: whatever is wrong with one, the answer is the same sentence and nothing is
// dialled; a login counts once whoever is asked; a bound token is nothing without its key and this very TLS session.
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { Client } from "@sallyport/client/client";
import { openClient } from "@sallyport/client/client";
import type { ConnectAnswer } from "@sallyport/core/api";
import { secret } from "@sallyport/core/secret";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  dialGate,
  dialSecure,
  doorOf,
  enter,
  eventually,
  logIn,
  logInOver,
  makeKey,
  proofOver,
  refused,
  showGate,
} from "./attack.ts";
import { edit, logInAgain, openOwnTable, roleOf, type Table } from "./owner.ts";
import { openWorld, type World } from "./world.ts";

const uniform = {
  code: "28P01",
  message: "this token is not valid here",
  hint: "ask for a new one: sally db login",
};

let world: World;
let table: Table;
let ana: Client;
beforeAll(async () => {
  world = await openWorld({ proxies: 2 });
  table = openOwnTable(world.laptop);
  await world.put(roleOf("twice", { bearer_logins: 2 }));
  await world.put(roleOf("once", { bearer_logins: 1 }));
  await world.put(roleOf("brief", { bearer_ttl: "1s" }));
  await world.put(roleOf("shrinking"));
  ana = await world.person("ana", ["dev"]);
});
afterAll(async () => {
  table?.close();
  await world?.close();
});

const door = (answer: ConnectAnswer, proxy?: number) =>
  doorOf(world.laptop, answer, proxy === undefined ? undefined : world.proxies[proxy]?.ports.postgres);
const dialled = (): number => world.fronts.orders.counters().connections;

describe("a token that is not one", () => {
  it.each([
    ["nothing like one", () => "hunter2"],
    ["one character short", (token: string) => token.slice(0, -1)],
    ["padded", (token: string) => `${token} `],
    ["of base64 with its padding", (token: string) => `${token}=`],
    ["in other case", (token: string) => token.toUpperCase()],
    ["of another prefix", (token: string) => token.replace("sly_c_", "sly_s_")],
    ["without its prefix", (token: string) => token.slice("sly_c_".length)],
    ["of another deployment", () => `sly_c_${randomBytes(32).toString("base64url")}`],
    ["eight kilobytes long", (token: string) => token.padEnd(8192, "A")],
    ["an injection", () => "sly_c_' or 1=1 --"],
  ])("S-02 %s is refused in the same words, and nothing is dialled", async (_, forge) => {
    const answer = await world.bearer(ana);
    const before = dialled();
    expect(await refused({ ...door(answer), password: forge(answer.token) })).toEqual(uniform);
    expect(dialled()).toBe(before);
    expect(await table.spent(answer.id)).toEqual({ logins: 0, live: 0 });
  });

  it("S-02 S-23 of a megabyte is refused by its length, unread", async () => {
    const answer = await world.bearer(ana);
    const ending = await refused({ ...door(answer), password: "A".repeat(1 << 20) });
    expect(ending).toMatchObject({ code: "08P01", message: "expected password response" });
  });

  it("S-03 a session token opens no database, a connect token no API, an invitation neither", async () => {
    const again = await logInAgain(world, "ana");
    const answer = await world.bearer(again.client);
    expect(await refused({ ...door(answer), password: again.token })).toEqual(uniform);
    const { invite } = await world.admin.call("invite", { user: "zoe", roles: ["dev"] });
    expect(await refused({ ...door(answer), password: invite })).toEqual(uniform);
    for (const token of [answer.token, invite])
      await expect(
        openClient({ api: world.laptop.api, token: secret(token) }).call("status", {}),
      ).rejects.toMatchObject({ code: "not_logged_in" });
    for (const invitation of [answer.token, again.token])
      await expect(
        openClient({ api: world.laptop.api }).call("acceptInvite", {
          invite: invitation,
          password: "a password of mine",
        }),
      ).rejects.toThrow(/invit/);
  });
});

describe("a token that was good", () => {
  it("S-50 has expired by the clock though it is still in the table; its session goes on", async () => {
    const bea = await world.person("bea", ["brief"]);
    const answer = await world.bearer(bea);
    const session = await enter(door(answer));
    await eventually("expiry", () => Date.now() > answer.expiresAt);
    expect(await table.store.get({ pk: `token#${answer.id}`, sk: "token" })).toBeDefined();
    expect(await refused(door(answer))).toEqual(uniform);
    expect(await session.query("select current_user")).toEqual(["reader"]);
    session.close();
  });

  it("S-04 was revoked", async () => {
    const answer = await world.bearer(ana);
    await ana.call("revoke", { id: answer.id });
    expect(await refused(door(answer))).toEqual(uniform);
  });

  it("S-04 has no login left, on whichever proxy", async () => {
    const cleo = await world.person("cleo", ["twice"]);
    const answer = await world.bearer(cleo);
    expect(answer.logins).toBe(2);
    for (const proxy of [0, 1]) (await enter(door(answer, proxy))).close();
    await eventually("both ended", async () => (await table.spent(answer.id)).live === 0);
    for (const proxy of [0, 1]) expect(await refused(door(answer, proxy))).toEqual(uniform);
    expect(await table.spent(answer.id)).toEqual({ logins: 2, live: 0 });
  });

  it("S-04 spends its last login at two proxies at once: exactly one wins", async () => {
    const dora = await world.person("dora", ["once"]);
    for (let round = 0; round < 5; round++) {
      const answer = await world.bearer(dora);
      const outcomes = await Promise.all([0, 1, 0, 1].map((proxy) => logIn(door(answer, proxy))));
      const inside = outcomes.flatMap((outcome) => ("code" in outcome ? [] : [outcome]));
      expect(inside).toHaveLength(1);
      for (const outcome of outcomes) if ("code" in outcome) expect(outcome).toEqual(uniform);
      expect(await inside[0]?.query("select 1")).toEqual(["1"]);
      inside[0]?.close();
      await eventually("the end", async () => (await table.spent(answer.id)).live === 0);
      expect(await table.spent(answer.id)).toEqual({ logins: 1, live: 0 });
    }
  });

  it("S-01 S-08 is decided on again at the login: a role that lost its users opens nothing", async () => {
    const eve = await world.person("eve", ["shrinking"]);
    const answer = await world.bearer(eve);
    await edit(world, "role", "shrinking", (role) =>
      role.kind === "role"
        ? { ...role, spec: { allow: { db_labels: { env: "dev" }, db_users: [], db_names: ["orders"] } } }
        : role,
    );
    const before = dialled();
    expect(await refused(door(answer))).toMatchObject({
      code: "28000",
      message: expect.stringContaining('db_user "reader" is not in an empty list'),
      hint: "sally db explain orders-rds-eu-west-1-111122223333",
    });
    expect(dialled()).toBe(before);
    // told to the client first, and to the table beside it
    const denials = async () => (await table.events("session.deny")).filter((item) => item["actor"] === "eve");
    await eventually("the denial is recorded", async () => (await denials()).length > 0);
    const [event] = await denials();
    expect(event).toMatchObject({ details: { token: answer.id, reason: expect.stringContaining("denied") } });
  });
});

describe("a token at the wire", () => {
  it.each([
    ["another user", { user: "writer" }],
    ["a user of other case", { user: "Reader" }],
    ["a password user", { user: "legacy" }],
    ["the superuser", { user: "rdsadmin" }],
    ["a database of the same server", { database: "payroll" }],
    ["a database that is not there", { database: "nowhere" }],
    ["a database with a space behind it", { database: "orders " }],
  ])("S-05 S-06 does not open %s, and costs no login", async (_, over) => {
    const answer = await world.bearer(ana);
    const before = dialled();
    const ending = await refused({ ...door(answer), ...over });
    expect(ending).toMatchObject({
      code: "28000",
      message: 'this token opens postgres as user "reader" and database "orders" only',
      hint: "connect as just that, or ask for another token: sally db login",
    });
    expect(dialled()).toBe(before);
    expect((await table.spent(answer.id)).logins).toBe(0);
  });

  it("S-05 without a database in the startup asks for one of the user's name, which is another", async () => {
    const answer = await world.bearer(ana);
    expect(await refused({ ...door(answer), database: "" })).toMatchObject({ code: "28000" });
  });

  it("S-05 inside is exactly who was asked for; SET ROLE is the database's matter", async () => {
    const session = await enter(door(await world.bearer(ana)));
    expect(await session.query("select session_user || '/' || current_user")).toEqual(["reader/reader"]);
    await expect(session.query("set role writer")).rejects.toMatchObject({ code: "42501" });
    await expect(session.query("set session authorization writer")).rejects.toMatchObject({ code: "42501" });
    session.close();
  });
});

describe("S-04b a bound token", () => {
  const bound = async (key = makeKey()): Promise<{ answer: ConnectAnswer; key: ReturnType<typeof makeKey> }> => ({
    key,
    answer: await ana.call("connect", { database: "orders", user: "reader", name: "orders", key: key.spki }),
  });
  const gate = (port?: number) => {
    const { ca } = doorOf(world.laptop, anyAnswer);
    return dialGate(world.laptop, ca, port);
  };
  let anyAnswer: ConnectAnswer;
  beforeAll(async () => {
    anyAnswer = await world.bearer(ana);
  });
  const refusal = { code: "bad_token", message: uniform.message, hint: uniform.hint };

  it("S-04b opens its session with its key, and there only what it says", async () => {
    const { answer, key } = await bound();
    for (const [user, database, code] of [
      ["reader", "orders", undefined],
      ["writer", "orders", "28000"],
      ["reader", "payroll", "28000"],
    ] as const) {
      const socket = await gate();
      const frame = { token: answer.token, key: key.spki, proof: proofOver(socket, answer.token, key.privateKey) };
      expect(await showGate(socket, frame)).toEqual({ ok: true });
      const session = await logInOver(socket, { user, database, password: "" });
      if ("code" in session) expect(session.code).toBe(code);
      else {
        expect(code).toBeUndefined();
        expect(await session.query("select current_user")).toEqual(["reader"]);
        session.close();
      }
    }
  });

  it("S-04b is no password on a plain port", async () => {
    const { answer } = await bound();
    expect(await refused(door(answer))).toEqual(uniform);
  });

  it("S-04b is refused without its key, with another, and with a proof that is another session's or another token's", async () => {
    const { answer, key } = await bound();
    const { answer: other } = await bound(key);
    const thief = makeKey();
    const elsewhere = await gate();
    const frames: ((socket: Awaited<ReturnType<typeof gate>>) => object)[] = [
      () => ({ token: answer.token, key: key.spki, proof: "" }),
      () => ({ token: answer.token, key: key.spki, proof: randomBytes(64).toString("base64") }),
      (socket) => ({ token: answer.token, key: key.spki, proof: proofOver(socket, answer.token, thief.privateKey) }),
      (socket) => ({ token: answer.token, key: thief.spki, proof: proofOver(socket, answer.token, thief.privateKey) }),
      () => ({ token: answer.token, key: key.spki, proof: proofOver(elsewhere, answer.token, key.privateKey) }),
      (socket) => ({ token: answer.token, key: key.spki, proof: proofOver(socket, other.token, key.privateKey) }),
    ];
    const before = dialled();
    for (const frame of frames) {
      const socket = await gate();
      expect(await showGate(socket, frame(socket))).toEqual(refusal);
      socket.destroy();
    }
    elsewhere.destroy();
    expect(dialled()).toBe(before);
    expect(await table.sessions(answer.id)).toEqual([]);
  });

  it("S-04b a bearer is nothing at the gate, whatever key comes with it", async () => {
    const answer = await world.bearer(ana);
    const key = makeKey();
    const socket = await gate();
    const frame = { token: answer.token, key: key.spki, proof: proofOver(socket, answer.token, key.privateKey) };
    expect(await showGate(socket, frame)).toEqual(refusal);
    expect((await table.spent(answer.id)).logins).toBe(0);
  });
});

describe("from outside", () => {
  const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
  /** Takes turns, so that what slows the machine slows all of them. */
  const compare = async (rounds: number, ways: readonly (() => Promise<unknown>)[]): Promise<number> => {
    const times = ways.map((): number[] => []);
    for (let round = 0; round < rounds; round++)
      for (const [at, way] of ways.entries()) {
        const since = performance.now();
        await way();
        times[at]?.push(performance.now() - since);
      }
    const medians = times.map(median);
    return Math.max(...medians) - Math.min(...medians);
  };

  it("S-48 a database that is not there and one that is not for you are the same, in words and about in time", {
    retry: 2,
  }, async () => {
    const ask = async (database: string) =>
      ana
        .call("connect", { database, user: "reader", name: "orders" })
        .catch(({ code, message, hint }: { code: string; message: string; hint: string }) => ({
          code,
          message: message.replace(database, "…"),
          hint,
        }));
    const hidden = await ask("payroll");
    expect(hidden).toEqual({
      code: "not_found",
      message: 'there is no database "…" that you may reach',
      hint: "sally db ls",
    });
    expect(await ask("nowhere")).toEqual(hidden);
    expect(await compare(15, [() => ask("payroll"), () => ask("nowhere")])).toBeLessThan(25);
  });

  it("S-48 an unknown, a revoked and an impossible token are the same, in words and about in time", {
    retry: 2,
  }, async () => {
    const answer = await world.bearer(ana);
    await ana.call("revoke", { id: answer.id });
    const show = (token: string) => async () => {
      const socket = await dialSecure(door(answer, 0));
      expect(await logInOver(socket, { ...door(answer), password: token })).toEqual(uniform);
    };
    const ways = [answer.token, `sly_c_${Buffer.alloc(32).toString("base64url")}`, "hunter2"].map(show);
    expect(await compare(15, ways)).toBeLessThan(25);
  });
});
