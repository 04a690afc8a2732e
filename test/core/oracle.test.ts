// decide() against a second reading of the access rules, written from their text alone and as plainly as it can be said.
import { decide, isDenial } from "@sallyport/core/access";
import type { Lock } from "@sallyport/core/lock";
import { reachable } from "@sallyport/core/reach";
import type { Role } from "@sallyport/core/role";
import fc from "fast-check";
import { expect, it } from "vitest";
import { hour, makeAsk, makeDatabase, makeLock, makeRole, makeSubject, now, rolesOf } from "./make.ts";

interface Side {
  db_labels?: Record<string, string | string[]> | undefined;
  db_users?: readonly string[] | undefined;
  db_names?: readonly string[] | undefined;
  db_labels_expression?: string | undefined;
}
interface Spec {
  allow?: Side | undefined;
  deny?: Side | undefined;
  options?: { max_session_ttl?: string; require_session_mfa?: boolean } | undefined;
}
interface Written {
  version: Role["version"];
  spec: Spec;
}
interface Asked {
  user: string;
  name: string | undefined;
  state: "active" | "invited" | "disabled";
  labels: Record<string, string>;
}

const valueFits = (pattern: string, value: string): boolean => {
  if (pattern.startsWith("^") && pattern.endsWith("$")) return new RegExp(pattern, "u").test(value);
  const quoted = pattern.split("*").map((part) => part.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  return new RegExp(`^${quoted.join("[^]*")}$`).test(value);
};
const labelsFit = (selector: Side["db_labels"], labels: Record<string, string>): boolean => {
  const entries = Object.entries(selector ?? {});
  if (entries.length === 0) return false;
  const everything = selector?.["*"];
  if (everything === "*" || (Array.isArray(everything) && everything.length === 1 && everything[0] === "*"))
    return true;
  return entries.every(([key, patterns]) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    return value !== undefined && [patterns].flat().some((pattern) => valueFits(pattern, value));
  });
};
const listFits = (list: readonly string[] | undefined, value: string): boolean =>
  (list ?? []).some((one) => one === "*" || one === value);
const isBroken = ({ spec }: Written): boolean =>
  [spec.allow, spec.deny].some((side) => {
    const everything = side?.db_labels?.["*"];
    return everything !== undefined && !(everything.length === 1 && everything[0] === "*");
  });

const mayReach = (roles: readonly Written[], missing: boolean, lock: Lock | undefined, asked: Asked): boolean => {
  if (asked.state !== "active") return false;
  if (lock && (lock.expiresAt === undefined || lock.expiresAt > now)) {
    const on = lock.target;
    if ("user" in on && on.user === "ana") return false;
    if ("role" in on && roles.some((_, at) => on.role === `r${at}`)) return false;
    if ("database" in on && on.database === "orders") return false;
  }
  if (missing || roles.length === 0 || roles.some(isBroken)) return false;
  if (asked.user === "" || asked.name === undefined || asked.name === "") return false;
  const { name } = asked;
  for (const { spec } of roles) {
    const deny = spec.deny ?? {};
    if (deny.db_labels_expression !== undefined) return false;
    if (labelsFit(deny.db_labels, asked.labels)) return false;
    if (listFits(deny.db_users, asked.user) || listFits(deny.db_names, name)) return false;
  }
  const allowing = roles.filter(({ version, spec }) => {
    const allow = spec.allow ?? {};
    const selector = allow.db_labels ?? (version === "v3" ? { "*": "*" } : {});
    return (
      allow.db_labels_expression === undefined &&
      labelsFit(selector, asked.labels) &&
      listFits(allow.db_users, asked.user) &&
      listFits(allow.db_names, name)
    );
  });
  return allowing.length > 0 && !allowing.some(({ spec }) => spec.options?.require_session_mfa === true);
};

const opt = <T>(arb: fc.Arbitrary<T>) => fc.option(arb, { nil: undefined });
/** Mostly the first, sometimes the second. */
const mostly = <A, B>(first: fc.Arbitrary<A>, second: fc.Arbitrary<B>, weight = 4) =>
  fc.oneof({ weight, arbitrary: first }, { weight: 1, arbitrary: second });
const nothing = fc.constant(undefined);
const names = fc.array(fc.constantFrom("*", "reader", "Reader", "orders", "", "read*", "^.*$"), { maxLength: 2 });
const pattern: fc.Arbitrary<string> = fc.constantFrom(
  "*",
  "dev",
  "d*",
  "*v",
  "d*v",
  "^d.v$",
  "^x$",
  "prod",
  "",
  "D*",
  "d.v",
  "*e*e*",
);
const key = mostly(fc.constantFrom("env", "team"), fc.constantFrom("*", "constructor"), 6);
const patterns = fc.oneof(pattern, fc.array(pattern, { maxLength: 2 }));
const selector: fc.Arbitrary<Record<string, string | string[]>> = mostly(
  fc.dictionary(key, patterns, { maxKeys: 2 }),
  fc.constant({ "*": "*" }),
  2,
);
const allow = fc.record({
  db_labels: mostly(selector, nothing),
  db_users: mostly(fc.oneof(fc.constant(["*"]), fc.constant(["reader"]), names), nothing, 8),
  db_names: mostly(fc.oneof(fc.constant(["*"]), fc.constant(["orders"]), names), nothing, 8),
  db_labels_expression: mostly(nothing, fc.constant('labels["env"] == "dev"'), 12),
});
const deny = fc.record({
  db_labels: mostly(nothing, selector, 2),
  db_users: mostly(nothing, names),
  db_names: mostly(nothing, names),
  db_labels_expression: mostly(nothing, fc.constant('labels["env"] == "dev"'), 12),
});
const written: fc.Arbitrary<Written> = fc.record({
  version: fc.constantFrom("v3", "v4", "v7", "v8"),
  spec: fc.record({
    allow: mostly(allow, nothing, 9),
    deny: mostly(nothing, deny, 2),
    options: mostly(nothing, fc.record({ require_session_mfa: fc.boolean() })),
  }),
});
const asked: fc.Arbitrary<Asked> = fc.record({
  user: mostly(fc.constant("reader"), fc.constantFrom("Reader", "", "orders", "*")),
  name: mostly(fc.constant("orders"), fc.constantFrom("reader", "", "*", undefined)),
  state: mostly(fc.constant("active"), fc.constantFrom("invited", "disabled"), 12),
  labels: fc.dictionary(fc.constantFrom("env", "team"), fc.constantFrom("dev", "prod", "", "dxv")),
});
const locked = opt(
  fc
    .record({
      target: fc.constantFrom<Lock["target"]>({ user: "ana" }, { user: "bo" }, { role: "r1" }, { database: "orders" }),
      expiresAt: fc.constantFrom(undefined, now, now + 1),
    })
    .map(({ target, expiresAt }) => makeLock(target, expiresAt === undefined ? {} : { expiresAt })),
);
const plain = (value: Spec): Record<string, unknown> => JSON.parse(JSON.stringify(value)) as Record<string, unknown>;

it("S-01 S-06 whatever roles, locks and labels, the decision is that of the rules' text", () => {
  let granted = 0;
  fc.assert(
    fc.property(
      fc.array(written, { maxLength: 3 }),
      mostly(fc.constant(false), fc.constant(true), 12),
      mostly(nothing, locked, 3),
      asked,
      (roles, missing, lock, what) => {
        const made = roles.map(({ version, spec }, at) => makeRole(`r${at}`, plain(spec), version));
        const holds = [...made.map(({ name }) => name), ...(missing ? ["gone"] : [])];
        const user = { name: "ana", roles: holds, traits: {}, state: what.state };
        const subject = makeSubject(holds, { user });
        const locks = lock ? [lock] : [];
        const database = makeDatabase({ labels: what.labels });
        const ask = makeAsk({ user: what.user, name: what.name });
        const decision = decide(subject, rolesOf(...made), locks, database, ask, now);
        expect(!isDenial(decision)).toBe(mayReach(roles, missing, lock, what));
        if (isDenial(decision)) return;
        granted += 1;
        expect(decision.until).toBe(now + 30 * hour);
        // what is granted is also listed, by its own name or by a *
        const reach = reachable(subject, rolesOf(...made), locks, database, now);
        expect(
          reach.some(({ user, names }) => listFits([user], what.user) && listFits([...names], what.name ?? "")),
        ).toBe(true);
      },
    ),
    { numRuns: 4000 },
  );
  expect(granted).toBeGreaterThan(200);
});
