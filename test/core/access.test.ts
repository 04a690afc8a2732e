import { admit, decide, explainDenial, type Grant, isDenial, loginTtl } from "@sallyport/core/access";
import { Failure } from "@sallyport/core/failure";
import type { Lock } from "@sallyport/core/lock";
import { reachable } from "@sallyport/core/reach";
import type { Role } from "@sallyport/core/role";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hour, makeAsk, makeDatabase, makeLock, makeRole, makeSubject, now, reader, rolesOf } from "./make.ts";

interface Case {
  roles?: Role[];
  holds?: string[];
  locks?: Lock[];
  database?: Parameters<typeof makeDatabase>[0];
  ask?: Parameters<typeof makeAsk>[0];
  subject?: Parameters<typeof makeSubject>[1];
  at?: number;
}
const ruled = (c: Case) =>
  decide(
    makeSubject(c.holds ?? (c.roles ?? [reader]).map((role) => role.name), c.subject),
    rolesOf(...(c.roles ?? [reader])),
    c.locks ?? [],
    makeDatabase(c.database),
    makeAsk(c.ask),
    c.at ?? now,
  );
const granted = (c: Case): Grant => {
  const decision = ruled(c);
  if (isDenial(decision)) throw new Error(explainDenial(decision));
  return decision;
};
const codes = (c: Case): string[] => {
  const decision = ruled(c);
  return isDenial(decision) ? decision.reasons.map((reason) => reason.code) : ["granted"];
};
const any = { db_labels: { "*": "*" }, db_users: ["*"], db_names: ["*"] };

describe("S-01 deny by default", () => {
  it.each<[string, Case]>([
    ["S-01 no role", { holds: [] }],
    ["S-01 an empty role", { roles: [makeRole("r", {})] }],
    ["S-01 a role with an empty allow", { roles: [makeRole("r", { allow: {} })] }],
    ["S-01 undefined labels", { roles: [makeRole("r", { allow: { db_users: ["*"], db_names: ["*"] } })] }],
    ["S-01 an empty label map", { roles: [makeRole("r", { allow: { ...any, db_labels: {} } })] }],
    ["S-01 undefined database users", { roles: [makeRole("r", { allow: { ...any, db_users: undefined } })] }],
    ["S-01 an empty list of database users", { roles: [makeRole("r", { allow: { ...any, db_users: [] } })] }],
    ["S-01 undefined database names", { roles: [makeRole("r", { allow: { ...any, db_names: undefined } })] }],
    ["S-01 a literal empty string", { roles: [makeRole("r", { allow: { ...any, db_users: [""] } })] }],
    ["S-01 an empty database user", { roles: [makeRole("r", { allow: any })], ask: { user: "" } }],
    ["S-01 no database name", { roles: [makeRole("r", { allow: any })], ask: { name: undefined } }],
    ["S-01 a role that does not exist", { holds: ["orders-read", "gone"] }],
    [
      "S-01 a role that can't be read",
      { roles: [reader, makeRole("broken", { allow: { db_labels: { env: "^(?=x)$" } } })] },
    ],
    ["S-01 the built-in administrator role alone", { holds: ["admin"] }],
    [
      "S-01 a disabled user",
      { subject: { user: { name: "ana", roles: ["orders-read"], traits: {}, state: "disabled" } } },
    ],
    [
      "S-01 a user who never set a password",
      { subject: { user: { name: "ana", roles: ["orders-read"], traits: {}, state: "invited" } } },
    ],
  ])("%s reaches nothing", (_, c) => {
    expect(isDenial(ruled(c))).toBe(true);
  });

  it("S-01 only an explicit * is a wildcard, and it is one", () => {
    expect(isDenial(ruled({ roles: [makeRole("r", { allow: any })], database: { labels: {} } }))).toBe(false);
    expect(codes({ roles: [makeRole("r", { allow: { ...any, db_users: ["read*"] } })] })).toEqual(["no_allow"]);
    expect(codes({ roles: [makeRole("r", { allow: { ...any, db_names: ["^.*$"] } })] })).toEqual(["no_allow"]);
  });

  it("S-01 whatever the roles hold, nothing is granted unless one role matches labels, user and name by itself", () => {
    const list = fc.option(fc.array(fc.constantFrom("*", "reader", "admin", "orders", "", "read*"), { maxLength: 3 }), {
      nil: undefined,
    });
    const labels = fc.option(fc.dictionary(fc.constantFrom("env", "team", "*"), fc.constantFrom("*", "dev", "prod")), {
      nil: undefined,
    });
    const allow = fc.record({ db_labels: labels, db_users: list, db_names: list });
    fc.assert(
      fc.property(fc.array(allow, { maxLength: 4 }), (allows) => {
        const roles = allows.map((spec, at) => makeRole(`r${at}`, { allow: spec }));
        const has = (values: string[] | undefined, want: string): boolean =>
          values?.some((v) => v === "*" || v === want) ?? false;
        const own: Record<string, string> = { env: "dev", team: "shop" };
        const expected = allows.some(
          ({ db_labels, db_users, db_names }) =>
            db_labels !== undefined &&
            Object.keys(db_labels).length > 0 &&
            (db_labels["*"] === "*" ||
              Object.entries(db_labels).every(([k, v]) => k in own && (v === "*" || v === own[k]))) &&
            has(db_users, "reader") &&
            has(db_names, "orders"),
        );
        // {"*": "dev"} is no selector at all: the role is broken and its holder denied
        const broken = allows.some(({ db_labels }) => db_labels?.["*"] !== undefined && db_labels["*"] !== "*");
        expect(!isDenial(ruled({ roles }))).toBe(expected && !broken);
      }),
    );
  });
});

describe("deny", () => {
  const all = makeRole("all", { allow: any });
  it("runs over all roles and applies to every database, whatever its labels", () => {
    const deny = makeRole("d", { deny: { db_users: ["reader"], db_labels: { env: "prod" } } });
    expect(codes({ roles: [all, deny] })).toEqual(["deny"]);
  });
  it("by labels alone denies", () => {
    expect(codes({ roles: [all, makeRole("d", { deny: { db_labels: { env: "dev" } } })] })).toEqual(["deny"]);
  });
  it("by database name denies", () => {
    expect(codes({ roles: [all, makeRole("d", { deny: { db_names: ["orders"] } })] })).toEqual(["deny"]);
    expect(codes({ roles: [all, makeRole("d", { deny: { db_names: ["postgres"] } })] })).toEqual(["granted"]);
  });
  it("with a label expression this version does not understand denies everything", () => {
    expect(codes({ roles: [all, makeRole("d", { deny: { db_labels_expression: 'labels.env == "prod"' } })] })).toEqual([
      "deny",
    ]);
  });
  it("S-06 overrides allow in the same role", () => {
    expect(codes({ roles: [makeRole("r", { allow: any, deny: { db_users: ["reader"] } })] })).toEqual(["deny"]);
  });
});

describe("allow", () => {
  it("never combines roles", () => {
    const users = makeRole("users", { allow: { db_labels: { env: "prod" }, db_users: ["*"], db_names: ["*"] } });
    const labels = makeRole("labels", { allow: { db_labels: { env: "dev" }, db_users: [], db_names: ["*"] } });
    expect(codes({ roles: [users, labels] })).toEqual(["no_allow", "no_allow"]);
  });
  it("names the nearest miss: the role about this database before any other", () => {
    const other = makeRole("other", {
      allow: { db_labels: { env: "prod" }, db_users: ["admin"], db_names: ["orders"] },
    });
    const decision = ruled({ roles: [other, reader], ask: { user: "admin" } });
    expect(isDenial(decision) && decision.nearest).toBe(
      'role orders-read matches labels and db_name, but db_user "admin" is not in [reader]',
    );
  });
  it("a v3 role without labels means every database, a later one none", () => {
    const spec = { allow: { db_users: ["*"], db_names: ["*"] } };
    expect(codes({ roles: [makeRole("r", spec, "v3")] })).toEqual(["granted"]);
    expect(codes({ roles: [makeRole("r", spec, "v4")] })).toEqual(["no_allow"]);
  });
});

describe("locks", () => {
  it.each<[string, Lock["target"]]>([
    ["user", { user: "ana" }],
    ["role", { role: "orders-read" }],
    ["database", { database: "orders" }],
    ["session", { session: "ses_1" }],
  ])("on a %s denies before any role is looked at", (_, target) => {
    expect(codes({ locks: [makeLock(target)], ask: { session: "ses_1" } })).toEqual(["locked"]);
  });
  it("on somebody else, or expired, does not", () => {
    expect(codes({ locks: [makeLock({ user: "bob" })] })).toEqual(["granted"]);
    expect(codes({ locks: [makeLock({ session: "ses_2" })] })).toEqual(["granted"]);
    expect(codes({ locks: [makeLock({ user: "ana" }, { expiresAt: now })] })).toEqual(["granted"]);
    expect(codes({ locks: [makeLock({ user: "ana" }, { expiresAt: now + 1 })] })).toEqual(["locked"]);
  });
  it("says its message", () => {
    const decision = ruled({ locks: [makeLock({ user: "ana" }, { message: "laptop stolen" })] });
    expect(isDenial(decision) && explainDenial(decision)).toBe("user ana is locked: laptop stolen");
  });
});

describe("options", () => {
  const role = (name: string, options: Record<string, unknown>): Role => makeRole(name, { allow: any, options });
  it("default to a 30-hour session, bearer tokens of 15 minutes and 20 logins, spooled audit", () => {
    expect(granted({})).toMatchObject({
      until: now + 30 * hour,
      idleFor: undefined,
      bearer: { ttl: 900_000, logins: 20 },
      audit: "spooled",
      record: "statements",
      outage: "best_effort",
      localFiles: false,
      scripts: true,
      ownAuth: false,
      replication: false,
    });
  });
  it("take the safest value over the roles that allow", () => {
    const roles = [
      role("a", {
        bearer_logins: 5,
        bearer_ttl: "10m",
        audit: "durable",
        lock: "strict",
        client_idle_timeout: "never",
        max_connections: 0,
        replication: true,
        record: "results",
      }),
      role("b", { bearer_ttl: "5m", client_idle_timeout: "15m", max_connections: 3, local_files: true }),
    ];
    expect(granted({ roles })).toMatchObject({
      bearer: { ttl: 300_000, logins: 5 },
      audit: "durable",
      outage: "strict",
      idleFor: 900_000,
      maxConnections: 3,
      localFiles: false,
      replication: false,
      record: "statements",
    });
    expect(granted({ roles: [...roles, role("c", { bearer: false })] }).bearer).toBeUndefined();
  });
  it("of roles that do not allow this ask do not count, but their max_session_ttl does", () => {
    const other = makeRole("other", {
      allow: { db_labels: { env: "prod" } },
      options: { bearer: false, max_session_ttl: "1h" },
    });
    expect(granted({ roles: [reader, other] })).toMatchObject({ bearer: { logins: 20 }, until: now + hour });
  });
  it("disconnect_expired_cert ends the session with the login", () => {
    const c: Case = { roles: [role("a", { disconnect_expired_cert: true })], subject: { loginExpiresAt: now + hour } };
    expect(granted(c).until).toBe(now + hour);
    expect(codes({ ...c, at: now + hour })).toEqual(["option"]);
  });
  it("S-50 a session's end is counted from its beginning, at every re-decision", () => {
    const c: Case = { roles: [role("a", { max_session_ttl: "2h" })], ask: { since: now } };
    expect(granted({ ...c, at: now + hour }).until).toBe(now + 2 * hour);
    expect(codes({ ...c, at: now + 2 * hour })).toEqual(["option"]);
  });
  it("require_session_mfa on any matching role denies a subject without it", () => {
    expect(codes({ roles: [role("a", {}), role("b", { require_session_mfa: true })] })).toEqual(["mfa"]);
    expect(codes({ roles: [role("b", { require_session_mfa: "hardware_key" })], subject: { mfaAt: now } })).toEqual([
      "granted",
    ]);
    expect(codes({ roles: [role("b", { require_session_mfa: false })] })).toEqual(["granted"]);
  });
});

describe("S-06 names and labels", () => {
  const exact = makeRole("r", { allow: { db_labels: { env: "dev" }, db_users: ["reader"], db_names: ["orders"] } });
  it.each([
    "Reader",
    "READER",
    "reader ",
    " reader",
    "reader.",
    "reader\u0000",
    "rеader",
    "ｒeader",
    "reader%2f",
    "../reader",
    "read\u0065\u0301r",
  ])("S-06 database user %j is not reader", (user) => {
    expect(isDenial(ruled({ roles: [exact], ask: { user } }))).toBe(true);
  });
  it.each(["Dev", "dev ", "DEV", "dеv", "dev\n", "xdev", "devx"])("S-06 label value %j is not dev", (env) => {
    expect(isDenial(ruled({ roles: [exact], database: { labels: { env } } }))).toBe(true);
  });
  it("S-06 label keys of the prototype chain match nothing", () => {
    for (const key of ["constructor", "__proto__", "toString", "hasOwnProperty"])
      expect(
        isDenial(
          ruled({ roles: [makeRole("r", { allow: { ...any, db_labels: Object.fromEntries([[key, ["*"]]]) } })] }),
        ),
      ).toBe(true);
  });
});

describe("reachable", () => {
  it("lists the users and names the roles mention, without the denied ones", () => {
    const roles = [
      makeRole("a", {
        allow: { db_labels: { env: "dev" }, db_users: ["reader", "writer"], db_names: ["orders", "stock"] },
      }),
      makeRole("b", { deny: { db_users: ["writer"] } }),
      makeRole("c", { allow: { db_labels: { env: "prod" }, db_users: ["root"], db_names: ["*"] } }),
    ];
    expect(reachable(makeSubject(["a", "b", "c"]), rolesOf(...roles), [], makeDatabase(), now)).toEqual([
      { user: "reader", names: ["orders", "stock"] },
    ]);
  });
  it("answers at once for roles that mention hundreds of users and names", () => {
    const many = (what: string) => Array.from({ length: 1000 }, (_, at) => `${what}${at}`);
    const roles = rolesOf(makeRole("wide", { allow: { ...any, db_users: many("u"), db_names: many("n") } }));
    const found = reachable(makeSubject(["wide"]), roles, [], makeDatabase(), now);
    expect([found.length, found[0]?.names.length]).toEqual([1000, 1000]);
  });
  it("is empty for whoever is denied", () => {
    expect(
      reachable(makeSubject(["orders-read"]), rolesOf(reader), [makeLock({ user: "ana" })], makeDatabase(), now),
    ).toEqual([]);
    expect(reachable(makeSubject([]), rolesOf(reader), [], makeDatabase(), now)).toEqual([]);
  });
});

describe("inside a session", () => {
  it("S-05 another name or user is a new ask, a use follows the options", () => {
    const grant = granted({});
    const again = (ask: { user: string; name: string | undefined }) => ruled({ ask });
    expect(admit(grant, { name: "orders" }, again)).toBeUndefined();
    expect(admit(grant, { name: "postgres" }, again)).toMatchObject({ denied: true });
    expect(admit(grant, { user: "admin" }, again)).toMatchObject({ denied: true });
    expect(admit(grant, { use: "local_file" }, again)).toMatchObject({ denied: true });
    expect(admit(grant, { use: "script" }, again)).toBeUndefined();
  });
});

describe("a login's length", () => {
  const short = makeRole("short", { options: { max_session_ttl: "8h" } });
  const roles = rolesOf(reader, short);
  it("is 12 hours, bounded by the smallest max_session_ttl", () => {
    expect(loginTtl({ name: "ana", roles: ["orders-read"] }, roles, undefined)).toBe(12 * hour);
    expect(loginTtl({ name: "ana", roles: ["orders-read", "short"] }, roles, undefined)).toBe(8 * hour);
  });
  it("asked longer than that is denied with what to ask for", () => {
    expect(() => loginTtl({ name: "ana", roles: ["short"] }, roles, 9 * hour)).toThrow(Failure);
    expect(loginTtl({ name: "ana", roles: ["short"] }, roles, 2 * hour)).toBe(2 * hour);
  });
});
