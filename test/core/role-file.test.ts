// Role files as they are written for Teleport: what they mean there they mean here, and what can't be read is refused.
import { readFileSync } from "node:fs";
import { decide, isDenial } from "@sallyport/core/access";
import { Failure } from "@sallyport/core/failure";
import { compileRole, RoleOptions } from "@sallyport/core/role";
import { expect, it } from "vitest";
import { makeAsk, makeDatabase, makeRole, makeSubject, now, rolesOf } from "./make.ts";

const any = { db_labels: { "*": "*" }, db_users: ["*"], db_names: ["*"] };
const reaches = (...specs: Record<string, unknown>[]): boolean => {
  const roles = specs.map((spec, at) => makeRole(`r${at}`, spec));
  const subject = makeSubject(roles.map(({ name }) => name));
  return !isDenial(decide(subject, rolesOf(...roles), [], makeDatabase(), makeAsk(), now));
};

it.each(["alow", "denny", "Deny", "option", "db_users"])(
  "S-06 a spec with %s is refused, not read without it",
  (name) => {
    expect(() => compileRole(makeRole("r", { allow: any, [name]: { db_users: ["reader"] } }))).toThrow(Failure);
  },
);

it("a deny of every label is of every database, whatever stands beside it", () => {
  expect(reaches({ allow: any }, { deny: { db_labels: { "*": "*", env: "prod" } } })).toBe(false);
  expect(reaches({ allow: any }, { deny: { db_labels: { env: "prod" } } })).toBe(true);
  expect(reaches({ allow: { ...any, db_labels: { "*": "*", env: "prod" } } })).toBe(true);
});

it.each([false, "", "no", "No", "off", "false", "0", "n", "nope"])("require_session_mfa: %j asks for none", (value) => {
  expect(reaches({ allow: any, options: { require_session_mfa: value } })).toBe(true);
});
it.each([true, "yes", "on", "hardware_key", "hardware_key_touch_and_pin", "anything else"])(
  "require_session_mfa: %j asks for one",
  (value) => {
    expect(reaches({ allow: any, options: { require_session_mfa: value } })).toBe(false);
  },
);

it("max_session_ttl: never is the default", () => {
  expect(compileRole(makeRole("r", { options: { max_session_ttl: "never" } })).options.max_session_ttl).toBe(0);
  expect(reaches({ allow: any, options: { max_session_ttl: "never" } })).toBe(true);
});

it.each([
  { allow: null },
  { allow: { db_users: "reader" } },
  { allow: { db_users: [1] } },
  { allow: { db_labels: { env: 1 } } },
  { allow: { db_labels: "*" } },
  { allow: { db_labels: { "*": "prod" } } },
  { allow: { db_label: { env: "dev" } } },
  { deny: { db_user: ["root"] } },
  { options: { max_session_ttl: 8 } },
  { options: { max_session_ttl: "-1h" } },
  { options: { max_session_ttl: "1h30" } },
  { options: { bearer: "no" } },
  { options: { bearer_logins: 0 } },
  { options: { lock: "Strict" } },
])("%j is refused", (spec) => {
  expect(() => compileRole(makeRole("r", spec))).toThrow(Failure);
});

it("what is about other things is left alone", () => {
  const spec = {
    allow: { ...any, node_labels: { "*": "*" }, logins: ["root"], rules: [{ resources: ["*"], verbs: ["*"] }] },
    deny: { logins: ["guest"], node_labels: { "*": "*" }, request: {} },
    options: { forward_agent: true, cert_format: "standard", record_session: { default: "best_effort" } },
  };
  expect(reaches(spec)).toBe(true);
});

it("docs/operations.md has every option of ours and Teleport's that counts, and no other", () => {
  const page = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const chapter = page.slice(page.indexOf("## What a role may say"), page.indexOf("## Settings"));
  const rows = chapter.split("\n").filter((line) => line.startsWith("| `"));
  const told = rows.flatMap((row) => [...(row.split(" | ")[0] ?? "").matchAll(/`(\w+)`/g)].map(([, name]) => name));
  expect(told.sort()).toEqual(Object.keys(RoleOptions.shape).sort());
});
