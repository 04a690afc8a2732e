// Values that tests of the rules start from; each test says only what differs.
import type { Ask, Subject } from "@sallyport/core/access";
import type { Database } from "@sallyport/core/database";
import type { Lock } from "@sallyport/core/lock";
import { compileRole, type Role, type Roles } from "@sallyport/core/role";

export const now = Date.UTC(2026, 10, 21, 12);
export const hour = 3_600_000;

export const makeDatabase = (over: Partial<Database> = {}): Database => ({
  name: "orders",
  kind: "rds",
  protocol: "postgres",
  description: "",
  endpoint: {
    host: "orders.abc.eu-west-1.rds.amazonaws.com",
    port: 5432,
    verifyName: "orders.abc.eu-west-1.rds.amazonaws.com",
    roots: "rds",
  },
  labels: { env: "dev", team: "shop" },
  status: "available",
  arn: "arn:aws:rds:eu-west-1:111122223333:db:orders",
  partition: "aws",
  account: "111122223333",
  region: "eu-west-1",
  identifier: "orders",
  resourceId: "db-ABC",
  network: "default",
  origin: "cloud",
  foundBy: "rds/eu-west-1/self",
  ...over,
});

export const makeRole = (name: string, spec: Record<string, unknown>, version: Role["version"] = "v7"): Role => ({
  name,
  version,
  spec,
  createdAt: now,
  createdBy: "root",
  revision: 1,
});

export const reader = makeRole("orders-read", {
  allow: { db_labels: { env: ["dev", "staging"] }, db_names: ["orders"], db_users: ["reader"] },
});

const compiled = (role: Role) => {
  try {
    return compileRole(role);
  } catch {
    return undefined;
  }
};
/** As readRoles() would answer them. */
export const rolesOf = (...roles: Role[]): Roles => new Map(roles.map((role) => [role.name, compiled(role)]));

export const makeSubject = (roles: readonly string[], over: Partial<Subject> = {}): Subject => ({
  user: { name: "ana", roles: [...roles], traits: {}, state: "active" },
  loginExpiresAt: now + 12 * hour,
  ...over,
});

export const makeAsk = (over: Partial<Ask> = {}): Ask => ({ user: "reader", name: "orders", since: now, ...over });

export const makeLock = (target: Lock["target"], over: Partial<Lock> = {}): Lock => ({
  name: "l1",
  target,
  message: "",
  createdAt: now,
  createdBy: "root",
  revision: 1,
  ...over,
});
