// A role: what its holders may reach (allow) and may not (deny), and under which options. The file is Teleport's role file
// (v3–v8): what the two have in common means the same; parts about other things (nodes, apps, rules) are left alone;
// an unknown `db_…` field is refused, because a misspelt deny would otherwise deny nothing.
import * as z from "zod";
import { Duration } from "./duration.ts";
import { Failure } from "./failure.ts";
import { fromItem, keys, walk } from "./family.ts";
import { describeIssues } from "./issue.ts";
import { compileSelector, type Labels } from "./label.ts";
import { Name } from "./name.ts";
import type { Item, Store } from "./ports.ts";

const Matcher = z.array(z.string().max(255)).max(1000);
const Selector = z
  .record(z.string().min(1).max(255), z.union([z.string(), z.array(z.string()).max(200)]))
  .transform((selector) =>
    Object.fromEntries(
      Object.entries(selector).map(([key, value]) => [key, typeof value === "string" ? [value] : value]),
    ),
  );

const knownRules = new Set([
  "db_labels",
  "db_labels_expression",
  "db_users",
  "db_names",
  "db_roles",
  "db_service_labels",
  "db_permissions",
]);

const Conditions = z
  .looseObject({
    db_labels: Selector.optional(),
    db_labels_expression: z.string().max(4096).optional(),
    db_users: Matcher.optional(),
    db_names: Matcher.optional(),
  })
  .superRefine((conditions, context) => {
    for (const key of Object.keys(conditions))
      if (key.startsWith("db_") && !knownRules.has(key))
        context.addIssue({
          code: "custom",
          path: [key],
          message: `unknown field; known are ${[...knownRules].join(", ")}`,
        });
  });
export type Conditions = z.infer<typeof Conditions>;

/** What Teleport calls never is 0: as if nothing had been said. */
const OrNever = z.union([z.literal("never").transform(() => 0), Duration]);

export const RoleOptions = z.looseObject({
  max_session_ttl: OrNever.optional(),
  client_idle_timeout: OrNever.optional(),
  disconnect_expired_cert: z.boolean().optional(),
  lock: z.enum(["strict", "best_effort"]).optional(),
  max_connections: z.number().int().min(0).optional(),
  require_session_mfa: z.union([z.boolean(), z.string()]).optional(),
  bearer: z.boolean().optional(),
  bearer_ttl: Duration.optional(),
  bearer_logins: z.number().int().min(1).max(10_000).optional(),
  local_files: z.boolean().optional(),
  scripts: z.boolean().optional(),
  own_auth: z.boolean().optional(),
  replication: z.boolean().optional(),
  audit: z.enum(["spooled", "durable"]).optional(),
  record: z.enum(["statements", "results"]).optional(),
});
export type RoleOptions = z.infer<typeof RoleOptions>;

export const RoleVersion = z.enum(["v3", "v4", "v5", "v6", "v7", "v8"]);

/** The `spec` of a role document, in the file's own form. There is nothing else in Teleport's: a misspelt deny would deny nothing. */
export const RoleSpec = z.strictObject({
  allow: Conditions.default({}),
  deny: Conditions.default({}),
  options: RoleOptions.default({}),
});
export type RoleSpec = z.infer<typeof RoleSpec>;

export const Role = z.object({
  name: Name,
  version: RoleVersion,
  /** The document's spec as it was written; compileRole() reads it. */
  spec: z.record(z.string(), z.unknown()),
  createdAt: z.number(),
  createdBy: z.string(),
  revision: z.number(),
});
export type Role = z.infer<typeof Role>;

/** One side of a role, ready to be asked. */
export interface Rules {
  /** Do the labels match? Undefined selector: they do not. */
  labels(labels: Labels): boolean;
  readonly users: readonly string[];
  readonly names: readonly string[];
  /** A label expression is present: not understood by this version, so an allow never matches and a deny always does. */
  readonly expression: boolean;
}
export interface CompiledRole {
  readonly name: string;
  readonly allow: Rules;
  readonly deny: Rules;
  readonly options: RoleOptions;
}
/** Every role there is, by name; undefined marks one that does not compile. */
export type Roles = ReadonlyMap<string, CompiledRole | undefined>;

const compileRules = (conditions: Conditions, everywhere: boolean): Rules => ({
  labels: compileSelector(conditions.db_labels ?? (everywhere ? { "*": ["*"] } : undefined)),
  users: conditions.db_users ?? [],
  names: conditions.db_names ?? [],
  expression: conditions.db_labels_expression !== undefined,
});

/** @throws Failure `invalid` naming the field that is wrong */
export const compileRole = (role: Pick<Role, "name" | "version" | "spec">): CompiledRole => {
  const parsed = RoleSpec.safeParse(role.spec);
  if (!parsed.success) throw new Failure("invalid", `role ${role.name}: ${describeIssues(parsed.error.issues)}`);
  const { allow, deny, options } = parsed.data;
  return {
    name: role.name,
    // v3 roles without labels meant "all databases"; v4 and later do not
    allow: compileRules(allow, role.version === "v3"),
    deny: compileRules(deny, false),
    options,
  };
};

/** Roles as they were compiled before, by their items' own text: one that did not change is not compiled again. */
export type CompiledRoles = Map<string, { readonly text: string; readonly role: CompiledRole | undefined }>;

const compileItem = (item: Item): CompiledRole | undefined => {
  try {
    return compileRole(fromItem(Role, item));
  } catch {
    return undefined;
  }
};

/**
 * Every stored role. One that can't be read, or no longer compiles, denies its holders and harms nobody else. `before` is kept for the
 * next time; `rest` is asked after each whether others should work first. @throws Failure `unavailable`
 */
export const readRoles = async (
  store: Store,
  before: CompiledRoles = new Map(),
  rest?: () => Promise<void> | undefined,
): Promise<Roles> => {
  const roles = new Map<string, CompiledRole | undefined>();
  for await (const item of walk(store, keys.role("").pk)) {
    const text = JSON.stringify(item);
    const known = before.get(item.sk);
    const role = known?.text === text ? known.role : compileItem(item);
    before.set(item.sk, { text, role });
    roles.set(item.sk, role);
    await rest?.();
  }
  for (const name of before.keys()) if (!roles.has(name)) before.delete(name);
  return roles;
};

const uses = (conditions: Conditions, test: (text: string) => boolean): boolean =>
  [
    ...(conditions.db_users ?? []),
    ...(conditions.db_names ?? []),
    ...Object.entries(conditions.db_labels ?? {}).flatMap(([key, values]) => [key, ...values]),
  ].some(test);

/** What a new role may not hold yet, said at the door rather than found out at a login. @throws Failure `unsupported` */
export const requireSupported = (name: string, spec: RoleSpec): void => {
  for (const [side, conditions] of [
    ["allow", spec.allow],
    ["deny", spec.deny],
  ] as const) {
    if (conditions.db_labels_expression !== undefined)
      throw new Failure("unsupported", `role ${name}: ${side}.db_labels_expression is not supported yet`, {
        hint: "write the condition as db_labels",
      });
    if (uses(conditions, (text) => text.includes("{{")))
      throw new Failure("unsupported", `role ${name}: templates ({{…}}) in ${side} are not supported yet`, {
        hint: "write the values out",
      });
  }
};
