// The small nouns: durations, names, secrets, failures, tokens, keys, permissions.

import { createHash, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { formatDuration, parseDuration } from "@sallyport/core/duration";
import { type Failure, failureCodes, toFailure } from "@sallyport/core/failure";
import { families, fromItem, keys, toItem } from "@sallyport/core/family";
import { Name } from "@sallyport/core/name";
import { principals, type Statement, statementsFor } from "@sallyport/core/permission";
import { RoleSpec, requireSupported } from "@sallyport/core/role";
import { secret } from "@sallyport/core/secret";
import { type ConnectToken, checkToken, identify, makeToken } from "@sallyport/core/token";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { now } from "./make.ts";

const digest = { sha256: (text: string) => createHash("sha256").update(text).digest("hex") };
const random = { bytes: (count: number) => new Uint8Array(randomBytes(count)) };

describe("durations", () => {
  it.each([
    ["15m", 900_000],
    ["8h", 28_800_000],
    ["1h30m", 5_400_000],
    ["30h0m0s", 108_000_000],
    ["1.5h", 5_400_000],
    ["250ms", 250],
  ])("%s is %i ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });
  it.each(["", "8", "h", "-1h", "8 h", "8h!", "1e9h", "١h"])("%j is none", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
  it.each([
    [0, "0s"],
    [59_999, "1m"],
    [5_400_000, "1h30m"],
    [3_601_000, "1h1s"],
    [604_800_000, "168h"],
  ])("%i ms is written %s", (ms, text) => expect(formatDuration(ms)).toBe(text));
  it("come back as written", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (s) => parseDuration(formatDuration(s * 1000)) === s * 1000),
    );
  });
});

describe("S-06 names", () => {
  it.each([
    "",
    ".",
    "..",
    "a.",
    ".a",
    "a..b",
    "a b",
    "a/b",
    "a#b",
    "a:b",
    "a%2fb",
    "café",
    "а",
    "a\0",
    "a\n",
    "__proto__",
    "constructor",
    "x".repeat(129),
  ])("S-06 %j is no name", (name) => {
    expect(Name.safeParse(name).success).toBe(false);
  });
  it.each(["a", "ana@example.com", "orders-rds-eu-west-1-111122223333", "A_b+c.d"])("%j is one", (name) => {
    expect(Name.safeParse(name).success).toBe(true);
  });
});

describe("secrets and failures", () => {
  it("S-40 a secret prints as [secret] whichever way it is printed", () => {
    const hidden = secret("hunter2-canary");
    for (const text of [
      String(hidden),
      `${hidden}`,
      JSON.stringify({ hidden }),
      inspect(hidden),
      inspect({ a: [hidden] }, { depth: 9, showHidden: true }),
    ])
      expect(text).not.toContain("canary");
    expect(JSON.stringify({ hidden })).toBe('{"hidden":"[secret]"}');
    expect(hidden.reveal()).toBe("hunter2-canary");
  });
  it("an unknown error becomes internal and keeps its cause apart from its message", () => {
    const failure = toFailure(new Error("password=canary"));
    expect(failure).toMatchObject({ code: "internal" });
    expect(failure.message).not.toContain("canary");
    expect(failure.cause).toBeInstanceOf(Error);
    expect(new Set(failureCodes).size).toBe(failureCodes.length);
  });
});

describe("tokens", () => {
  it("are known by their SHA-256 and by nothing that merely looks like them", () => {
    const { token, id } = makeToken("connect", random, digest);
    const text = token.reveal();
    expect(text).toMatch(/^sly_c_[A-Za-z0-9_-]{43}$/);
    expect(identify("connect", text, digest)).toBe(id);
    for (const other of [
      text.slice(0, -1),
      `${text}A`,
      `${text}=`,
      ` ${text}`,
      `${text}\n`,
      text.toUpperCase(),
      text.replace("sly_c_", "sly_s_"),
      "x".repeat(1_000_000),
      "",
    ])
      expect(identify("connect", other, digest)).not.toBe(id);
  });
  it("S-02 a token with other trailing bits is not the same token written differently", () => {
    const { token } = makeToken("connect", random, digest);
    const last = token.reveal().at(-1) ?? "";
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (let bit = 1; bit < 4; bit++) {
      const twin = token.reveal().slice(0, -1) + alphabet[(alphabet.indexOf(last) & ~3) + bit];
      expect(identify("connect", twin, digest)).toBeUndefined();
    }
  });
  it("S-02 no kind is taken for another", () => {
    for (const kind of ["session", "invite", "connect"] as const)
      for (const other of ["session", "invite", "connect"] as const)
        expect(identify(other, makeToken(kind, random, digest).token.reveal(), digest) !== undefined).toBe(
          kind === other,
        );
  });
  const stored: ConnectToken = {
    id: "a".repeat(64),
    user: "ana",
    database: "orders",
    protocol: "postgres",
    dbUser: "reader",
    session: "s",
    loginExpiresAt: now + 10_000,
    issuedAt: now,
    expiresAt: now + 1000,
    way: { bearer: 20 },
  };
  const check =
    (over: Partial<ConnectToken>, way: "bearer" | "bound" = "bearer", at = now) =>
    () =>
      checkToken(toItem(keys.connectToken(stored.id), { ...stored, ...over }), way, at);
  it("S-50 expire by the clock given, whatever the table still holds", () => {
    expect(check({})().id).toBe(stored.id);
    expect(check({}, "bearer", now + 999)).not.toThrow();
    expect(check({}, "bearer", now + 1000)).toThrow(/not valid here/);
    expect(check({ issuedAt: now + 6 * 60_000, expiresAt: now + 9e9 })).toThrow(/not valid here/);
  });
  it("S-04 are refused alike when revoked, unknown or come by the other way", () => {
    const messages = [
      check({ revokedAt: now }),
      check({}, "bound"),
      check({ way: { bound: "k" } }),
      () => checkToken(undefined, "bearer", now),
    ].map((attempt) => {
      try {
        attempt();
      } catch (thrown) {
        return (thrown as Failure).message + (thrown as Failure).hint;
      }
      return "not refused";
    });
    expect(new Set(messages).size).toBe(1);
    expect(messages[0]).toContain("not valid here");
  });
});

describe("the table's keys", () => {
  it("begin with a known family", () => {
    const some = [
      keys.user("a"),
      keys.epoch(),
      keys.database("d"),
      keys.connectToken("t"),
      keys.apiKey("k"),
      keys.spend("t"),
      keys.session("p", "s"),
      keys.proxy("p"),
      keys.run("discover", "x"),
      keys.event("2026-11-21", 3, "e"),
      keys.limit("u", "d"),
      keys.password("u"),
      keys.discoveryConfig("c"),
    ];
    for (const key of some) expect(families as readonly string[]).toContain(key.pk.split("#")[0]);
  });
  it("readers take this version and the one before, and no other", () => {
    const Thing = z.object({ a: z.number() });
    const item = toItem(keys.user("x"), { a: 1 });
    expect(fromItem(Thing, item)).toEqual({ a: 1 });
    expect(fromItem(Thing, { ...item, v: item.v - 1 })).toEqual({ a: 1 });
    expect(() => fromItem(Thing, { ...item, v: item.v + 1 })).toThrow(/version/);
    expect(() => fromItem(Thing, { ...item, a: "1" })).toThrow(/can't be read/);
  });
});

describe("permissions", () => {
  const deployment = {
    partition: "aws",
    account: "111122223333",
    region: "eu-west-1",
    tableArn: "arn:aws:dynamodb:eu-west-1:111122223333:table/sallyport",
    discoverArn: "arn:aws:lambda:eu-west-1:111122223333:function:discover",
    secretPrefix: "sallyport",
    assumable: [],
  };
  const of = (principal: (typeof principals)[number]): readonly Statement[] =>
    statementsFor(principal, deployment, ["rds", "aurora"]);
  const actionsOn = (principal: (typeof principals)[number], family: string): string[] =>
    of(principal)
      .filter((s) =>
        [s.conditions?.["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"] ?? []].flat().includes(`${family}#*`),
      )
      .flatMap((s) => s.actions);
  it("name every action, never a wildcard, and every table statement is bound to families", () => {
    for (const principal of principals)
      for (const statement of of(principal)) {
        for (const action of statement.actions) expect(action).not.toContain("*");
        if (statement.actions.some((action) => action.startsWith("dynamodb:")))
          expect(statement.conditions?.["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"]).toBeDefined();
      }
  });
  it("the proxy can't scan, delete, mint a token or read a login", () => {
    const all = of("proxy").flatMap((s) => s.actions);
    expect(all).not.toContain("dynamodb:Scan");
    expect(all).not.toContain("dynamodb:DeleteItem");
    for (const family of ["token", "access", "database", "epoch"])
      expect(actionsOn("proxy", family).filter((a) => /Put|Update|Delete/.test(a))).toEqual([]);
    for (const family of ["login", "key", "config", "run"]) expect(actionsOn("proxy", family)).toEqual([]);
  });
});

describe("a role's document", () => {
  const parse = (spec: unknown) => RoleSpec.safeParse(spec);
  it("leaves alone what Teleport says about other things", () => {
    expect(
      parse({ allow: { logins: ["root"], node_labels: { "*": "*" }, rules: [] }, options: { forward_agent: true } })
        .success,
    ).toBe(true);
  });
  it("refuses a misspelt db_ field, which would otherwise deny nothing", () => {
    expect(parse({ deny: { db_user: ["root"] } }).success).toBe(false);
  });
  it("with a template or an expression is refused at the door", () => {
    for (const allow of [
      { db_users: ["{{internal.db_users}}"] },
      { db_labels: { env: "{{external.env}}" } },
      { db_labels_expression: "true" },
    ])
      expect(() => requireSupported("r", RoleSpec.parse({ allow }))).toThrow(/not supported yet/);
    expect(() => requireSupported("r", RoleSpec.parse({ allow: { db_users: ["reader"] } }))).not.toThrow();
  });
});
